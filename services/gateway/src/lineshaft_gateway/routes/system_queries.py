"""Query strings of `/api/system/...`."""

from typing import Annotated

from lineshaft_contracts.alerts import AlertLevel, AlertState
from lineshaft_contracts.envelope import Moment
from lineshaft_contracts.monitoring import Aggregation, MetricName
from pydantic import BaseModel, ConfigDict, Field

CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MetricsQuery(BaseModel):
    """Which samples to read; without a name the names are listed."""

    model_config = CLOSED

    name: MetricName | None = None
    label: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_.]{0,63}=.{0,200}$")], ...],
        Field(max_length=16),
    ] = ()
    """`name=value`; may be repeated. Series must have all of them."""
    since: Moment | None = None
    """An hour before `until` when left out."""
    until: Moment | None = None
    """Now when left out."""
    step_seconds: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    aggregation: Aggregation = Aggregation.AVG


class AlertsQuery(BaseModel):
    """Which alerts to list; the newest are first."""

    model_config = CLOSED

    state: AlertState | None = None
    level: AlertLevel | None = None
    rule: Annotated[str, Field(max_length=64)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=128)] | None = None
    """`next_cursor` of the page before."""


class AssetMetricsQuery(BaseModel):
    """Which traffic to read; all when left out."""

    model_config = CLOSED

    region: Annotated[str, Field(max_length=32)] | None = None
    asset_class: Annotated[str, Field(max_length=32)] | None = None
