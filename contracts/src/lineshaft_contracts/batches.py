"""Parameters and result of batch.apply: one operation on many items."""

from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from lineshaft_contracts.job_parameters import (
    FileStem,
    JobParameters,
    JobResult,
    Name,
    SourceQuery,
)
from lineshaft_contracts.jobs import ArtifactName, JobTypeName

INLINE_ITEMS_MAX = 10_000
ITEMS_MAX = 5_000_000
CHILD_ITEMS_MAX = 10_000
REQUEST_ITEMS_MAX = 100_000
FAILURES_MAX = 10_000

FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,62}$")]
"""A field of an item: a column of a CSV file or of a query, or a member of a JSON object."""
BatchId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
ResumeToken = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}@[0-9]{1,9}$")
]
ObjectKey = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,1024}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class BatchMode(StrEnum):
    """What becomes of the others when an item fails."""

    ALL_OR_NOTHING = "all_or_nothing"
    CONTINUE_ON_ERROR = "continue_on_error"


class BatchOperation(StrEnum):
    """What an item does to the table."""

    INSERT = "insert"
    """A key that is there with other values is a failure."""
    UPDATE = "update"
    """A key that is not there is a failure."""
    UPSERT = "upsert"
    DELETE = "delete"
    """A key that is not there is skipped."""


class OutcomeFormat(StrEnum):
    """The file with what became of each item."""

    CSV = "csv"
    NDJSON = "ndjson"


class TableChange(_Part):
    """Items are rows of an entity that the sources file calls writable."""

    source: Name
    """Name of the data source."""
    entity: Name
    operation: BatchOperation
    columns: Annotated[tuple[Name, ...], Field(max_length=512)] = ()
    """Columns that are written; empty for all fields of the items (DELETE: the key)."""
    fields: dict[Name, FieldName] = Field(default_factory=dict, max_length=512)
    """For a column, the field of the items that holds it, where it has another name."""
    add: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    """Number columns to which the value of the item is added, such as a movement of stock."""
    chunk_rows: Annotated[int, Field(ge=1, le=50_000)] = 10_000
    """Items of one statement, and of one transaction unless all_or_nothing."""


class ChildJobs(_Part):
    """Each item becomes a job."""

    job_type: JobTypeName
    parameters: dict[str, JsonValue] = Field(default_factory=dict, max_length=64)
    """The same for all jobs."""
    item_parameters: dict[str, FieldName] = Field(default_factory=dict, max_length=64)
    """For a parameter, the field of the item that gives it; empty when all fields are
    parameters."""
    order_key: FieldName | None = None
    """Field with the key by which jobs run one at a time."""
    limit_key: FieldName | None = None
    """Field with the key of a limit, such as the machine."""


class ServiceCalls(_Part):
    """Each item becomes a request to a data source of kind http.

    Every request of an item has the same Idempotency-Key: the batch and the item's number.
    """

    source: Name
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{0,1024}$")] = ""
    """Below the source's base URL; {field} stands for the percent-encoded value of a field."""
    body: dict[str, FieldName] = Field(default_factory=dict, max_length=256)
    """JSON members and the fields that give them; empty for the whole item."""
    requests_per_second: Annotated[float, Field(gt=0, le=1_000)] = 10.0
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests at once."""
    attempts_max: Annotated[int, Field(ge=1, le=20)] = 5
    """Tries for one item when the service does not answer, or answers 408, 425, 429 or 5xx."""


class ArtifactItems(_Part):
    """A CSV or NDJSON file that an earlier job of the tenant made."""

    job_id: UUID
    name: ArtifactName


class StoredItems(_Part):
    """A CSV or NDJSON file in a data source of kind folder or object-store."""

    source: Name
    path: ObjectKey
    """Below the folder, or the key of the object; the ending says the format, .gz is unpacked."""


class BatchParameters(JobParameters):
    """One of `table`, `jobs` and `calls`, for items from one of five places."""

    table: TableChange | None = None
    """Change rows of a table."""
    jobs: ChildJobs | None = None
    """Run a job for each item; at most 10,000 items."""
    calls: ServiceCalls | None = None
    """Send a request for each item; at most 100,000 items."""
    items: (
        Annotated[tuple[dict[FieldName, JsonValue], ...], Field(max_length=INLINE_ITEMS_MAX)]
        | None
    ) = None
    """Items in the request itself."""
    query: SourceQuery | None = None
    """Items are the rows of a saved query."""
    artifact: ArtifactItems | None = None
    """Items are in a file of an earlier job."""
    file: StoredItems | None = None
    """Items are in a folder or an object store."""
    mode: BatchMode = BatchMode.ALL_OR_NOTHING
    """all_or_nothing: the first failure ends the job, and nothing was changed."""
    max_failures: Annotated[int, Field(ge=0, le=FAILURES_MAX)] = 1_000
    """continue_on_error: the job ends when more items have failed."""
    batch_id: BatchId | None = None
    """Under this name it is noted which items are done; the job's id when absent."""
    resume: ResumeToken | None = None
    """Go on with a batch that ended early: the token of its error or result."""
    outcome_format: OutcomeFormat = OutcomeFormat.CSV
    file_name: FileStem = "outcomes"
    """Stem of the file with the outcome of each item."""

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if sum(one is not None for one in (self.table, self.jobs, self.calls)) != 1:
            raise ValueError("give one of table, jobs and calls")
        places = (self.items, self.query, self.artifact, self.file)
        if sum(one is not None for one in places) != 1:
            raise ValueError("give items in one of items, query, artifact and file")
        return self

    @model_validator(mode="after")
    def _can_be_resumed(self) -> Self:
        if self.resume is not None and self.batch_id is not None:
            raise ValueError("resume names the batch already: leave batch_id out")
        if self.jobs is not None and (self.resume or self.batch_id):
            raise ValueError("jobs are submitted once: give the submission an idempotency key")
        if self.calls is not None and self.mode is BatchMode.ALL_OR_NOTHING and not self.dry_run:
            raise ValueError("requests cannot be taken back: calls need mode continue_on_error")
        return self


class BatchResult(JobResult):
    """What became of the items; a file has it one by one."""

    batch_id: str
    resume: str
    """Token of the end: a batch that is resumed from here, or repeated, changes nothing."""
    applied: bool
    """False for a dry run: the counts say what would have happened."""
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    """The table had it like this already; these are counted as skipped."""
    replayed: int = 0
    """Items whose outcome was noted by an earlier attempt or job of the same batch."""
    children: dict[str, int] | None = None
    """Jobs by the state they ended in."""
    items_per_second: float | None = None
    """Over the items that this attempt did itself."""
