"""The ends of attempts on their way into the store."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from uuid import UUID

import structlog
from lineshaft_common.transient import is_transient

from lineshaft_job_runner import storable
from lineshaft_job_runner.job import Outcome, Verdict

log = structlog.get_logger(__name__)

BATCH_MAX = 1_000
BATCH_CHILDREN_MAX = 10_000


class EndStore(Protocol):
    """What storing ends asks of the store; see store/jobs.py."""

    async def finish(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """Store ends; the lease tokens of those that were still good."""
        ...


class Ends:
    """Stores what ended while the last batch was being stored.

    An end whose lease was lost is not stored, and needs nothing else: the job is somebody
    else's. `on_stored` is called with the lease tokens that are done with, either way.
    """

    def __init__(self, store: EndStore, *, on_stored: Callable[[Iterable[UUID]], None]) -> None:
        self._store = store
        self._on_stored = on_stored
        self._waiting: dict[UUID, Outcome] = {}  # By lease token.
        self._came = asyncio.Event()

    def add(self, outcome: Outcome) -> None:
        """Store it soon."""
        self._waiting[outcome.job.lease_token] = outcome
        self._came.set()

    def __len__(self) -> int:
        return len(self._waiting)

    async def store(self) -> None:
        """Wait for ends and store them; raises when the store is away, and they go on waiting."""
        if not self._waiting:  # Otherwise the last try failed, and they still wait.
            await self._came.wait()
        self._came.clear()
        while self._waiting:
            batch = self._batch()
            try:
                await self._store.finish(batch)
            except Exception as error:
                if is_transient(error):
                    raise
                log.warning("ends_refused", count=len(batch), error=repr(error)[:300])
                for outcome in batch:
                    await self._store_alone(outcome)
            else:
                self._done(batch)

    def _batch(self) -> list[Outcome]:
        """Take what one statement can be asked to store."""
        batch: list[Outcome] = []
        children = 0
        for outcome in self._waiting.values():
            children += len(outcome.children)
            if batch and (len(batch) >= BATCH_MAX or children > BATCH_CHILDREN_MAX):
                break
            batch.append(outcome)
        return batch

    async def _store_alone(self, outcome: Outcome) -> None:
        """Store one end, or in its place that it cannot be stored."""
        try:
            await self._store.finish([outcome])
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("end_refused", job_id=str(outcome.job.id))
            reason = storable.unstorable("the database refused it").error
            # When even this is refused, the store is at fault: all ends wait until it is not.
            await self._store.finish(
                [Outcome(job=outcome.job, verdict=Verdict.FAILED, error=reason)]
            )
        self._done([outcome])

    def _done(self, outcomes: Sequence[Outcome]) -> None:
        tokens = [outcome.job.lease_token for outcome in outcomes]
        for token in tokens:
            del self._waiting[token]
        self._on_stored(tokens)
