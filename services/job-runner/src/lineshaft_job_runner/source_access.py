"""What one sources file opens to the jobs of a tenant."""

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from lineshaft_job_runner.job_data import Bucket, Endpoint, Folder, Source, Target
from lineshaft_job_runner.source_files import FolderEntry, ObjectStoreEntry
from lineshaft_job_runner.source_services import HttpEntry
from lineshaft_job_runner.sources import SourcesFile, wrong_kind

Opened_co = TypeVar("Opened_co", covariant=True)


class Opens(Protocol[Opened_co]):
    """Connects to a database of the file as a tenant does."""

    def __call__(
        self, file: SourcesFile, name: str, *, tenant: str
    ) -> AbstractAsyncContextManager[Opened_co]:
        """Connect, for the time of a block."""
        ...


class DataAccess:
    """Opens data sources by name; each raises SourceError for what the tenant may not use."""

    def __init__(
        self,
        file: SourcesFile,
        *,
        open_source: Opens[Source],
        open_target: Opens[Target],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._file = file
        self._open_source = open_source
        self._open_target = open_target
        self._environment = environment

    def source(self, name: str, *, tenant: str) -> AbstractAsyncContextManager[Source]:
        """Open a database for reading."""
        return self._open_source(self._file, name, tenant=tenant)

    def target(self, name: str, *, tenant: str) -> AbstractAsyncContextManager[Target]:
        """Open a database for writing."""
        return self._open_target(self._file, name, tenant=tenant)

    def endpoint(self, name: str, *, tenant: str) -> Endpoint:
        """Find an HTTP service."""
        entry = self._file.opened(name, tenant=tenant)
        if not isinstance(entry, HttpEntry):
            raise wrong_kind(name, entry.kind, "http")
        return entry.endpoint(name, tenant, self._environment)

    def folder(self, name: str, *, tenant: str) -> Folder:
        """Find a folder."""
        entry = self._file.opened(name, tenant=tenant)
        if not isinstance(entry, FolderEntry):
            raise wrong_kind(name, entry.kind, "folder")
        return entry.folder(name, tenant)

    def bucket(self, name: str, *, tenant: str) -> Bucket:
        """Find a part of an object store."""
        entry = self._file.opened(name, tenant=tenant)
        if not isinstance(entry, ObjectStoreEntry):
            raise wrong_kind(name, entry.kind, "object-store")
        return entry.bucket(name, tenant, self._environment)
