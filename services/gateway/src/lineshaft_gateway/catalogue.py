"""Which job types exist: those of the contracts, and those that a live worker serves."""

import time
from collections.abc import Callable

from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.envelope import PLATFORM_TENANT
from lineshaft_contracts.job_catalogue import JobTypes, JobTypeView, ListJobTypes
from lineshaft_contracts.job_types import BUILT_IN

from lineshaft_gateway.coalescing import Coalescer

FRESH_SECONDS = 30.0
SOURCE = "/services/gateway"


class Catalogue:
    """Remembers the job-runner's answer for a moment; the same types serve every tenant."""

    def __init__(self, bus: Bus, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._coalescer = Coalescer()
        self._known: tuple[float, tuple[JobTypeView, ...]] | None = None

    async def job_types(self) -> tuple[JobTypeView, ...]:
        """List the types; raises NoReplyError or PublishError when the job-runner is away."""
        if self._known is not None and self._clock() - self._known[0] < FRESH_SECONDS:
            return self._known[1]
        return (await self._coalescer.get("types", self._ask)).job_types

    async def names(self) -> list[str]:
        """List the names of all types, asking again: the one that is missing may be new."""
        found = await self._coalescer.get("types", self._ask)
        return sorted({*BUILT_IN, *(job_type.name for job_type in found.job_types)})

    async def _ask(self) -> JobTypes:
        found = await self._bus.ask(ListJobTypes(), tenant=PLATFORM_TENANT, source=SOURCE)
        self._known = (self._clock(), found.job_types)
        return found
