"""Parameters too large for a row: they lie in the object store, and the row holds their key."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import structlog
from lineshaft_common.objects import Objects
from lineshaft_contracts.jobs import PARAMETERS_INLINE_BYTES_MAX

from lineshaft_job_runner.execution import artifacts_prefix
from lineshaft_job_runner.job import Accepted, ClaimedJob, NewJob

log = structlog.get_logger(__name__)

STORE_SECONDS_MAX = 10.0
"""How long a batch of submissions waits for the object store."""


class LargeParameters:
    """Puts them away before a job is stored, and finds them again.

    Where a row has JSON text in place of an object, it is the key. The key tells the content, so
    that another submission under the same id never changes what a job was given.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def put_away(self, jobs: Sequence[NewJob]) -> list[NewJob]:
        """Return the jobs as they are to be stored.

        While the object store is away they are stored with all their parameters: a submission
        that the broker has confirmed is never given up, and never holds up others.
        """
        large = [
            (place, content)
            for place, job in enumerate(jobs)
            if len(job.parameters) > PARAMETERS_INLINE_BYTES_MAX // 4  # Else UTF-8 is not longer.
            and len(content := job.parameters.encode()) > PARAMETERS_INLINE_BYTES_MAX
        ]
        stored = list(jobs)
        try:
            async with asyncio.timeout(STORE_SECONDS_MAX):
                for place, content in large:
                    stored[place] = await self._put_away(jobs[place], content)
        except Exception as error:  # noqa: BLE001 - whatever the object store is up to.
            log.warning("parameters_stay_in_rows", error=repr(error)[:300])
        return stored

    async def _put_away(self, job: NewJob, content: bytes) -> NewJob:
        name = f"parameters-{sha256(content).hexdigest()}.json"
        key = f"{artifacts_prefix(job.tenant, str(job.id))}{name}"
        await self._objects.put(key, content)
        return replace(job, parameters=json.dumps(key))

    async def forget_unused(self, jobs: Sequence[NewJob], accepted: Sequence[Accepted]) -> None:
        """Delete those of submissions under whose id there is no job, if that can be done now."""
        unused = [
            job
            for job, outcome in zip(jobs, accepted, strict=True)
            if job.parameters.startswith('"')
            and (outcome.problem is not None or outcome.job_id != job.id)
        ]
        try:
            async with asyncio.timeout(STORE_SECONDS_MAX):
                for job in unused:
                    await self._objects.delete_all(artifacts_prefix(job.tenant, str(job.id)))
        except Exception as error:  # noqa: BLE001 - the jobs are stored: they are not done again.
            log.warning("unused_parameters_stay", error=repr(error)[:300])

    async def find(self, key: str) -> dict[str, Any]:
        """Return the parameters under a key; raises ObjectMissingError."""
        return json.loads(await self._objects.get(key))

    async def of(self, job: ClaimedJob) -> ClaimedJob:
        """Return the job with its parameters; raises ObjectMissingError."""
        if job.parameters_key is None:
            return job
        return replace(job, parameters=await self.find(job.parameters_key), parameters_key=None)
