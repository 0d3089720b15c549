"""The run of system.restore: tried in a scratch place first, then under a name of its own."""

import hashlib
import time
from datetime import UTC, datetime

from lineshaft_contracts.backups import BackupManifest, RestoreParameters, RestoreResult
from lineshaft_contracts.job_parameters import Counts, Engine

from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.backup.packing import DamagedError
from lineshaft_job_runner.types.backup.run import PROGRESS_TOTAL, Run, first_items, opened
from lineshaft_job_runner.types.backup.vault import newest_verified
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest

PUBLISHING = "publishing"


async def run(context: JobContext, parameters: RestoreParameters) -> RestoreResult:
    """Restore and compare; only a copy that equals its backup gets the name."""
    async with opened(context, parameters.backup_set) as attempt:
        manifest = await _choose(attempt, parameters)
        plan = _plan(manifest, parameters.target)
        if not parameters.dry_run and parameters.plan != plan:
            raise PermanentError(
                "plan_differs", "the plan is of another backup or target: do a dry run first"
            )
        seconds = await _published(attempt, parameters)
        if seconds is None:
            seconds = await _restore(attempt, parameters, manifest)
        context.progress(PROGRESS_TOTAL, PROGRESS_TOTAL, "restored")
        return _result(parameters, manifest, plan, seconds)


async def _choose(attempt: Run, parameters: RestoreParameters) -> BackupManifest:
    if parameters.backup_id is not None:
        chosen = await attempt.vault.manifest(parameters.backup_id)
    else:
        chosen = newest_verified(await attempt.vault.manifests())
    if chosen is None:
        raise PermanentError(
            "backup_missing",
            f"the set {attempt.name!r} has no such backup: system.backup lists those that it kept",
        )
    return chosen


def _plan(manifest: BackupManifest, target: str) -> str:
    """Return what a dry run and its restore have in common."""
    about = (
        f"{manifest.tenant}/{manifest.backup_set}/{manifest.backup_id}/{manifest.sha256}/{target}"
    )
    return hashlib.sha256(about.encode()).hexdigest()


async def _published(attempt: Run, parameters: RestoreParameters) -> float | None:
    """Return the seconds that an earlier attempt took, which ended before it could say so."""
    free = await attempt.subject.is_free(parameters.target)
    before = (await attempt.context.recorded()).get(PUBLISHING)
    if not free and before is not None and not parameters.dry_run:
        return float(before["seconds"])
    if not free:
        raise PermanentError("target_exists", f"{parameters.target!r} exists: choose another name")
    return None


async def _restore(attempt: Run, parameters: RestoreParameters, manifest: BackupManifest) -> float:
    began = time.monotonic()
    attempt.context.progress(0, PROGRESS_TOTAL, "fetching")
    try:
        path = await attempt.fetch(manifest)
        stop_if_cancelled(attempt.context)
        moved = attempt.moved(200, 950, manifest.content_bytes, "restoring")
        await attempt.restored(path, manifest, moved)
        seconds = round(time.monotonic() - began, 3)
        if not parameters.dry_run:
            await attempt.context.record({PUBLISHING: {"seconds": seconds}})
            await attempt.subject.publish(attempt.scratch, parameters.target)
    except DamagedError as error:
        raise PermanentError(
            "backup_damaged", f"backup {manifest.backup_id} cannot be restored: {error}"
        ) from error
    finally:
        await attempt.subject.remove(attempt.scratch)
    return seconds


def _result(
    parameters: RestoreParameters, manifest: BackupManifest, plan: str, seconds: float
) -> RestoreResult:
    count = len(manifest.items)
    digest = InputDigest(parameters)
    digest.add_bytes(manifest.sha256.encode())
    name, _, version = manifest.made_by.partition(" ")
    age = (datetime.now(UTC) - manifest.snapshot_at).total_seconds()
    return RestoreResult(
        counts=Counts(requested=count, ok=count),
        engine=Engine(name=name, version=version),
        input_digest=digest.hexadecimal(),
        backup_set=manifest.backup_set,
        backup_id=manifest.backup_id,
        snapshot_at=manifest.snapshot_at,
        target=parameters.target,
        plan=plan,
        restored=not parameters.dry_run,
        data_age_seconds=round(age, 3),
        rto_seconds=seconds,
        items=first_items(manifest.items),
    )
