"""Items that become jobs: submitted together, waited for, and counted by how they ended."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from lineshaft_contracts.batches import (
    CHILD_ITEMS_MAX,
    BatchMode,
    BatchParameters,
    ChildJobs,
)
from lineshaft_contracts.jobs import JobState

from lineshaft_job_runner.job_type import JobContext, PermanentError, WaitForChildrenError
from lineshaft_job_runner.types.batching.members import members, picked, text_of
from lineshaft_job_runner.types.batching.outcomes import (
    DONE,
    Failure,
    ItemError,
    OutcomeFile,
    Outcomes,
    Tally,
    TooManyFailuresError,
)
from lineshaft_job_runner.types.batching.records import Record, RecordChunk, Records
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

IDS_AT_ONCE = 40
"""Of one recorded entry, which has at most 2 KiB."""


class JobBatch:
    """Runs one job for each item; all of them exist at once, or none."""

    def __init__(
        self,
        context: JobContext,
        parameters: BatchParameters,
        work: ChildJobs,
        *,
        tally: Tally,
        file: OutcomeFile,
    ) -> None:
        self._context = context
        self._parameters = parameters
        self._work = work
        self._tally = tally
        self._file = file

    async def run(self, records: Records, digest: Callable[[str], None]) -> dict[str, int] | None:
        """Submit and wait, or count what was waited for; returns the jobs by final state."""
        self._file.begin(("job_id",))
        children = self._context.children
        if children is not None:
            await self._count(dict(children))
            return dict(children)
        taken = await records.take(CHILD_ITEMS_MAX + 1)
        digest(taken.digest)
        if len(taken.records) > CHILD_ITEMS_MAX:
            raise PermanentError(
                "batch_too_large", f"a batch of jobs has at most {CHILD_ITEMS_MAX} items: split it"
            )
        outcomes, ids = self._submit(taken, records)
        if self._parameters.dry_run or not any(ids):
            self._keep(outcomes, ids)
            return None
        await self._record(outcomes, ids)
        raise WaitForChildrenError

    def _submit(self, taken: RecordChunk, records: Records) -> tuple[Outcomes, list[str | None]]:
        outcomes = Outcomes.of(len(taken.records), taken.failures)
        ids: list[str | None] = [None] * len(taken.records)
        for place, record in enumerate(taken.records):
            stop_if_cancelled(self._context)
            if record is not None:
                try:
                    child = self._child(record, records)
                except ItemError as error:
                    outcomes.fail(place, error.failure)
                else:
                    ids[place] = None if child is None else str(child)
                    outcomes.letters[place] = DONE
            self._check(outcomes)
            if place % 100 == 0:
                self._context.progress(place, len(taken.records), "submitting jobs")
        return outcomes, ids

    def _child(self, record: Record, records: Records) -> UUID | None:
        work, item = self._work, members(record, records)
        parameters = {**work.parameters, **picked(item, work.item_parameters)}
        order_key = None if work.order_key is None else text_of(item, work.order_key)
        limit_key = None if work.limit_key is None else text_of(item, work.limit_key)
        if self._parameters.dry_run:
            return None
        try:
            return self._context.submit(
                work.job_type, parameters, order_key=order_key, limit_key=limit_key
            )
        except PermanentError as error:
            raise ItemError(error.code, str(error)) from None

    def _check(self, outcomes: Outcomes) -> None:
        """Raise when more items are refused than may; no job exists then."""
        if len(outcomes.failures) <= self._tally.failures_left:
            return
        self._tally.add(0, outcomes)
        raise TooManyFailuresError(
            "too_many_failures",
            f"more items failed than max_failures allows, and no job was submitted: "
            f"{self._tally.told()}",
        )

    async def _record(self, outcomes: Outcomes, ids: list[str | None]) -> None:
        """Keep for the attempt that counts which job is whose; raise if all are to be taken."""
        if outcomes.failures and self._parameters.mode is BatchMode.ALL_OR_NOTHING:
            self._tally.add(0, outcomes)
            raise PermanentError(
                "batch_rejected",
                f"{self._tally.failed} items failed and no job was submitted: "
                f"{self._tally.told()}",
            )
        entries: dict[str, dict[str, Any]] = {
            f"jobs{start:06d}": {"ids": ids[start : start + IDS_AT_ONCE]}
            for start in range(0, len(ids), IDS_AT_ONCE)
        }
        await self._context.record(entries)
        await self._context.record(
            {
                f"refused{place:06d}": {"code": failure.code, "message": failure.message}
                for place, failure in list(outcomes.failures.items())[:400]
            }
        )

    async def _count(self, children: dict[str, int]) -> None:
        """Count the ended jobs, and write which item became which."""
        entries = await self._context.recorded()
        ids: list[str | None] = []
        for key in sorted(key for key in entries if key.startswith("jobs")):
            ids += entries[key]["ids"]
        outcomes = Outcomes([DONE if one else "" for one in ids])
        for place, one in enumerate(ids):
            if one is None:
                noted = entries.get(f"refused{place:06d}", {})
                code = noted.get("code", "item_refused")
                outcomes.fail(place, Failure(code, noted.get("message", "it was refused")))
        self._keep(outcomes, ids)
        ended, succeeded = sum(children.values()), children.get(JobState.SUCCEEDED, 0)
        self._tally.demote(ended - succeeded)

    def _keep(self, outcomes: Outcomes, ids: list[str | None]) -> None:
        self._tally.add(0, outcomes)
        self._file.write(0, [(one,) for one in ids], outcomes)
