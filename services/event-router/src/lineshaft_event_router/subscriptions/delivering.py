"""Runs the couriers of all subscriptions in the one process that leads."""

import asyncio
from dataclasses import replace
from typing import Self

import structlog
from lineshaft_common.messaging.bus import Bus
from lineshaft_common.transient import is_transient
from lineshaft_contracts.subscriptions import Protocol as SinkProtocol
from lineshaft_contracts.subscriptions import SubscriptionState
from lineshaft_contracts.topology import Queue
from prometheus_client import Gauge

from lineshaft_event_router.subscriptions.backlog import Backlog, Budget
from lineshaft_event_router.subscriptions.courier import Courier, DisabledError
from lineshaft_event_router.subscriptions.feed import Feed, Intake, selection_of
from lineshaft_event_router.subscriptions.journal import Journal
from lineshaft_event_router.subscriptions.log_search import find_head, has_record
from lineshaft_event_router.subscriptions.queue_courier import QueueCourier, queue_name
from lineshaft_event_router.subscriptions.records import Progress, Stored
from lineshaft_event_router.subscriptions.repeating import every, surely, watch, within
from lineshaft_event_router.subscriptions.stores import HeldEvents, Lead, Subscriptions
from lineshaft_event_router.subscriptions.webhook import WebhookClient, WebhookSink

log = structlog.get_logger(__name__)

Key = tuple[str, str]

STANDBY_SECONDS = 1.0
RECONCILE_SECONDS = 1.0
COMMIT_SECONDS = 0.25
BUSY_COMMIT_SECONDS = 1.0
"""So often its lag, while it has one."""
IDLE_COMMIT_SECONDS = 5.0
"""So often the position of a subscription is kept that only looked at events of others."""
CHECK_SECONDS = 1.0
PRUNE_SECONDS = 60.0
CLEAN_SECONDS = 1.0
RESTART_SECONDS = 1.0
NEAR = 20_000
"""Subscriptions so near to the first begin together, with the reader of all."""

LEADING = Gauge("lineshaft_subscriptions_leading", "1 in the process that delivers")
ACTIVE = Gauge("lineshaft_subscriptions_active", "Subscriptions that are delivered")
LAG = Gauge("lineshaft_subscription_lag_messages_max", "Messages of the one that lags most")


class _Post:
    """One subscription at work."""

    def __init__(self, stored: Stored, intake: Intake, courier: Courier | QueueCourier) -> None:
        self.stored = stored
        self.intake = intake
        self.courier = courier
        self.task: asyncio.Task[None] | None = None
        self.kept = stored.position
        self.kept_at = 0.0
        self.was_busy = True

    def held(self) -> int:
        """Count the events that were put aside and are to be tried again."""
        return self.courier.holding.waiting if isinstance(self.courier, Courier) else 0


class Deliveries:
    """Delivers while the block is open, in at most one process of all."""

    def __init__(
        self,
        bus: Bus,
        subscriptions: Subscriptions,
        held: HeldEvents,
        client: WebhookClient,
    ) -> None:
        self._bus = bus
        self._store = subscriptions
        self._held = held
        self._client = client
        self._journal = Journal(subscriptions)
        self._budget = Budget()
        self._posts: dict[Key, _Post] = {}
        self._feed = Feed[Key](bus, 0)
        self._version = -1
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._leads = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="deliveries")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Look at once whether subscriptions have changed."""
        self._wake.set()

    @property
    def head(self) -> int | None:
        """Offset of the newest record, when this process reads the log."""
        return self._feed.head if self._leads and self._feed.head >= 0 else None

    async def _run(self) -> None:
        while True:
            try:
                async with self._store.leading() as lead:
                    if lead is not None:
                        await self._lead(lead)
            except Exception as error:
                if is_transient(error):
                    log.warning("deliveries_wait", error=repr(error)[:200])
                else:  # Also a group of what the tasks inside failed by.
                    log.exception("deliveries_failed")
            await asyncio.sleep(STANDBY_SECONDS)

    async def _lead(self, lead: Lead) -> None:
        self._version, self._posts = -1, {}
        self._feed = Feed(self._bus, await self._start())
        self._leads = True
        LEADING.set(1)
        log.info("deliveries_lead", start=self._feed.head + 1)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed.run())
                tasks.create_task(watch(lead, seconds=CHECK_SECONDS))
                tasks.create_task(self._reconcile_on_change())
                tasks.create_task(every(COMMIT_SECONDS, self._keep))
                tasks.create_task(every(PRUNE_SECONDS, self._store.prune))
                tasks.create_task(every(CLEAN_SECONDS, self._remove_queues))
        finally:
            self._leads = False
            LEADING.set(0)
            await self._end(*self._posts.values())
            await within(2.0, self._journal.flush)

    async def _start(self) -> int:
        """Find where reading begins; a log that is shorter than it was, was made anew."""
        known = [one.position for one in await self._store.load()]
        head = await find_head(self._bus)
        if known and max(known) > head + 1 and not await has_record(self._bus, max(known) - 1):
            log.warning("events_log_is_new", head=head, positions=max(known))
            await self._store.rewind_all(0)
            return 0
        if not known:
            return head + 1
        return min(position for position in known if position >= max(known) - NEAR)

    async def _reconcile_on_change(self) -> None:
        while True:
            self._wake.clear()
            version = await surely(self._store.version)
            if version != self._version:
                await self._reconcile(await surely(self._store.load))
                self._version = version
            try:
                async with asyncio.timeout(RECONCILE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _reconcile(self, stored: list[Stored]) -> None:
        wanted = {one.key: one for one in stored if one.state is SubscriptionState.ACTIVE}
        for key, post in list(self._posts.items()):
            if key not in wanted or wanted[key].version != post.stored.version:
                await self._end(post)
                one = wanted.get(key)
                if one is not None and one.replays == post.stored.replays:
                    position = max(one.position, post.kept)
                    wanted[key] = _moved(one, position)
        for key, one in wanted.items():
            if key not in self._posts:
                self._begin(one)
        ACTIVE.set(len(self._posts))

    def _begin(self, stored: Stored) -> None:
        backlog = Backlog(stored.position, self._budget)
        intake = Intake(selection_of(stored.tenant, stored.subscription), backlog)
        try:
            self._feed.add(stored.key, intake)
            courier = self._courier(stored, backlog)
        except ValueError:  # One that cannot be compiled any more stops no other.
            log.exception("subscription_cannot_begin", tenant=stored.tenant, id=stored.id)
            self._feed.remove(stored.key)
            return
        post = _Post(stored, intake, courier)
        self._posts[stored.key] = post
        post.task = asyncio.create_task(self._work(post), name=f"courier-{stored.id}")

    def _courier(self, stored: Stored, backlog: Backlog) -> Courier | QueueCourier:
        if stored.subscription.protocol is SinkProtocol.AMQP:
            return QueueCourier(stored, backlog, self._bus, self._journal)
        sink = WebhookSink(stored, self._client)
        return Courier(stored, backlog, sink, self._held, self._journal)

    async def _work(self, post: _Post) -> None:
        stored = post.stored
        try:
            await post.courier.run()
        except DisabledError as error:
            reason = str(error)
            log.warning("subscription_disabled", tenant=stored.tenant, id=stored.id, reason=reason)
            await surely(lambda: self._store.disable(stored, reason))
            self.wake()
        except Exception:
            log.exception("courier_failed", tenant=stored.tenant, id=stored.id)
            await asyncio.sleep(RESTART_SECONDS)
            self._again(post)

    def _again(self, post: _Post) -> None:
        """Begin anew, from what is kept."""
        if self._posts.get(post.stored.key) is not post:
            return
        position = self._feed.position(post.intake)
        self._forget(post)
        self._begin(_moved(post.stored, position))

    async def _end(self, *posts: _Post) -> None:
        """Stop couriers, and keep how far they are."""
        tasks = [post.task for post in posts if post.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await within(2.0, lambda: self._keep_of(list(posts)))
        for post in posts:
            self._forget(post)

    def _forget(self, post: _Post) -> None:
        self._posts.pop(post.stored.key, None)
        self._feed.remove(post.stored.key)
        post.intake.backlog.close()

    async def _remove_queues(self) -> None:
        """Remove the queues of subscriptions that are gone, once their couriers are."""
        for name in await self._store.queues_left():
            if all(queue_name(*key) != name for key in self._posts):
                try:
                    await self._bus.delete(Queue(name=name))
                except Exception as error:  # noqa: BLE001 - it is tried again, and stops nothing.
                    log.warning("queue_not_removed", queue=name, error=repr(error)[:200])
                    continue
                await self._store.queue_removed(name)

    async def _keep(self) -> None:
        """Write the positions that moved, and the lines of the delivery log."""
        now = asyncio.get_running_loop().time()
        moved = [post for post in self._posts.values() if self._is_to_be_kept(post, now)]
        for post in moved:
            post.kept_at = now
            post.was_busy = self._is_busy(post)
        LAG.set(max((self._lag(post) for post in self._posts.values()), default=0))
        await self._keep_of(moved)
        await self._journal.flush()

    def _is_busy(self, post: _Post) -> bool:
        return len(post.intake.backlog) > 0 or post.held() > 0 or not post.intake.live

    def _is_to_be_kept(self, post: _Post, now: float) -> bool:
        moved = self._feed.position(post.intake) != post.kept
        if moved and post.intake.backlog.next > post.kept:
            wait = COMMIT_SECONDS
        elif self._is_busy(post) or post.was_busy:
            wait = BUSY_COMMIT_SECONDS
        elif moved:
            wait = IDLE_COMMIT_SECONDS
        else:
            return False
        return now >= post.kept_at + wait

    async def _keep_of(self, posts: list[_Post]) -> None:
        progress = [self._progress(post) for post in posts]
        if not progress:
            return
        await self._store.advance(progress)
        for post, one in zip(posts, progress, strict=True):
            post.kept = max(post.kept, one.position)
            post.intake.missed -= one.missed

    def _lag(self, post: _Post) -> int:
        position = self._feed.position(post.intake)
        return max(0, self._feed.head + 1 - position) + post.held()

    def _progress(self, post: _Post) -> Progress:
        oldest = post.intake.backlog.oldest
        return Progress(
            tenant=post.stored.tenant,
            id=post.stored.id,
            replays=post.stored.replays,
            position=self._feed.position(post.intake),
            lag_messages=self._lag(post),
            oldest_at=None if oldest is None else oldest.recorded_at,
            missed=post.intake.missed,
        )


def _moved(stored: Stored, position: int) -> Stored:
    return replace(stored, position=position)
