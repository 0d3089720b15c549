"""Parameters and results of system.backup and system.restore."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from lineshaft_contracts.envelope import Value
from lineshaft_contracts.job_parameters import JobParameters, JobResult, Name

BACKUP_ID = r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}$"

BackupId = Annotated[str, StringConstraints(pattern=BACKUP_ID)]
"""When its job was submitted, in UTC, and the end of the job's id."""
DatabaseName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Verification(StrEnum):
    """How a backup is checked after it was stored; each level includes those before it."""

    DIGEST = "digest"
    """It is read back, and its SHA-256 compared."""
    FULL_READ = "full_read"
    """It is decrypted and unpacked to the last byte, and the content's SHA-256 compared."""
    RESTORE = "restore"
    """It is restored into a scratch place; rows and checksums of each item are compared."""


class BackupKind(StrEnum):
    """What is backed up."""

    POSTGRESQL = "postgresql"
    SQLITE = "sqlite"
    FOLDER = "folder"


class BackupParameters(JobParameters):
    """Back a configured set up, prove that it can be restored, and thin out older backups.

    Addresses and secrets are the operator's: a request names a set. `dry_run` checks programs,
    versions and access, and counts the items.
    """

    backup_set: Name
    """A set of the backups file that is open to the tenant."""
    verification: Verification = Verification.RESTORE
    """Below the set's own level a backup does not count for retention."""
    retention: bool = True
    """Afterwards delete what the set's rules no longer keep."""


class RestoreParameters(JobParameters):
    """Restore a backup into a new place beside the original; nothing is ever overwritten.

    A dry run, which is the default, restores into a scratch place, compares, and names the plan;
    the real one needs that plan.
    """

    backup_set: Name
    """A set of the backups file that is open to the tenant."""
    backup_id: BackupId | None = None
    """Which backup; the latest verified one when absent."""
    target: DatabaseName
    """Name of the new database, file or folder; it must not exist."""
    dry_run: bool = True
    """Only try it, and name the plan."""
    plan: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """The `plan` of a dry run with the same backup and target."""

    @model_validator(mode="after")
    def _was_tried(self) -> Self:
        if not self.dry_run and self.plan is None:
            raise ValueError("a restore needs the plan of its dry run: run that first")
        return self


class BackupItem(Value):
    """A table, or a file, as it was in the snapshot."""

    name: str
    rows: int
    """Rows of a table, bytes of a file."""
    digest: str
    """Checksum over all rows, in any order; SHA-256 of a file."""


class BackupManifest(Value):
    """What is stored beside a backup, last: without it there is no backup."""

    version: int = 1
    backup_id: BackupId
    tenant: str
    backup_set: str
    kind: BackupKind
    snapshot_at: datetime
    """The moment whose state it holds."""
    object: str
    """Name of the content beside the manifest."""
    bytes: int
    sha256: str
    """Of the stored object."""
    content_bytes: int
    content_sha256: str
    """Of what it unpacks to."""
    encrypted: bool
    made_by: str
    """Program and version."""
    source_version: str
    items: tuple[BackupItem, ...]
    parts: dict[str, int] = Field(default_factory=dict)
    """How many indexes, constraints, views and so on there are beside the items."""
    restores_with: dict[str, str] = Field(default_factory=dict)
    """What the place to restore to needs, such as encoding and collation."""
    verified: Verification | None = None
    verified_at: datetime | None = None
    restore_seconds: float | None = None
    """From the stored object to a checked restore."""


class BackupResult(JobResult):
    """A stored backup, what was proven about it, and what became of older ones.

    `ok` counts the items that were equal after the restore; with a lower level of verification
    they are `skipped`.
    """

    backup_set: str
    kind: BackupKind
    backup_id: str | None = None
    """None for a dry run."""
    snapshot_at: datetime | None = None
    bytes: int = 0
    """Stored, compressed."""
    content_bytes: int = 0
    sha256: str = ""
    encrypted: bool = False
    verified: Verification | None = None
    counts_for_retention: bool = False
    """Whether it was verified as the set asks."""
    source_version: str = ""
    rpo_seconds: float | None = None
    """Measured recovery point: from the snapshot of the verified backup before this one to the
    moment when this one was verified. So much could have been lost. None for the first."""
    rto_seconds: float | None = None
    """Measured recovery time: fetch, unpack, restore and check in the scratch place."""
    backup_seconds: float = 0.0
    items: Annotated[tuple[BackupItem, ...], Field(max_length=100)] = ()
    """The first ones by name; the manifest has all."""
    kept: tuple[str, ...] = ()
    """Backups of the set that remain, the newest first."""
    deleted: tuple[str, ...] = ()


class RestoreResult(JobResult):
    """A restored copy that equals the backup item by item, or the plan for it."""

    backup_set: str
    backup_id: str
    snapshot_at: datetime
    target: str
    plan: str
    """For the request that really restores; holds for this backup and target."""
    restored: bool
    """False for a dry run: the copy was made in a scratch place and removed."""
    data_age_seconds: float
    """How old the restored state is."""
    rto_seconds: float
    """Measured: fetch, unpack, restore and check."""
    items: Annotated[tuple[BackupItem, ...], Field(max_length=100)] = ()
