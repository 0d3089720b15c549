"""What all built-in job types share: common parameters, the common result, a query's name."""

from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from lineshaft_contracts.envelope import Value
from lineshaft_contracts.jobs import Artifact, JobError

ERRORS_MAX = 100
"""How many errors, warnings and signals a result carries; an artifact holds all of them."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{name[:64]!r} is not an IANA time zone, such as Europe/Berlin"
        ) from None
    return name


TimeZone = Annotated[str, Field(max_length=64), AfterValidator(_known_zone)]
Locale = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
"""A BCP 47 language tag, such as de-DE."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
"""A source, saved query or column as the sources file names it."""
Title = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FileStem = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class JobParameters(BaseModel):
    """What every built-in type accepts; unknown fields are refused, so that a typo is seen.

    The idempotency key and the timeout belong to the submission (SubmitJob).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    timezone: TimeZone = "UTC"
    """IANA zone in which times are shown."""
    locale: Locale = "en"
    """BCP 47 tag for how numbers are shown to people; data files are not affected."""
    dry_run: bool = False
    """Check the parameters, the source and the row count, but make no artifact."""


class Counts(Value):
    """Items of work; `requested` is the sum of the others, or the result is refused."""

    requested: Annotated[int, Field(ge=0)]
    ok: Annotated[int, Field(ge=0)]
    skipped: Annotated[int, Field(ge=0)] = 0
    failed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.requested != self.ok + self.skipped + self.failed:
            raise ValueError("requested must be ok + skipped + failed")
        return self


class Engine(Value):
    """The library that did the work, so that a result can be reproduced."""

    name: str
    version: str


class JobResult(Value):
    """What every built-in type answers."""

    counts: Counts
    artifacts: tuple[Artifact, ...] = ()
    warnings: tuple[str, ...] = ()
    """What a person should know although the job succeeded."""
    errors: Annotated[tuple[JobError, ...], Field(max_length=ERRORS_MAX)] = ()
    engine: Engine
    input_digest: str
    """SHA-256, hexadecimal, over the parameters and every row that was read."""


class SourceQuery(BaseModel):
    """A saved query of the sources file with its typed parameters; never SQL."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: Name
    """Name of the data source."""
    query: Name
    """Name of the saved query."""
    query_parameters: dict[Name, JsonValue] = Field(default_factory=dict, max_length=32)
    """By name; a timestamp is ISO 8601 text with its zone, a decimal may be text."""
