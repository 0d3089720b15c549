"""What the database takes of what a job gave: checked or made so before it is stored.

PostgreSQL has no NUL and no lone surrogates in text, no NaN in JSON, and integers of 64 bits.
One end that it refuses would hold up the ends of all jobs that are stored with it.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from lineshaft_contracts.jobs import RESULT_BYTES_MAX, JobError, Progress

from lineshaft_job_runner.job import StoredArtifact

BIGINT_MAX = 2**63 - 1
INTEGER_MAX = 2**31 - 1
CODE_MAX = 100
MESSAGE_MAX = 2_000

_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class UnstorableError(Exception):
    """A result cannot be kept; `error` says why and what to do, and is final."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.error = JobError(code=code, message=message, retryable=False)


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
        written = json.dumps(result, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(written.encode())
    except (ValueError, TypeError, RecursionError) as unwritable:
        raise unstorable(f"{type(unwritable).__name__}: {unwritable}") from unwritable
    if _ESCAPED_NUL.search(written):
        raise unstorable("it has a NUL character")
    if size > RESULT_BYTES_MAX:
        raise UnstorableError(
            "result_too_large",
            f"The result has {size} bytes, at most {RESULT_BYTES_MAX} are kept: "
            "write an artifact instead.",
        )
    for stored in artifacts:
        _check_artifact(stored)


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
