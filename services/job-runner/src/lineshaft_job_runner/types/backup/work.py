"""The run of system.backup: dump, store, prove, name it a backup, thin out."""

import asyncio
import hashlib
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from lineshaft_contracts.backups import (
    BackupManifest,
    BackupParameters,
    BackupResult,
    Verification,
)
from lineshaft_contracts.job_parameters import Counts, Engine

from lineshaft_job_runner.job_type import JobContext, RetryableError
from lineshaft_job_runner.types.backup import packing, retention
from lineshaft_job_runner.types.backup.packing import DamagedError
from lineshaft_job_runner.types.backup.run import (
    PROGRESS_TOTAL,
    Run,
    backup_id,
    first_items,
    opened,
)
from lineshaft_job_runner.types.backup.subject import Examined, Moved
from lineshaft_job_runner.types.backup.vault import newest_verified
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest

LEVELS = (Verification.DIGEST, Verification.FULL_READ, Verification.RESTORE)
UNFINISHED_KEPT = timedelta(days=2)


async def run(context: JobContext, parameters: BackupParameters) -> BackupResult:
    """Make a backup that can be restored, or fail."""
    began = time.monotonic()
    async with opened(context, parameters.backup_set) as attempt:
        examined = await attempt.subject.examine()
        if parameters.dry_run:
            return _dry(attempt, parameters, examined)
        context.progress(0, PROGRESS_TOTAL, "dumping")
        earlier = await attempt.vault.manifests()
        previous = newest_verified(
            [m for m in earlier if m.backup_id != backup_id(context.job_id)]
        )
        manifest = await attempt.vault.manifest(backup_id(context.job_id))
        if manifest is None:  # Otherwise an earlier attempt did it, and ended before it said so.
            manifest = await _make(attempt, parameters, examined)
        kept, deleted = await _thin_out(attempt, parameters)
        context.progress(PROGRESS_TOTAL, PROGRESS_TOTAL, "backed up")
        return _result(
            attempt,
            parameters,
            manifest,
            previous=previous,
            kept=kept,
            deleted=deleted,
            seconds=time.monotonic() - began,
        )


async def _make(attempt: Run, parameters: BackupParameters, examined: Examined) -> BackupManifest:
    # An attempt that was given up may still write: its object is never this one's.
    packed = attempt.work / f"content-{secrets.token_hex(4)}.zst"
    name = packed.name
    moved = attempt.moved(0, 400, examined.bytes_estimated, "dumping")
    dumped = await attempt.subject.dump(packed, moved)
    if attempt.backup_set.encryption is not None:
        encrypted = packed.with_name(f"{packed.name}.age")
        await asyncio.to_thread(packing.encrypt, packed, encrypted, attempt.backup_set.encryption)
        packed, name = encrypted, encrypted.name
    size, digest = await asyncio.to_thread(packing.measured, packed)
    manifest = BackupManifest(
        backup_id=backup_id(attempt.context.job_id),
        tenant=attempt.context.tenant,
        backup_set=attempt.name,
        kind=attempt.backup_set.kind,
        snapshot_at=dumped.snapshot_at,
        object=name,
        bytes=size,
        sha256=digest,
        content_bytes=dumped.content_bytes,
        content_sha256=dumped.content_sha256,
        encrypted=attempt.backup_set.encryption is not None,
        made_by=examined.made_by,
        source_version=examined.version,
        items=dumped.inventory.items,
        parts=dict(dumped.inventory.parts),
        restores_with=dict(dumped.restores_with),
    )
    stop_if_cancelled(attempt.context)
    attempt.context.progress(400, PROGRESS_TOTAL, "storing")
    await attempt.vault.put(manifest.backup_id, name, packed)
    packed.unlink()  # What is verified is what was stored, not what is still here.
    try:
        manifest = await _verified(attempt, manifest, parameters.verification)
    except DamagedError as error:
        raise RetryableError("backup_damaged", f"the backup does not count: {error}") from error
    # Only who holds the job may say that there is a backup.
    await attempt.context.record({"manifest": {"object": name, "sha256": digest}})
    await attempt.vault.put_manifest(manifest, attempt.work)
    await attempt.vault.tidy(manifest)
    return manifest


async def _verified(attempt: Run, manifest: BackupManifest, level: Verification) -> BackupManifest:
    """Prove what is stored at a level; raises DamagedError."""
    began = time.monotonic()
    attempt.context.progress(450, PROGRESS_TOTAL, "reading it back")
    path = await attempt.fetch(manifest)
    seconds: float | None = None
    if level is not Verification.DIGEST:
        moved = attempt.moved(500, 600, manifest.content_bytes, "unpacking it")
        await asyncio.to_thread(_read_fully, attempt, path, manifest, moved)
    if level is Verification.RESTORE:
        moved = attempt.moved(600, 950, manifest.content_bytes, "restoring it")
        try:
            await attempt.restored(path, manifest, moved)
            seconds = round(time.monotonic() - began, 3)
        finally:
            await attempt.subject.remove(attempt.scratch)
    return manifest.model_copy(
        update={"verified": level, "verified_at": datetime.now(UTC), "restore_seconds": seconds}
    )


def _read_fully(attempt: Run, path: Path, manifest: BackupManifest, moved: Moved) -> None:
    digest, done = hashlib.sha256(), 0
    for block in packing.unpacked(path):
        stop_if_cancelled(attempt.context)
        digest.update(block)
        done += len(block)
        moved(done)
    if (done, digest.hexdigest()) != (manifest.content_bytes, manifest.content_sha256):
        raise DamagedError("what it unpacks to is not what was packed")


async def _thin_out(
    attempt: Run, parameters: BackupParameters
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Delete what the rules no longer keep, and what was never finished."""
    manifests = await attempt.vault.manifests()
    deleted: list[str] = []
    if parameters.retention:
        now = datetime.now(UTC)
        backups = [
            retention.Kept(
                backup_id=m.backup_id,
                snapshot_at=m.snapshot_at,
                verified=_counts(attempt, m.verified),
            )
            for m in manifests
        ]
        zone = ZoneInfo(parameters.timezone)
        deleted = retention.plan(backups, attempt.backup_set.keep, zone=zone, now=now)
        oldest = f"{now - UNFINISHED_KEPT:%Y%m%dT%H%M%SZ}"
        leftovers = [one for one in await attempt.vault.unfinished() if one < oldest]
        for one in (*deleted, *leftovers):
            stop_if_cancelled(attempt.context)
            await attempt.vault.delete(one)
    kept = [m.backup_id for m in reversed(manifests) if m.backup_id not in deleted]
    return tuple(kept), tuple(deleted)


def _counts(attempt: Run, verified: Verification | None) -> bool:
    if verified is None:
        return False
    return LEVELS.index(verified) >= LEVELS.index(attempt.backup_set.verification)


def _dry(attempt: Run, parameters: BackupParameters, examined: Examined) -> BackupResult:
    return BackupResult(
        counts=Counts(requested=examined.items, ok=0, skipped=examined.items),
        engine=_engine(examined.made_by),
        input_digest=InputDigest(parameters).hexadecimal(),
        backup_set=attempt.name,
        kind=attempt.backup_set.kind,
        source_version=examined.version,
    )


def _result(
    attempt: Run,
    parameters: BackupParameters,
    manifest: BackupManifest,
    *,
    previous: BackupManifest | None,
    kept: tuple[str, ...],
    deleted: tuple[str, ...],
    seconds: float,
) -> BackupResult:
    restored = manifest.verified is Verification.RESTORE
    count = len(manifest.items)
    digest = InputDigest(parameters)
    digest.add_bytes(manifest.content_sha256.encode())
    rpo = None
    if previous is not None and manifest.verified_at is not None:
        rpo = round((manifest.verified_at - previous.snapshot_at).total_seconds(), 3)
    counts_here = _counts(attempt, manifest.verified)
    return BackupResult(
        counts=Counts(
            requested=count, ok=count if restored else 0, skipped=0 if restored else count
        ),
        warnings=()
        if counts_here
        else ("it was verified below the set's level: it does not count for retention",),
        engine=_engine(manifest.made_by),
        input_digest=digest.hexadecimal(),
        backup_set=attempt.name,
        kind=manifest.kind,
        backup_id=manifest.backup_id,
        snapshot_at=manifest.snapshot_at,
        bytes=manifest.bytes,
        content_bytes=manifest.content_bytes,
        sha256=manifest.sha256,
        encrypted=manifest.encrypted,
        verified=manifest.verified,
        counts_for_retention=counts_here,
        source_version=manifest.source_version,
        rpo_seconds=rpo,
        rto_seconds=manifest.restore_seconds,
        backup_seconds=round(seconds, 3),
        items=first_items(manifest.items),
        kept=kept,
        deleted=deleted,
    )


def _engine(made_by: str) -> Engine:
    name, _, version = made_by.partition(" ")
    return Engine(name=name, version=version)
