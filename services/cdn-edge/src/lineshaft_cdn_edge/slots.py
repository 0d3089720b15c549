"""How many requests may be at the origin at once, so that none of its uses stops the others."""

import asyncio
from contextlib import ExitStack


class _Lane:
    """The pass-through requests of one client address."""

    def __init__(self, width: int) -> None:
        self.free = asyncio.Semaphore(width)
        self.users = 0


class Slots:
    """Fills of the cache have one share, requests that pass through another of at most half.

    A pass-through lasts as long as its client likes; a fill as long as the origin. One client
    address has a share of its own in the latter, and what is above it waits.
    """

    def __init__(self, connections_max: int, *, passing_per_client_max: int) -> None:
        passing = max(1, connections_max // 2)
        self._passing = asyncio.Semaphore(passing)
        self._fills = asyncio.Semaphore(max(1, connections_max - passing))
        self._per_client = min(passing, passing_per_client_max)
        self._lanes: dict[str, _Lane] = {}

    async def acquire(self, *, client: str, fills: bool) -> "Slot":
        """Wait for a slot in the share that fits."""
        if fills:
            await self._fills.acquire()
            held = ExitStack()
            held.callback(self._fills.release)
            return Slot(self, client, held)
        return Slot(self, client, await self.acquire_passing(client))

    def has_room(self, client: str) -> bool:
        """Whether one more request of this client could pass through without waiting."""
        lane = self._lanes.get(client)
        return not self._passing.locked() and not (lane and lane.free.locked())

    async def acquire_passing(self, client: str) -> ExitStack:
        """Wait for the client's own limit and then for that of all clients."""
        with ExitStack() as held:
            lane = self._lanes.setdefault(client, _Lane(self._per_client))
            lane.users += 1
            held.callback(self._leave, client, lane)
            await lane.free.acquire()
            held.callback(lane.free.release)
            await self._passing.acquire()
            held.callback(self._passing.release)
            return held.pop_all()

    def _leave(self, client: str, lane: _Lane) -> None:
        lane.users -= 1
        if not lane.users:
            del self._lanes[client]


class Slot:
    """One place at the origin, held until it is released."""

    def __init__(self, slots: Slots, client: str, held: ExitStack) -> None:
        self._slots = slots
        self._client = client
        self._held = held

    async def pass_through(self) -> bool:
        """Go from the share of fills to the other; False, and nothing changes, without room."""
        if not self._slots.has_room(self._client):
            return False
        held, self._held = self._held, await self._slots.acquire_passing(self._client)
        held.close()
        return True

    def release(self) -> None:
        """Give the place to the next; harmless the second time."""
        self._held.close()
