"""The job types that any live worker serves, as this process knows them."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.job_catalogue import JobTypes, JobTypeView, ListJobTypes

from lineshaft_job_runner.catalogue import Catalogue

KNOWN_SECONDS = 3.0
"""How old knowledge may be that says yes."""
MISSED_SECONDS = 1.0
"""How old knowledge may be that says no: a flood of unknown names asks the store this often."""


class Registry(Protocol):
    """Where the workers say what they serve; see store/served_types.py."""

    async def views(self) -> Sequence[JobTypeView]:
        """Describe each type that a live worker serves."""
        ...


class ServedTypes:
    """Looks types up in memory; the store is asked every few seconds, and only when needed."""

    def __init__(self, registry: Registry, catalogue: Catalogue) -> None:
        self._registry = registry
        self._own = {view.name: view for view in catalogue.views()}
        self._views: Mapping[str, JobTypeView] = self._own
        self._looked_at = -KNOWN_SECONDS
        self._looking = asyncio.Lock()

    async def find(self, name: str) -> JobTypeView | None:
        """Return the type when a live worker serves it; None when nobody does."""
        await self._look(KNOWN_SECONDS)
        if name not in self._views:
            await self._look(MISSED_SECONDS)
        return self._views.get(name)

    async def list_types(self, envelope: Envelope[ListJobTypes]) -> JobTypes:
        """Answer ListJobTypes: the types of this worker, and those of all others."""
        await self._look(MISSED_SECONDS)
        return JobTypes(job_types=tuple(self._views[name] for name in sorted(self._views)))

    async def attempts(self) -> Mapping[str, int]:
        """Return how often jobs of each type are tried that a live worker serves."""
        await self._look(MISSED_SECONDS)
        return {name: view.attempts_max for name, view in self._views.items()}

    def changed(self) -> None:
        """Say that what was known is out of date."""
        self._looked_at = -KNOWN_SECONDS

    async def _look(self, age_seconds_max: float) -> None:
        """Ask the store unless that was done lately; who comes meanwhile waits for the same."""
        async with self._looking:
            now = time.monotonic()
            if now - self._looked_at <= age_seconds_max:
                return
            found = {view.name: view for view in await self._registry.views()}
            self._views = found | self._own
            self._looked_at = now
