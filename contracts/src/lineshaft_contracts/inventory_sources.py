"""Where inventory.sync reads the stock of another system: a file, REST pages or a saved query."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from lineshaft_contracts.envelope import Moment
from lineshaft_contracts.job_parameters import Name

Label = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""The name of a column or a field as another system spells it."""
Place = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A location as one of the systems names it."""
FieldPath = Annotated[str, StringConstraints(pattern=r"^[^.\s]+(\.[^.\s]+)*$", max_length=200)]
"""Names of nested JSON fields, joined by dots."""
HttpPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~%/-]*$", max_length=500)]
"""Below the address of the data source, without query."""


class Part(BaseModel):
    """A group of parameters; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class StockColumns(Part):
    """What the source calls its columns; in JSON also nested fields, joined by dots."""

    item: Label = "item"
    """The material; as the target knows it."""
    location: Label | None = "location"
    """Where it lies; None when everything lies at `location_default`."""
    location_default: Place | None = None
    """The one location of a source that names none."""
    quantity: Label = "quantity"
    """On hand, or available when the parameter `compare` says so."""
    reserved: Label | None = None
    """Subtracted from the quantity, which is on hand, to compare what is available."""
    uom: Label | None = "uom"
    """Unit of measure; None when the source counts in the units of the target."""
    changed_at: Label | None = None
    """ISO 8601 time with zone of the last change; for the policy `newest`."""
    counted_at: Label | None = None
    """ISO 8601 time with zone of a stock count; empty where the row is not one."""

    @model_validator(mode="after")
    def _has_a_location(self) -> Self:
        if (self.location is None) is (self.location_default is None):
            raise ValueError("give location or location_default, and not both")
        return self


class ChangesOnly(Part):
    """Ask the source only for what changed since the last run; what is absent did not change."""

    parameter: Label = "since"
    """Parameter of the saved query or the request that takes the cursor."""
    column: Label = "changed_at"
    """ISO 8601 time with zone: the latest one that was read is the next cursor."""
    start: Moment
    """Cursor of the first run."""
    overlap_seconds: Annotated[float, Field(ge=0, le=86_400)] = 300
    """How far before the cursor to ask again, for rows whose writer committed late."""


class StockFile(Part):
    """A file in a folder of the sources file; always the whole stock."""

    kind: Literal["file"]
    source: Name
    """Data source of the kind folder."""
    path: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    """Name of the file inside of the folder."""
    format: Literal["csv", "json", "ndjson"] = "csv"
    """json is one array of objects, or the array at `items`."""
    items: FieldPath | None = None
    """json only: where the array is; the whole document when absent."""
    delimiter: Literal[",", ";", "\t", "|"] = ","
    """csv only."""
    decimal_sign: Literal[".", ","] = "."
    """csv only."""
    encoding: Literal["utf-8", "cp1252"] = "utf-8"
    """A byte order mark is skipped."""
    columns: StockColumns = StockColumns()


class NumberedPages(Part):
    """Pages by number."""

    by: Literal["page"]
    parameter: Label = "page"
    first: Annotated[int, Field(ge=0, le=1)] = 1
    size_parameter: Label | None = "per_page"
    size: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Items of a page; a service may give less."""
    end: Literal["empty", "short"] = "empty"
    """The last page is one without items, or one with fewer than `size`."""


class OffsetPages(Part):
    """Pages by the number of items before them."""

    by: Literal["offset"]
    parameter: Label = "offset"
    size_parameter: Label | None = "limit"
    size: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Items of a page; a service may give less."""
    end: Literal["empty", "short"] = "empty"
    """The last page is one without items, or one with fewer than `size`."""


class CursorPages(Part):
    """Each page names the next one; the end is an absent, null or empty cursor."""

    by: Literal["cursor"]
    parameter: Label = "cursor"
    next: FieldPath = "next_cursor"
    """Where the answer has the cursor of the next page."""


class LinkedPages(Part):
    """Each page has a header `Link` with `rel="next"` (RFC 8288); the end has none."""

    by: Literal["link"]


class StockPages(Part):
    """A REST resource that answers JSON, read page by page."""

    kind: Literal["pages"]
    source: Name
    """Data source of the kind http; it has the address and the secret."""
    path: HttpPath = ""
    query: dict[Label, Annotated[str, StringConstraints(max_length=500)]] = Field(
        default_factory=dict, max_length=32
    )
    """Sent with every request."""
    items: FieldPath | None = "items"
    """Where the answer has its array; None when the answer is the array."""
    paging: Annotated[
        NumberedPages | OffsetPages | CursorPages | LinkedPages, Field(discriminator="by")
    ] = NumberedPages(by="page")
    pages_max: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    """More pages fail the job."""
    attempts_max: Annotated[int, Field(ge=1, le=20)] = 6
    """Of one request; the waits double from 0.5 s, or are what `Retry-After` asks for."""
    retry_after_seconds_max: Annotated[float, Field(ge=0, le=3_600)] = 120
    """After a longer `Retry-After` the job runs again then; the attempt does not count."""
    changes: ChangesOnly | None = None
    columns: StockColumns = StockColumns()


class StockQuery(Part):
    """A saved query of a PostgreSQL database."""

    kind: Literal["query"]
    source: Name
    query: Name
    query_parameters: dict[Name, JsonValue] = Field(default_factory=dict, max_length=32)
    changes: ChangesOnly | None = None
    columns: StockColumns = StockColumns()
