"""Whose turn it is: the four priority lanes share one way in by weight, and none is starved."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

WEIGHTS: Mapping[str, int] = {"critical": 8, "high": 4, "normal": 2, "low": 1}


class Turnstile:
    """Weighted fair queueing of batches.

    While all lanes have work, each gets its weight's share of the turns: critical 8 of 15, low
    1 of 15. A batch that arrives in an idle lane waits for the batch inside and for at most one
    turn of each lane with a smaller share, however long their backlogs are. No lane waits for
    more than 14 turns of the others together.
    """

    def __init__(self, weights: Mapping[str, int] = WEIGHTS) -> None:
        self._weights = weights
        self._finish = dict.fromkeys(weights, 0.0)
        self._now = 0.0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {lane: deque() for lane in weights}
        self._busy = False

    @asynccontextmanager
    async def turn(self, lane: str) -> AsyncGenerator[None]:
        """Wait for this lane's turn, and hold it inside the block."""
        if self._busy:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[lane].append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                if waiting.done() and not waiting.cancelled():
                    self._next()
                else:
                    self._waiting[lane].remove(waiting)
                raise
        self._busy = True
        # A lane that was idle begins where the others are: it has saved up no turns.
        start = max(self._finish[lane], self._now)
        self._finish[lane] = start + 1 / self._weights[lane]
        self._now = start
        try:
            yield
        finally:
            self._next()

    def _next(self) -> None:
        """Let in the lane whose turn would end first."""
        lanes = [lane for lane, waiting in self._waiting.items() if waiting]
        if not lanes:
            self._busy = False
            return
        lane = min(lanes, key=lambda n: max(self._finish[n], self._now) + 1 / self._weights[n])
        self._waiting[lane].popleft().set_result(None)
