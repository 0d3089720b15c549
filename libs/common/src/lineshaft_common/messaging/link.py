"""One connection to the broker that comes back by itself, and takes its users along."""

import asyncio
import contextlib
from typing import Protocol, Self

import structlog
from prometheus_client import Counter, Gauge
from yarl import URL

from lineshaft_common.messaging import wire
from lineshaft_common.messaging.wire import Connection

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_SECONDS = 10.0
OPEN_TIMEOUT_SECONDS = 30.0
"""For one user: it opens while those before it are already at work on their backlogs."""
BACKOFF_SECONDS_MAX = 5.0
STABLE_SECONDS = 10.0
"""A connection that lasted so long was a good one: the next is tried at once."""
HEARTBEAT_SECONDS = 10

CONNECTED = Gauge("lineshaft_amqp_connected", "1 while the connection is up", ["connection"])
RECONNECTS = Counter("lineshaft_amqp_reconnects_total", "Connections lost", ["connection"])


class LinkUser(Protocol):
    """Something that lives on a connection and is rebuilt with every new one."""

    async def open(self, connection: Connection) -> None:
        """Declare, consume, be ready; called again after each reconnect."""
        ...

    def lost(self) -> None:
        """Give up what hung on the lost connection."""
        ...


class Link:
    """Keeps a connection up. Anything odd on it (a closed channel, a cancelled consumer) ends it.

    Starting over with everything is one path instead of many, and it is tried at every reconnect.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self.name = name
        self._users: list[LinkUser] = []
        self._connection: Connection | None = None
        self._up = asyncio.Event()
        self._broken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    @property
    def is_up(self) -> bool:
        """Whether the connection and all its users work, as far as is known."""
        return self._up.is_set()

    @property
    def connection(self) -> Connection | None:
        """The connection of now; None while there is none."""
        return self._connection if self._up.is_set() else None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"link-{self.name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def wait_up(self, timeout_seconds: float) -> None:
        """Return when the connection is up; raise TimeoutError after the deadline."""
        async with asyncio.timeout(timeout_seconds):
            await self._up.wait()

    async def add(self, user: LinkUser) -> None:
        """Put a user on the connection, now and after every reconnect."""
        async with self._lock:
            self._users.append(user)
            if self._connection is not None and self._up.is_set():
                try:
                    async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
                        await user.open(self._connection)
                except BaseException:
                    self._users.remove(user)
                    self.restart("a user could not be opened")
                    raise

    def remove(self, user: LinkUser) -> None:
        """Forget a user; its channel goes with the connection."""
        if user in self._users:
            self._users.remove(user)
            user.lost()

    def restart(self, reason: str) -> None:
        """Give up the connection and make a new one."""
        if not self._broken.is_set():
            log.warning("amqp_connection_restarts", connection=self.name, reason=reason)
            self._broken.set()

    async def _run(self) -> None:
        delay = 0.1
        loop = asyncio.get_running_loop()
        while True:
            self._broken.clear()
            began = loop.time()
            try:
                await self._connect()
                await self._broken.wait()
                RECONNECTS.labels(self.name).inc()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the client raises means not connected.
                log.warning("amqp_not_connected", connection=self.name, error=str(error)[:300])
            finally:
                await self._disconnect()
            if loop.time() - began > STABLE_SECONDS:
                delay = 0.1
            await asyncio.sleep(delay)
            delay = min(delay * 2, BACKOFF_SECONDS_MAX)

    async def _connect(self) -> None:
        url = URL(self._url)
        if "heartbeat" not in url.query:
            url = url.update_query(heartbeat=HEARTBEAT_SECONDS)
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            connection = await wire.connect(url, self.name)
        self._connection = connection
        connection.raw.closing.add_done_callback(lambda _: self.restart("closed by the broker"))
        async with self._lock:
            for user in list(self._users):
                async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
                    await user.open(connection)
            self._up.set()
        CONNECTED.labels(self.name).set(1)

    async def _disconnect(self) -> None:
        self._up.clear()
        self._broken.set()  # What follows is no reason to restart.
        CONNECTED.labels(self.name).set(0)
        for user in list(self._users):
            user.lost()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2):
                    await connection.raw.close()
