"""Folders and object stores of the sources file: files that jobs may read."""

import asyncio
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, Self

import obstore
from obstore.store import ObjectStore, from_url
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lineshaft_job_runner.secret_references import SecretReference, Variable
from lineshaft_job_runner.source_errors import SourceError, SourceUnavailableError
from lineshaft_job_runner.source_tables import Name

PATH_CHARACTERS_MAX = 1_024
BYTES_MAX = 2 * 1024**3

OptionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00]*$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FolderAccess(_Entry):
    """The folder of one tenant."""

    path: AbsolutePath | None = None
    """The source's when absent."""


class FolderEntry(_Entry):
    """A folder of the machines that run jobs."""

    kind: Literal["folder"]
    path: AbsolutePath | None = None
    tenants: dict[Name, FolderAccess] | None = None
    """Who may read it; every tenant when absent."""
    bytes_max: Annotated[int, Field(ge=1)] = BYTES_MAX
    """A larger file is refused."""

    @model_validator(mode="after")
    def _has_a_path(self) -> Self:
        tenants = self.tenants or {}
        if self.path is None and (not tenants or any(t.path is None for t in tenants.values())):
            raise ValueError("path is needed here, or at each of the tenants")
        return self

    def folder(self, name: str, tenant: str) -> "SafeFolder":
        """Return the folder of a tenant."""
        access = (self.tenants or {}).get(tenant) or FolderAccess()
        return SafeFolder(Path(access.path or self.path or ""), name, self.bytes_max)


class SafeFolder:
    """Opens files below a folder, step by step and without following any symbolic link."""

    def __init__(self, root: Path, name: str, bytes_max: int) -> None:
        self._root = root
        self._name = name
        self._bytes_max = bytes_max

    def open(self, path: str) -> BinaryIO:
        """See `Folder.open`."""
        segments = path.split("/")
        if (
            len(path) > PATH_CHARACTERS_MAX
            or any(segment in {"", ".", ".."} for segment in segments)
            or "\0" in path
        ):
            raise SourceError(
                "source_path_refused",
                f"{path[:200]!r} is no path of a file below data source {self._name!r}",
            )
        try:
            descriptor = self._descend(segments)
        except OSError as error:
            raise SourceError(
                "source_file_missing",
                f"data source {self._name!r} has no readable file {path[:200]!r}: "
                f"{os.strerror(error.errno or 0)}",
            ) from None
        return self._checked(descriptor, path)

    def _descend(self, segments: list[str]) -> int:
        at = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for number, segment in enumerate(segments, start=1):
            # Without waiting: a pipe would block until somebody writes to it.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            if number < len(segments):
                flags |= os.O_DIRECTORY
            try:
                inner = os.open(segment, flags, dir_fd=at)
            finally:
                os.close(at)
            at = inner
        return at

    def _checked(self, descriptor: int, path: str) -> BinaryIO:
        with suppress(SourceError):
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_size <= self._bytes_max:
                return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        raise SourceError(
            "source_file_refused",
            f"{path[:200]!r} of data source {self._name!r} is no regular file of at most "
            f"{self._bytes_max} bytes",
        )


class StoreAccess(_Entry):
    """The object store of one tenant."""

    url_env: Variable | None = None
    """Variable with this tenant's own address; the source's when absent."""
    options: dict[OptionName, str | SecretReference] | None = None
    """Instead of the source's."""


class ObjectStoreEntry(_Entry):
    """A bucket, or a part of one: S3, Google Cloud Storage, Azure or a local folder."""

    kind: Literal["object-store"]
    url_env: Variable | None = None
    """Environment variable that holds the address, such as s3://bucket/prefix."""
    options: dict[OptionName, str | SecretReference] = Field(default_factory=dict, max_length=32)
    """As obstore names them; secrets by reference, {aws_secret_access_key: {env: LAKE_SECRET}}."""
    tenants: dict[Name, StoreAccess] | None = None
    """Who may read it; every tenant when absent."""
    bytes_max: Annotated[int, Field(ge=1)] = BYTES_MAX
    """A larger object is refused."""
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 300
    """For one whole object."""

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        tenants = self.tenants or {}
        if self.url_env is None and (
            not tenants or any(one.url_env is None for one in tenants.values())
        ):
            raise ValueError("url_env is needed here, or at each of the tenants")
        return self

    def bucket(self, name: str, tenant: str, environment: Mapping[str, str]) -> "ReadableBucket":
        """Return the object store of a tenant; raises SourceError without a secret."""
        access = (self.tenants or {}).get(tenant) or StoreAccess()
        address = SecretReference(env=access.url_env or self.url_env)
        given = access.options
        if given is None:
            given = self.options if access.url_env is None else {}
        options = {
            key: value if isinstance(value, str) else value.resolve(name, environment)
            for key, value in given.items()
        }
        url = address.resolve(name, environment)
        try:
            store = _store(url, options)
        except Exception as error:  # noqa: BLE001 - obstore has no common error for them.
            raise SourceError(
                "source_not_configured",
                f"the address or an option of data source {name!r} is not accepted: "
                f"{type(error).__name__}",
            ) from None
        return ReadableBucket(store, name, self)


def _store(url: str, options: Mapping[str, Any]) -> ObjectStore:
    """Open a store; which options there are depends on its kind, and only obstore knows."""
    return from_url(url, **options)


class ReadableBucket:
    """Fetches objects, within limits."""

    def __init__(self, store: ObjectStore, name: str, entry: ObjectStoreEntry) -> None:
        self._store = store
        self._name = name
        self._entry = entry

    async def fetch(self, key: str, path: Path) -> int:
        """See `Bucket.fetch`."""
        segments = key.split("/")
        if len(key) > PATH_CHARACTERS_MAX or any(one in {"", ".", ".."} for one in segments):
            raise SourceError("source_path_refused", f"{key[:200]!r} is no key of an object")
        try:
            async with asyncio.timeout(self._entry.timeout_seconds):
                return await self._copy(key, path)
        except FileNotFoundError:
            raise SourceError(
                "source_file_missing", f"data source {self._name!r} has no object {key[:200]!r}"
            ) from None
        except (OSError, TimeoutError, obstore.exceptions.BaseError) as error:
            raise SourceUnavailableError(
                "source_unavailable",
                f"data source {self._name!r} does not answer: {type(error).__name__}",
            ) from None

    async def _copy(self, key: str, path: Path) -> int:
        answer = await obstore.get_async(self._store, key)
        size = 0
        with path.open("wb") as file:
            async for part in answer.stream():
                size += len(part)
                if size > self._entry.bytes_max:
                    raise SourceError(
                        "source_file_refused",
                        f"{key[:200]!r} of data source {self._name!r} has more than "
                        f"{self._entry.bytes_max} bytes",
                    )
                file.write(part)
        return size
