"""Heartbeats: the leases of all running jobs, kept from a thread of its own."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from typing import Protocol, Self
from uuid import UUID

import structlog
from lineshaft_common.transient import is_transient
from lineshaft_contracts.jobs import Progress

from lineshaft_job_runner.job import ProgressUpdate, Verdict
from lineshaft_job_runner.loop_watch import LoopWatch, running_now
from lineshaft_job_runner.running import Running

log = structlog.get_logger(__name__)

BEAT_SECONDS_MAX = 0.5
WATCH_SECONDS = 0.25
OPEN_SECONDS_MAX = 60.0
RETRY_SECONDS_MAX = 2.0
END_SECONDS_MAX = 5.0


class LeaseStore(Protocol):
    """What heartbeats ask of the store; see store/jobs.py."""

    async def heartbeat(
        self, updates: Sequence[ProgressUpdate], *, lease_seconds: float
    ) -> dict[UUID, bool]:
        """Extend leases, tell progress; by lease token still held whether to cancel the job."""
        ...


OpenLeaseStore = Callable[[], AbstractAsyncContextManager[LeaseStore]]
"""Opens a store with connections of its own; called in the thread, inside its loop."""


class Heartbeats:
    """Keeps leases while the block is open, also when a job blocks the event loop.

    A beat extends the leases that are due, brings news of the jobs along, and finds out which were
    cancelled or lost; what follows happens in the runner's loop. A lease that was taken over is
    never extended: the store compares the token. That the loop is blocked is told, see LoopWatch.
    """

    def __init__(
        self,
        running: dict[UUID, Running],
        open_store: OpenLeaseStore,
        *,
        lease_seconds: float,
        on_lost: Callable[[Running], None],
    ) -> None:
        self._running = running
        self._open_store = open_store
        self._lease_seconds = lease_seconds
        self._beat_seconds = min(BEAT_SECONDS_MAX, lease_seconds / 6)
        self._on_lost = on_lost
        self._opened: Future[None] = Future()
        self._looking = False
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._watch = LoopWatch(self._running, interval_seconds=WATCH_SECONDS)
        context = contextvars.copy_context()  # The log's service and instance.
        self._thread = threading.Thread(
            target=context.run, args=(self._in_thread,), name="heartbeats", daemon=True
        )
        self._thread.start()
        async with asyncio.timeout(OPEN_SECONDS_MAX):
            await asyncio.wrap_future(self._opened)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        self._wake_thread()
        await asyncio.to_thread(self._thread.join, END_SECONDS_MAX)

    def look_for_cancellations(self) -> None:
        """Beat for all jobs now: some may have been cancelled."""
        self._looking = True
        self._wake_thread()

    @property
    def up_to_date(self) -> bool:
        """Whether every lease was extended in good time.

        It is not after the process was frozen or cut off, until a beat got through.
        """
        oldest = time.monotonic() - self._lease_seconds * 0.6
        return all(r.lost or r.beaten_at > oldest for r in self._running.values())

    def _wake_thread(self) -> None:
        with suppress(RuntimeError):  # Its loop has ended.
            self._thread_loop.call_soon_threadsafe(self._awake.set)

    def _in_thread(self) -> None:
        try:
            asyncio.run(self._open_and_beat())
        except Exception as error:
            if self._opened.done():
                log.exception("heartbeats_ended")
            else:
                self._opened.set_exception(error)

    async def _open_and_beat(self) -> None:
        self._thread_loop = asyncio.get_running_loop()
        self._awake = asyncio.Event()
        async with self._open_store() as store:
            self._opened.set_result(None)
            watching = asyncio.create_task(self._watch_loop(), name="loop-watch")
            try:
                await self._beat_until_stopped(store)
            finally:
                watching.cancel()

    async def _watch_loop(self) -> None:
        while True:
            self._watch.look()
            await asyncio.sleep(WATCH_SECONDS)

    async def _beat_until_stopped(self, store: LeaseStore) -> None:
        delay = 0.1
        while not self._stopping:
            try:
                await self._beat_after_a_while(store)
                delay = 0.1
            except Exception as error:  # noqa: BLE001 - leases are kept whatever happens.
                log.warning("heartbeat_failed", error=repr(error)[:300])
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_SECONDS_MAX)

    async def _beat_after_a_while(self, store: LeaseStore) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._beat_seconds):
                await self._awake.wait()
        self._awake.clear()
        looking, self._looking = self._looking, False
        try:
            await self._beat(store, looking=looking)
        except BaseException:
            self._looking = self._looking or looking
            raise

    async def _beat(self, store: LeaseStore, *, looking: bool) -> None:
        now = time.monotonic()
        due_before = now - self._lease_seconds / 3
        due = [
            r
            for r in running_now(self._running)
            if not r.lost and (looking or r.beaten_at < due_before or r.has_news)
        ]
        if not due:
            return
        updates = [r.update for r in due]
        async with asyncio.timeout(self._lease_seconds / 2):  # Then there is time for another.
            held = await self._extend(store, updates)
        for running, update in zip(due, updates, strict=True):
            running.told(update, at=now)
            cancel = held.get(running.job.lease_token)
            if cancel is None:
                self._loop.call_soon_threadsafe(self._on_lost, running)
            elif cancel:
                self._loop.call_soon_threadsafe(running.stop, Verdict.CANCELLED)

    async def _extend(
        self, store: LeaseStore, updates: Sequence[ProgressUpdate]
    ) -> dict[UUID, bool]:
        """Extend leases together; when something is refused, singly, and that without its news."""
        try:
            return await store.heartbeat(updates, lease_seconds=self._lease_seconds)
        except Exception as error:
            if is_transient(error):
                raise
            log.warning("progress_refused", count=len(updates), error=repr(error)[:300])
            if len(updates) == 1:
                bare = replace(updates[0], progress=Progress(), moved=False, checkpoint=None)
                return await store.heartbeat([bare], lease_seconds=self._lease_seconds)
        held: dict[UUID, bool] = {}
        for update in updates:
            held |= await self._extend(store, [update])
        return held
