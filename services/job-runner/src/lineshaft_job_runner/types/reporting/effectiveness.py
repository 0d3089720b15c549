"""Overall equipment effectiveness and the time that is lost to it, as ISO 22400-2 defines them."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effectiveness:
    """The times of one or more work centres, in minutes; ratios are from 0 to 1.

    ISO 22400-2: availability = APT / PBT, effectiveness (performance) = PRI x PQ / APT, quality
    ratio = GQ / PQ, OEE index = the product of the three. Rework is produced (PQ) and not good.
    """

    planned: float
    """Planned busy time (PBT)."""
    downtime: float
    """Planned busy time in which nothing was produced."""
    ideal: float
    """Planned runtime per item x produced quantity (PRI x PQ)."""
    ideal_good: float
    """Planned runtime per item x good quantity (PRI x GQ)."""

    @classmethod
    def of(
        cls,
        *,
        planned_minutes: float,
        downtime_minutes: float,
        ideal_cycle_seconds: float,
        produced: int,
        good: int,
    ) -> "Effectiveness":
        """Calculate it for one work centre that makes one kind of item."""
        cycle = ideal_cycle_seconds / 60
        return cls(
            planned=planned_minutes,
            downtime=downtime_minutes,
            ideal=cycle * produced,
            ideal_good=cycle * good,
        )

    @classmethod
    def total(cls, parts: Iterable["Effectiveness"]) -> "Effectiveness":
        """Add work centres up: each counts by its time, so that the product stays the OEE."""
        parts = list(parts)
        return cls(
            planned=sum(part.planned for part in parts),
            downtime=sum(part.downtime for part in parts),
            ideal=sum(part.ideal for part in parts),
            ideal_good=sum(part.ideal_good for part in parts),
        )

    @property
    def run(self) -> float:
        """Actual production time (APT)."""
        return self.planned - self.downtime

    @property
    def availability(self) -> float | None:
        """APT / PBT."""
        return self.run / self.planned if self.planned > 0 else None

    @property
    def performance(self) -> float | None:
        """PRI x PQ / APT; above 1 when the planned runtime per item is too long."""
        return self.ideal / self.run if self.run > 0 else None

    @property
    def quality(self) -> float | None:
        """GQ / PQ."""
        return self.ideal_good / self.ideal if self.ideal > 0 else None

    @property
    def oee(self) -> float | None:
        """PRI x GQ / PBT, the product of the other three."""
        return self.ideal_good / self.planned if self.planned > 0 else None

    @property
    def performance_loss(self) -> float:
        """Minutes lost to slow cycles and small stops."""
        return self.run - self.ideal

    @property
    def quality_loss(self) -> float:
        """Minutes in which scrap and rework were made."""
        return self.ideal - self.ideal_good
