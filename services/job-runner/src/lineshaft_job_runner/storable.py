"""What the database takes of what a job gave: checked or made so before it is stored.

PostgreSQL has no NUL and no lone surrogates in text, no NaN in JSON, and integers of 64 bits.
One end that it refuses would hold up the ends of all jobs that are stored with it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from lineshaft_contracts.jobs import RESULT_BYTES_MAX, JobError, Progress

from lineshaft_job_runner.job import StoredArtifact

BIGINT_MAX = 2**63 - 1
INTEGER_MAX = 2**31 - 1
CODE_MAX = 100
MESSAGE_MAX = 2_000
CHECKPOINT_BYTES_MAX = RESULT_BYTES_MAX
RECORDS_AT_ONCE = 400
"""Entries in one question or answer: so many fit into one line to a child."""
RECORD_BYTES_MAX = 2_048
RECORD_KEY_CHARACTERS_MAX = 320

_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class UnstorableError(Exception):
    """A result cannot be kept; `error` says why and what to do, and is final."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.error = JobError(code=code, message=message, retryable=False)


class _UnwritableError(Exception):
    """It cannot be written as JSON that the database takes."""


class _LargeError(Exception):
    """It has this many bytes."""


def text(value: str) -> str:
    """Leave out what text columns do not take."""
    return value.replace("\x00", "").encode("utf-8", "ignore").decode()


def progress(given: Progress) -> Progress:
    """Bring counts into their range, and clean the message."""
    return Progress(
        done=min(max(given.done, 0), BIGINT_MAX),
        total=min(max(given.total, 0), BIGINT_MAX),
        message=text(given.message),
    )


def error(given: JobError) -> JobError:
    """Clean code and message, and keep them short."""
    return JobError(
        code=text(given.code)[:CODE_MAX],
        message=text(given.message)[:MESSAGE_MAX],
        retryable=given.retryable,
    )


def check(result: dict[str, Any], artifacts: Iterable[StoredArtifact] = ()) -> None:
    """Raise UnstorableError: `result_not_storable` or `result_too_large`."""
    try:
        _written(result)
    except _UnwritableError as error:
        raise unstorable(str(error)) from error
    except _LargeError as error:
        raise UnstorableError(
            "result_too_large",
            f"The result has {error} bytes, at most {RESULT_BYTES_MAX} are kept: "
            "write an artifact instead.",
        ) from error
    for stored in artifacts:
        _check_artifact(stored)


def checkpoint(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy as it will be read again; raises like `check`, with `checkpoint_...`."""
    try:
        kept: dict[str, Any] = json.loads(_written(dict(state)))
    except _UnwritableError as error:
        raise UnstorableError(
            "checkpoint_not_storable", text(f"The checkpoint cannot be kept: {error}")[:500]
        ) from error
    except _LargeError as error:
        raise UnstorableError(
            "checkpoint_too_large",
            f"The checkpoint has {error} bytes, at most {CHECKPOINT_BYTES_MAX} are kept: "
            "write an artifact and keep its name.",
        ) from error
    return kept


def records(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return copies as they will be read again; raises UnstorableError `record_not_storable`."""
    if len(entries) > RECORDS_AT_ONCE:
        raise UnstorableError(
            "record_not_storable", f"At most {RECORDS_AT_ONCE} entries are recorded at once."
        )
    try:
        return {_record_key(key): _record(value) for key, value in entries.items()}
    except (_UnwritableError, _LargeError) as error:
        raise UnstorableError(
            "record_not_storable", text(f"An entry cannot be recorded: {error}")[:500]
        ) from error


def _record_key(key: str) -> str:
    if not 1 <= len(key) <= RECORD_KEY_CHARACTERS_MAX or text(key) != key:
        raise _UnwritableError(f"{key[:80]!r} is no key of 1 to 320 characters")
    return key


def _record(value: Mapping[str, Any]) -> dict[str, Any]:
    written = _written(dict(value))
    if len(written.encode()) > RECORD_BYTES_MAX:
        raise _LargeError(f"it has more than {RECORD_BYTES_MAX} bytes")
    return json.loads(written)


def has_nul(written: str) -> bool:
    """Whether a JSON text has a NUL character, and not only a backslash before `u0000`."""
    return "\\u0000" in written and _ESCAPED_NUL.search(written) is not None


def is_finite(written: str) -> bool:
    """Whether a JSON text has only numbers that there are in JSON."""
    if "NaN" not in written and "Infinity" not in written:
        return True
    try:
        json.loads(written, parse_constant=_refuse_constant)
    except ValueError:
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _written(value: dict[str, Any]) -> str:
    """Write JSON that the database takes."""
    if not value:
        return "{}"
    try:
        written = _ENCODER.encode(value)
        size = len(written.encode())
    except (ValueError, TypeError, RecursionError) as unwritable:
        raise _UnwritableError(f"{type(unwritable).__name__}: {unwritable}") from unwritable
    if has_nul(written):
        raise _UnwritableError("it has a NUL character")
    if size > RESULT_BYTES_MAX:
        raise _LargeError(size)
    return written


def unstorable(why: str) -> UnstorableError:
    """Say that a result is nothing that the database keeps."""
    return UnstorableError("result_not_storable", text(f"The result cannot be kept: {why}")[:500])


def _check_artifact(stored: StoredArtifact) -> None:
    artifact = stored.artifact
    in_range = (
        0 <= artifact.bytes <= BIGINT_MAX
        and 0 <= (artifact.rows or 0) <= BIGINT_MAX
        and 0 <= (artifact.pages or 0) <= INTEGER_MAX
    )
    if not in_range or text(artifact.media_type) != artifact.media_type:
        raise unstorable(f"artifact {artifact.name}: a count or the media type is out of range")
