"""What a shift report is made of: its three queries, key figures and series."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from lineshaft_contracts.job_types import ReportParameters, ShiftFigures

from lineshaft_job_runner.job_type import JobContext, PermanentError, Source
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest

ROWS_MAX = 200_000
"""Of one table; nobody reads more on paper, data.export writes it to a file."""
HOURS_MAX = 1_000
REASONS_DRAWN = 8

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "shift_production": (
        "order_id", "product", "line", "good", "scrap", "rework", "started_at", "finished_at",
    ),
    "shift_downtime": ("line", "reason", "minutes", "events"),
    "shift_hourly": ("hour", "good", "scrap"),
}  # fmt: skip
"""Saved queries of the source and the columns that the report takes from each."""


@dataclass(kw_only=True)
class Shift:
    """Sums over the rows of the shift; the rows themselves are not kept."""

    expected: dict[str, int] = field(default_factory=dict[str, int])
    good: int = 0
    scrap: int = 0
    rework: int = 0
    events: int = 0
    minutes: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    """Of downtime, by reason."""
    hours: list[tuple[datetime, int, int]] = field(default_factory=list[tuple[datetime, int, int]])

    @property
    def empty(self) -> bool:
        """Whether nothing at all was recorded."""
        return not any(self.expected.values())

    def add(self, query: str, row: tuple[Any, ...]) -> None:
        """Add a row, with its values in the order of COLUMNS."""
        if query == "shift_production":
            self.good += row[3] or 0
            self.scrap += row[4] or 0
            self.rework += row[5] or 0
        elif query == "shift_downtime":
            reason = row[1] or "unknown"
            self.minutes[reason] = self.minutes.get(reason, Decimal(0)) + (row[2] or 0)
            self.events += row[3] or 0
        else:
            self.hours.append((row[0], row[1] or 0, row[2] or 0))

    def figures(self) -> ShiftFigures:
        """Return the key figures."""
        made = self.good + self.scrap + self.rework
        return ShiftFigures(
            orders=self.expected["shift_production"],
            good=self.good,
            scrap=self.scrap,
            rework=self.rework,
            quality_ratio=self.good / made if made else None,
            scrap_ratio=self.scrap / made if made else None,
            downtime_minutes=float(sum(self.minutes.values())),
            downtime_events=self.events,
        )

    def reasons(self) -> list[tuple[str, float]]:
        """Return downtime by reason, largest first; the small ones together as the last."""
        ranked = sorted(self.minutes.items(), key=lambda item: (-item[1], item[0]))
        shown = [(reason, float(minutes)) for reason, minutes in ranked[:REASONS_DRAWN]]
        rest = sum(minutes for _, minutes in ranked[REASONS_DRAWN:])
        return [*shown, ("all others", float(rest))] if rest else shown


def bounds(parameters: ReportParameters) -> dict[str, str]:
    """Return the parameters of all three queries."""
    return {
        "shift_start": parameters.shift_start.isoformat(),
        "shift_end": parameters.shift_end.isoformat(),
    }


async def survey(
    context: JobContext, source: Source, parameters: ReportParameters, digest: InputDigest
) -> Shift:
    """Count and add up everything before the first page is drawn; raises when it is too much."""
    shift = Shift()
    for query in COLUMNS:
        count = await source.count(query, bounds(parameters))
        limit = HOURS_MAX if query == "shift_hourly" else ROWS_MAX
        if count > limit:
            raise PermanentError(
                "report_too_large",
                f"{query} gives {count} rows and a report shows {limit} at most: choose a shorter "
                "shift, or use data.export",
            )
        shift.expected[query] = count
    for query in COLUMNS:
        async for batch in read(context, source, query, parameters):
            digest.add_rows(batch)
            for row in batch:
                shift.add(query, row)
    return shift


async def read(
    context: JobContext, source: Source, query: str, parameters: ReportParameters
) -> AsyncIterator[list[tuple[Any, ...]]]:
    """Read a query in batches, with the columns that the report takes, in its order."""
    async with source.read(query, bounds(parameters)) as rows:
        given = list(rows.columns)
        missing = [name for name in COLUMNS[query] if name not in given]
        if missing:
            raise PermanentError(
                "report_columns_missing",
                f"saved query {query!r} has no column {', '.join(missing)}: the shift report "
                f"needs {', '.join(COLUMNS[query])}",
            )
        picked = [given.index(name) for name in COLUMNS[query]]
        async for batch in rows.batches():
            stop_if_cancelled(context)
            yield [tuple(row[index] for index in picked) for row in batch]
