"""The run of inventory.sync: two stocks in, differences applied, and files that show them."""

from datetime import datetime

from lineshaft_contracts.inventory_sync import InventorySyncParameters, InventorySyncResult

from lineshaft_job_runner.job_data import Target
from lineshaft_job_runner.job_ledger import SyncState
from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.inventory import remembering, writing
from lineshaft_job_runner.types.inventory.applying import Applied, apply
from lineshaft_job_runner.types.inventory.comparing import Compared, compare
from lineshaft_job_runner.types.inventory.gathering import gather
from lineshaft_job_runner.types.inventory.guards import Breach
from lineshaft_job_runner.types.inventory.merging import to_write
from lineshaft_job_runner.types.inventory.normalizing import Stock
from lineshaft_job_runner.types.inventory.results import result

NOT_APPLIED = Applied(changed=0, created=0, overtaken=frozenset())


async def run(context: JobContext, parameters: InventorySyncParameters) -> InventorySyncResult:
    """Compare and apply; a guard that does not hold stops it before anything is applied."""
    digest = InputDigest(parameters)
    async with context.target(parameters.target.source) as target:
        remembering.check_entity(target.entity(parameters.target.entity), parameters.target)
        state = await remembering.state_of(target, parameters)
    gathered = await gather(context, parameters, digest, cursor=state.cursor)
    stop_if_cancelled(context)
    # Connected anew: a source may take longer than a database keeps an idle connection.
    async with context.target(parameters.target.source) as target:
        compared = await compare(context, target, gathered, parameters)
        stop_if_cancelled(context)
        context.progress(50, 100, f"compared {compared.merged.height} stocks")
        applied, cursor = NOT_APPLIED, state.cursor
        if not parameters.dry_run:
            _stop_at(compared.breaches)
            applied = await apply(context, target, to_write(compared.merged), parameters)
            cursor = await _settle(context, target, parameters, state, compared.stock)
    await _write_files(context, compared, applied, parameters)
    return result(
        parameters,
        compared,
        applied,
        cursor=cursor,
        artifacts=context.artifacts(),
        digest=digest.hexadecimal(),
    )


def _stop_at(found: list[Breach]) -> None:
    if found:
        raise PermanentError(
            found[0].code, "; ".join(breach.message for breach in found) + ". Nothing was applied"
        )


async def _settle(
    context: JobContext,
    target: Target,
    parameters: InventorySyncParameters,
    before: SyncState,
    stock: Stock,
) -> datetime | None:
    known = [moment for moment in (before.cursor, stock.cursor) if moment is not None]
    after = SyncState(compares=remembering.compares(parameters), cursor=max(known, default=None))
    async with target.transaction() as transaction:
        ledger = transaction.sync(parameters.sync, parameters.target.entity)
        settled = await ledger.settle(context.job_id, before=before, after=after)
    return after.cursor if settled else before.cursor


async def _write_files(
    context: JobContext,
    compared: Compared,
    applied: Applied,
    parameters: InventorySyncParameters,
) -> None:
    stem = parameters.file_name
    context.progress(92, 100, "writing files")
    diff = writing.differences(
        compared.merged,
        compared.earlier,
        applied=not parameters.dry_run,
        overtaken=applied.overtaken,
    )
    await writing.write(context, f"{stem}-differences.csv", diff)
    conflicts = writing.conflicts(compared.merged)
    if conflicts.height:
        await writing.write(context, f"{stem}-conflicts.csv", conflicts)
    failures = compared.stock.failures
    if failures.height:
        await writing.write(context, f"{stem}-failures.csv", writing.failures(failures))
    context.progress(100, 100, "done")
