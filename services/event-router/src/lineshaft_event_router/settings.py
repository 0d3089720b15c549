"""Settings of the event-router."""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from lineshaft_common.settings import DatabaseSettings
from pydantic import Field


class Settings(DatabaseSettings):
    """What the event-router reads from the environment."""

    inbox_window: Annotated[timedelta, Field(ge=timedelta(minutes=1))] = timedelta(days=3)
    """For how long a repeated (tenant, source, id) is known as one."""
    batch_max: Annotated[int, Field(ge=1, le=5000)] = 500
    """Events that are recorded in one transaction."""
    webhook_networks_allowed: tuple[IPv4Network | IPv6Network, ...] = ()
    """Private networks that webhooks may be sent into; none unless the operator opens them."""
    plant_views_window: Annotated[timedelta, Field(ge=timedelta(hours=1))] = timedelta(days=30)
    """For how long a finished order, lot or alert is shown after it was heard of last.

    What never finished is shown ten times as long.
    """
