"""What subscriptions look like in requests and answers."""

from typing import Annotated

from lineshaft_contracts.subscription_reports import DeliveryAttempt, ParkedEvent, RedriveParked
from lineshaft_contracts.subscriptions import (
    ProtocolSettings,
    ReplayStart,
    SinkCredential,
    Subscription,
    SubscriptionView,
)
from pydantic import BaseModel, ConfigDict, Field

CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
OPEN = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ProtocolSettingsBody(ProtocolSettings):
    """How to deliver; what is absent has its default."""

    model_config = CLOSED


class SinkCredentialBody(SinkCredential):
    """What requests are signed with, by Standard Webhooks; never returned."""

    model_config = CLOSED


class SubscriptionBody(Subscription):
    """Which events, and where to."""

    model_config = CLOSED

    protocolsettings: ProtocolSettingsBody = ProtocolSettingsBody()  # pyright: ignore[reportIncompatibleVariableOverride] - it is frozen.
    sinkcredential: SinkCredentialBody | None = None
    """Null keeps the secrets; a new HTTP subscription without them gets one, told once."""


class ReplayBody(ReplayStart):
    """From where to deliver again: exactly one of three."""

    model_config = CLOSED


class RedriveBody(RedriveParked):
    """Which parked keys to try again; all conditions have to hold."""

    model_config = CLOSED


class SubscriptionAnswer(BaseModel):
    """A subscription, and how far it is."""

    model_config = OPEN

    subscription: SubscriptionView
    generated_secret: str | None = None
    """Of a new one that came without a secret; it is told this once."""


class Subscriptions(BaseModel):
    """By id."""

    model_config = OPEN

    subscriptions: tuple[SubscriptionView, ...]
    next_cursor: str | None


class Deliveries(BaseModel):
    """Newest first."""

    model_config = OPEN

    deliveries: tuple[DeliveryAttempt, ...]
    next_cursor: str | None


class Parked(BaseModel):
    """Oldest first."""

    model_config = OPEN

    events: tuple[ParkedEvent, ...]
    next_cursor: str | None


class PageQuery(BaseModel):
    """A page of a list."""

    model_config = CLOSED

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(max_length=64)] | None = None


class DeliveriesQuery(PageQuery):
    """Which attempts."""

    cursor: Annotated[str, Field(max_length=32)] | None = None
    failed_only: bool = False
    """Leave out what was delivered."""


class ParkedQuery(PageQuery):
    """Which parked events."""

    cursor: Annotated[str, Field(max_length=32)] | None = None
    key: Annotated[str, Field(min_length=1, max_length=520)] | None = None
