"""Which views of a tenant somebody wants to see."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from lineshaft_event_router.plant_changes import ViewKind


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """None and empty stand for all; `after` is the id where the page before ended."""

    kind: ViewKind
    tenant: str
    ids: Sequence[str] = ()
    states: Sequence[str] = ()
    below: str | None = None
    changed_since: datetime | None = None
    material: str | None = None
    place: str | None = None
    job_order: str | None = None
    severity_min: int | None = None
    after: str | None = None
    limit: int = 100

    def one_more(self) -> "Wanted":
        """Want one more than a page holds, to know whether there is another page."""
        return replace(self, limit=self.limit + 1)
