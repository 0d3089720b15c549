"""The run of batch.apply: items in, an outcome for each in a file."""

import hashlib
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from lineshaft_contracts.batches import BatchMode, BatchParameters, BatchResult, OutcomeFormat
from lineshaft_contracts.job_parameters import Counts, Engine

from lineshaft_job_runner.job_data import Change
from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.batching.calls import CallBatch
from lineshaft_job_runner.types.batching.opening import open_records
from lineshaft_job_runner.types.batching.outcomes import DONE, OutcomeFile, Tally
from lineshaft_job_runner.types.batching.submitting import JobBatch
from lineshaft_job_runner.types.batching.tables import TableBatch

REJECTED_FAILURES_MAX = 20
"""So many are looked for when the first one decides already."""
MEDIA_TYPES = {
    OutcomeFormat.CSV: "text/csv; charset=utf-8",
    OutcomeFormat.NDJSON: "application/x-ndjson",
}


async def run(context: JobContext, parameters: BatchParameters) -> BatchResult:
    """Apply the items; the counts of the result add up to the items that were read."""
    batch, _, start = (parameters.resume or "").partition("@")
    batch = batch or parameters.batch_id or context.job_id
    decided = parameters.mode is BatchMode.ALL_OR_NOTHING and not parameters.dry_run
    tally = Tally(failures_max=REJECTED_FAILURES_MAX if decided else parameters.max_failures)
    digest = hashlib.sha256(parameters.model_dump_json().encode())
    began = time.monotonic()
    children = None
    async with (
        open_records(context, parameters) as records,
        _outcomes(context, parameters) as file,
    ):

        def read(part: str) -> None:
            digest.update(part.encode())

        if parameters.table is not None:
            table = TableBatch(
                context, parameters, parameters.table, batch=batch, tally=tally, file=file
            )
            await table.run(records, read)
        elif parameters.calls is not None:
            calls = CallBatch(
                context, parameters, parameters.calls, batch=batch, tally=tally, file=file
            )
            await calls.run(records, read, start=int(start or 0))
        elif parameters.jobs is not None:
            jobs = JobBatch(context, parameters, parameters.jobs, tally=tally, file=file)
            children = await jobs.run(records, read)
    seconds = time.monotonic() - began
    return _result(
        context, parameters, tally, batch=batch, digest=digest.hexdigest(), children=children,
        seconds=seconds,
    )  # fmt: skip


@asynccontextmanager
async def _outcomes(
    context: JobContext, parameters: BatchParameters
) -> AsyncGenerator[OutcomeFile]:
    """Write the outcome file; it is kept when the block ends without an error."""
    kind = parameters.outcome_format
    name = f"{parameters.file_name}.{kind}"
    async with AsyncExitStack() as stack:
        artifact = await stack.enter_async_context(
            context.artifact(name, media_type=MEDIA_TYPES[kind])
        )
        with OutcomeFile(artifact.path, kind) as file:
            yield file
        artifact.rows = file.rows


def _result(
    context: JobContext,
    parameters: BatchParameters,
    tally: Tally,
    *,
    batch: str,
    digest: str,
    children: dict[str, int] | None,
    seconds: float,
) -> BatchResult:
    letters = tally.letters
    fresh = tally.items - tally.replayed
    changed = sum(letters[one] for one in (Change.INSERTED, Change.UPDATED, Change.DELETED, DONE))
    return BatchResult(
        counts=Counts(
            requested=tally.items,
            ok=changed,
            skipped=letters[Change.UNCHANGED],
            failed=tally.failed,
        ),
        artifacts=context.artifacts(),
        warnings=_warnings(parameters, tally),
        errors=tuple(tally.first),
        engine=Engine(name="lineshaft-job-runner", version=version("lineshaft-job-runner")),
        input_digest=digest,
        batch_id=batch,
        resume=f"{batch}@{tally.items}",
        applied=not parameters.dry_run,
        inserted=letters[Change.INSERTED],
        updated=letters[Change.UPDATED],
        deleted=letters[Change.DELETED],
        unchanged=letters[Change.UNCHANGED],
        replayed=tally.replayed,
        children=children,
        items_per_second=round(fresh / seconds, 1) if fresh and seconds > 0 else None,
    )


def _warnings(parameters: BatchParameters, tally: Tally) -> tuple[str, ...]:
    found: list[str] = []
    if tally.failed:
        found.append(f"{tally.failed} items failed: the outcome file names each")
    if parameters.dry_run:
        found.append("this was a dry run: nothing was changed")
    if not tally.items:
        found.append("there were no items")
    return tuple(found)
