"""Whose turn it is: the four priority lanes share one way in by weight, and none is starved."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

QUANTA: Mapping[str, int] = {"critical": 480, "high": 240, "normal": 120, "low": 60}
"""Events of a lane's turn while other lanes have work too."""
UNCONTESTED = 500
"""Events of a turn while no other lane has any."""


class Turnstile:
    """Round robin over the lanes, with turns as long as a lane's weight.

    While all lanes have work, each gets its quantum's share of the events: critical 8 of 15, low
    1 of 15. A lane's next batch is asked for only after its turn has ended, so that the queue of
    waiting lanes alone does not show who has work: whoever had the turn before counts as well.
    A batch waits for at most one turn of each other lane, the one inside counted, however long
    their backlogs are.
    """

    def __init__(
        self, quanta: Mapping[str, int] = QUANTA, *, uncontested: int = UNCONTESTED
    ) -> None:
        self._quanta = quanta
        self._uncontested = uncontested
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {lane: deque() for lane in quanta}
        self._inside: str | None = None
        self._last: str | None = None

    @asynccontextmanager
    async def turn(self, lane: str) -> AsyncGenerator[int]:
        """Wait for this lane's turn and hold it in the block: for at most so many events."""
        if self._inside is not None:
            await self._wait(lane)
        self._inside = lane
        others = (waiting for other, waiting in self._waiting.items() if other != lane)
        contested = self._last not in {None, lane} or any(others)
        try:
            yield self._quanta[lane] if contested else max(self._uncontested, self._quanta[lane])
        finally:
            self._last = lane
            self._next(lane)

    async def _wait(self, lane: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # It came with the cancellation: somebody else takes it.
                self._next(lane)
            raise

    def _next(self, lane: str) -> None:
        """Let in the first that waits, beginning with the lane after this one."""
        lanes = list(self._quanta)
        after = lanes.index(lane) + 1
        for candidate in (*lanes[after:], *lanes[:after]):
            waiting = self._waiting[candidate]
            while waiting:
                turn = waiting.popleft()
                if not turn.done():  # Else it was cancelled, and its task has not run since.
                    self._inside = candidate
                    turn.set_result(None)
                    return
        self._inside = None
