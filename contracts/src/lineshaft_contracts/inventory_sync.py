"""Parameters and result of inventory.sync: stock of another system brought into one's own."""

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from lineshaft_contracts.envelope import Moment, Value
from lineshaft_contracts.inventory_sources import (
    Label,
    Part,
    Place,
    StockFile,
    StockPages,
    StockQuery,
)
from lineshaft_contracts.job_parameters import (
    FileStem,
    JobParameters,
    JobResult,
    Name,
    SourceQuery,
)

QUANTITY_DECIMALS = 9
"""Quantities are exact to so many decimals, and below 10^15."""
CONVERSION_TERM_MAX = 10**12
"""Of a factor as a fraction in lowest terms: quantity x term still fits 128 bits."""

Unit = Annotated[str, StringConstraints(min_length=1, max_length=32)]
Ratio = Annotated[float, Field(ge=0, le=1)]


class TargetColumns(Part):
    """What the entity of the target calls its columns."""

    item: Name = "item"
    location: Name = "location"
    on_hand: Name = "on_hand"
    """What is changed, always by a difference."""
    uom: Name | None = "uom"
    reserved: Name | None = None
    """Needed to compare what is available."""
    changed_at: Name | None = None
    """Timestamp of the last change; for the policy `newest`. Set to now where stock is changed."""


class StockMovements(SourceQuery):
    """What the application booked itself: a saved query with the columns below."""

    parameter: Name = "since"
    """Timestamp parameter: rows booked after it are needed, earlier ones do no harm."""
    item: Name = "item"
    location: Name = "location"
    quantity: Name = "quantity"
    """Signed, in the unit of the stock."""
    booked_at: Name = "booked_at"
    includes_syncs: bool = False
    """Whether they contain what this job type applied, as a trigger on the stock would write."""


class StockTarget(Part):
    """The stock that is changed: a writable entity whose key is item and location."""

    source: Name
    entity: Name
    columns: TargetColumns = TargetColumns()
    create_rows: bool = True
    """Add stock that the target does not know yet; otherwise such a row is failed."""
    movements: StockMovements | None = None
    """So that a stock count is compared with the stock at the time of the count."""


class UnitConversion(Part):
    """quantity in `target_uom` = quantity in `uom` x factor / divisor, exactly."""

    item: Label | None = None
    """For one material; None for all that have no conversion of their own."""
    uom: Unit
    target_uom: Unit
    factor: Annotated[Decimal, Field(gt=0, max_digits=24)]
    divisor: Annotated[Decimal, Field(gt=0, max_digits=24)] = Decimal(1)

    def fraction(self) -> Fraction:
        """Return factor / divisor in lowest terms."""
        return Fraction(self.factor) / Fraction(self.divisor)

    @model_validator(mode="after")
    def _can_be_exact(self) -> Self:
        ratio = self.fraction()
        if max(ratio.numerator, ratio.denominator) > CONVERSION_TERM_MAX:
            raise ValueError("factor / divisor needs more than 12 digits as a fraction")
        return self


class ConversionQuery(SourceQuery):
    """Conversions of many materials: a saved query with the columns below."""

    item: Name = "item"
    """NULL for a conversion of all materials."""
    uom: Name = "uom"
    target_uom: Name = "target_uom"
    factor: Name = "factor"
    """Decimal or integer."""
    divisor: Name | None = None
    """Decimal or integer; 1 when absent."""


class ConflictPolicy(StrEnum):
    """Who is right where both sides moved since the last sync."""

    SOURCE_WINS = "source_wins"
    TARGET_WINS = "target_wins"
    NEWEST = "newest"
    """Whichever changed last; as manual where a time is missing or both are equal."""
    LOWEST = "lowest"
    """The smaller quantity: nothing is promised that may not be there."""
    SUM = "sum"
    """Both: the source's movement is added to the target's; as manual without a last sync."""
    MANUAL = "manual"
    """Nobody: the row is listed, and nothing is applied to it."""


class Guards(Part):
    """What stops the job before anything is applied; a dry run only warns."""

    changed_ratio_max: Ratio = 0.5
    """Share of the compared stock that may change; in the first sync, of what the target has."""
    shrink_ratio_max: Ratio = 0.2
    """Of the stock that was synced before: the share that a whole source may no longer name."""
    rows_min: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """With fewer rows a share says nothing, and both ratios are not judged."""
    quantity_ratio_max: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """How far one stock may change, as a share of what the target has; 0.5 is by half."""
    negative_stock: Literal["stop", "allow"] = "stop"
    """Whether the stock on hand may become less than zero."""
    failed_rows_max: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Rows of the source that cannot be understood; they are listed and left out."""


class InventorySyncParameters(JobParameters):
    """Bring the stock of another system into one's own, without losing what was booked there."""

    sync: Name
    """Name of this pairing; what was last synced is kept under it, in the target's database."""
    source: Annotated[StockFile | StockPages | StockQuery, Field(discriminator="kind")]
    """Where the other system's stock is read."""
    target: StockTarget
    compare: Literal["on_hand", "available"] = "on_hand"
    """Which quantity the source states; what is applied always changes the stock on hand."""
    policy: ConflictPolicy = ConflictPolicy.MANUAL
    """Who is right where both sides moved since the last sync."""
    absent: Literal["keep", "zero"] = "keep"
    """Stock that was synced before, and that a whole source no longer names."""
    locations: dict[Place, Place] = Field(default_factory=dict, max_length=5_000)
    """Location of the source to location of the target; several to one are added up."""
    other_locations: Literal["keep", "skip", "fail"] = "keep"
    """Locations that are not in `locations`: the same name, left out, or failed rows."""
    duplicates: Literal["fail", "sum", "latest"] = "fail"
    """Several rows of the source for one item and location: an error (unless they are equal), lots
    to add up, or states of which the latest `changed_at` counts."""
    conversions: Annotated[tuple[UnitConversion, ...], Field(max_length=1_000)] = ()
    """Units of the source to units of the target."""
    conversion_query: ConversionQuery | None = None
    """Further ones from a data source; those of `conversions` come first."""
    decimals: Annotated[int, Field(ge=0, le=QUANTITY_DECIMALS)] = 6
    """Quantities with more places, in the target's unit, are rounded half to even; the target's
    column has to hold as many."""
    guards: Guards = Guards()
    file_name: FileStem = "inventory"
    """Begin of the artifacts' names."""
    dry_run: bool = False
    """Compare and write the files, but apply nothing; guards warn instead of stopping."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        columns, target = self.source.columns, self.target.columns
        if self.policy is ConflictPolicy.NEWEST and not (columns.changed_at and target.changed_at):
            raise ValueError("newest needs changed_at in the columns of source and target")
        if self.duplicates == "latest" and columns.changed_at is None:
            raise ValueError("duplicates: latest needs changed_at in the columns of the source")
        if self.compare == "available" and target.reserved is None:
            raise ValueError("comparing what is available needs target.columns.reserved")
        if self.compare == "on_hand" and columns.reserved is not None:
            raise ValueError("columns.reserved is for comparing what is available")
        if self.absent == "zero" and getattr(self.source, "changes", None) is not None:
            raise ValueError("a source of changes names no absent stock: absent must be keep")
        if isinstance(self.source, StockFile) and self.source.delimiter == (
            self.source.decimal_sign
        ):
            raise ValueError("decimal_sign and delimiter must differ")
        return self


class Decision(StrEnum):
    """What became of one item at one location."""

    SAME = "same"
    """Both sides state the same."""
    SOURCE_MOVED = "source_moved"
    """Applied."""
    TARGET_MOVED = "target_moved"
    """Kept; the other system does not know it yet."""
    COUNTED = "counted"
    """A stock count: applied as its difference to the stock at that time."""
    SOURCE_WON = "source_won"
    """Both moved; applied."""
    TARGET_WON = "target_won"
    """Both moved; kept."""
    SUMMED = "summed"
    """Both moved; the source's movement is applied."""
    CONFLICT = "conflict"
    """Both moved; nothing is applied, somebody has to look."""
    ABSENT = "absent"
    """Synced before, no longer named by the source, kept."""
    OLD_COUNT = "old_count"
    """A stock count that is older than one that was synced; left out."""


class StockConflict(Value):
    """Both sides moved since the last sync, and the policy decides nothing."""

    item: str
    location: str
    base: Decimal | None
    """Last synced quantity; None when it never was."""
    source: Decimal
    target: Decimal


class InventorySyncResult(JobResult):
    """What was compared and applied; the files have every row.

    `counts.requested` is each item at a location that the source names, or that was synced before,
    and each row that failed.
    """

    sync: str
    source_rows: int
    """Read from the source."""
    target_rows: int
    """Stock of the target."""
    decisions: dict[Decision, int]
    """How often which one was taken."""
    applied: int
    """Stock that this attempt changed."""
    applied_before: int = 0
    """Stock that an earlier attempt of this job changed already."""
    created: int
    """Of those: stock that the target did not know."""
    overtaken: int = 0
    """Left to another run of the same sync, which was faster."""
    converted: int
    """Rows in another unit than the target's."""
    rounded: int
    """Rows that have more places than `decimals`."""
    conflicts: Annotated[tuple[StockConflict, ...], Field(max_length=100)] = ()
    """The first ones."""
    cursor: Moment | None = None
    """Where the next run asks a source of changes to begin."""
