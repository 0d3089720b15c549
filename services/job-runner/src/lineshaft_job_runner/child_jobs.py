"""The jobs that an attempt submits as children of its own job."""

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from lineshaft_contracts.envelope import Priority, uuid7
from lineshaft_contracts.jobs import JOB_TYPE, PARAMETERS_INLINE_BYTES_MAX
from lineshaft_contracts.problems import ProblemError
from pydantic import BaseModel

from lineshaft_job_runner import storable
from lineshaft_job_runner.job import ClaimedJob, NewJob
from lineshaft_job_runner.job_type import JobType, PermanentError

CHILDREN_MAX = 10_000
"""Of one attempt."""
BYTES_MAX = 32 * 1024 * 1024
"""Of the parameters of all of them."""
KEY_CHARACTERS_MAX = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TYPE = re.compile(JOB_TYPE)


class Types(Protocol):
    """What is known about job types; see catalogue.py."""

    def find(self, name: str) -> JobType[Any, Any]:
        """Return a job type; problem `unknown_job_type`."""
        ...

    def validated(self, name: str, parameters: Mapping[str, Any]) -> BaseModel:
        """Return the parameters as their model; problem `invalid_input`."""
        ...


class ChildJobs:
    """Makes the children of one attempt, within bounds.

    A type that is not known here may be served by another worker: its parameters are checked
    when they run.
    """

    def __init__(self, parent: ClaimedJob, types: Types) -> None:
        self._parent = parent
        self._types = types
        self._count = 0
        self._bytes = 0

    def add(
        self,
        job_type: str,
        parameters: Mapping[str, Any],
        *,
        priority: Priority | None,
        order_key: str | None,
        limit_key: str | None,
    ) -> NewJob:
        """Make a child; raises PermanentError `child_refused`."""
        if self._count >= CHILDREN_MAX:
            raise _refused(f"an attempt submits at most {CHILDREN_MAX} jobs")
        if not _TYPE.fullmatch(job_type):
            raise _refused(f"{job_type[:80]!r} is no name of a job type")
        for key in (order_key, limit_key):
            _check_key(key)
        limits, written = self._checked(job_type, parameters)
        if self._bytes + len(written) > BYTES_MAX:
            raise _refused(f"an attempt submits at most {BYTES_MAX} bytes of parameters")
        self._count += 1
        self._bytes += len(written)
        return NewJob(
            id=uuid7(),
            tenant=self._parent.tenant,
            type=job_type,
            priority=self._parent.priority if priority is None else Priority(priority),
            parameters=written,
            idempotency_key=None,
            run_at=None,
            attempts_max=limits.attempts_max,
            timeout_seconds=limits.timeout_seconds,
            traceparent=self._parent.traceparent,
            order_key=order_key,
            limit_key=limit_key,
            parent_id=self._parent.id,
        )

    def _checked(
        self, job_type: str, parameters: Mapping[str, Any]
    ) -> tuple[JobType[Any, Any] | type[JobType[Any, Any]], str]:
        """Return what the type allows, or what is usual, and the parameters as JSON."""
        try:
            known = self._types.find(job_type)
        except ProblemError:
            return JobType, _json(dict(parameters))
        try:
            model = self._types.validated(job_type, parameters)
        except ProblemError as error:
            fields = "; ".join(f"{e.pointer}: {e.message}" for e in error.problem.errors[:5])
            raise _refused(f"{job_type}: {fields or error.problem.title}") from error
        return known, _json(model.model_dump(mode="json"))


def _json(parameters: dict[str, Any]) -> str:
    try:
        storable.check(parameters)
    except storable.UnstorableError as error:
        raise _refused(
            "the parameters cannot be stored, or have more than "
            f"{PARAMETERS_INLINE_BYTES_MAX} bytes"
        ) from error
    return json.dumps(parameters, separators=(",", ":"))


def _check_key(key: str | None) -> None:
    if key is not None and (not 1 <= len(key) <= KEY_CHARACTERS_MAX or _CONTROL.search(key)):
        raise _refused(f"a key has 1 to {KEY_CHARACTERS_MAX} characters, and no control character")


def _refused(why: str) -> PermanentError:
    return PermanentError("child_refused", storable.text(why))
