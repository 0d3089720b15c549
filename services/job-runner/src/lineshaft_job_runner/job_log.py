"""Lines that jobs write into the runner's log: bounded, and with the job they are about."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from lineshaft_job_runner.job import ClaimedJob

log = structlog.get_logger(__name__)

LINES_AT_ONCE = 100
LINES_PER_SECOND = 10.0
MESSAGE_CHARACTERS_MAX = 1_000
VALUES_MAX = 20
NAME_CHARACTERS_MAX = 64
VALUE_CHARACTERS_MAX = 500


class Allowance:
    """So many at once, and so many a second after that."""

    def __init__(self, at_once: int, per_second: float) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._left = float(at_once)
        self._counted_at = time.monotonic()

    def take(self) -> bool:
        """Take one; False when none is left."""
        now = time.monotonic()
        self._left = min(self._at_once, self._left + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class BoundedLog:
    """The log of one attempt: what goes beyond the bounds is cut, or counted and left out."""

    def __init__(self, write_line: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._write_line = write_line
        self._allowance = Allowance(LINES_AT_ONCE, LINES_PER_SECOND)
        self._left_out = 0

    def write(self, message: str, data: Mapping[str, Any]) -> None:
        """Write one line, if it may."""
        if not self._allowance.take():
            self._left_out += 1
            return
        bounded = {
            str(name)[:NAME_CHARACTERS_MAX]: _bounded(value)
            for name, value in list(data.items())[:VALUES_MAX]
        }
        if self._left_out:
            bounded["lines_left_out"] = self._left_out
            self._left_out = 0
        self._write_line(str(message)[:MESSAGE_CHARACTERS_MAX], bounded)


def _bounded(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if not isinstance(value, str):
        try:
            value = json.dumps(value, default=str)
        except (TypeError, ValueError, RecursionError):
            value = type(value).__name__
    return value[:VALUE_CHARACTERS_MAX]


def write(job: ClaimedJob, message: str, data: Mapping[str, Any]) -> None:
    """Write a line of a job."""
    log.info("job_log", message=message, data=dict(data), **about(job))


def about(job: ClaimedJob) -> dict[str, Any]:
    """Say which attempt a line of the log is about."""
    return {
        "job_id": str(job.id),
        "job_type": job.type,
        "attempt": job.attempt,
        "tenant": job.tenant,
        "trace_id": job.traceparent[3:35] if job.traceparent else None,
    }
