"""Events between the log and the receiver: what is settled, and whose turn it is. Pure state."""

import asyncio
from collections import deque

from lineshaft_event_router.subscriptions.records import LogEvent


class Budget:
    """Bytes that all backlogs of the process hold together."""

    def __init__(self, bytes_max: int = 64 * 1024**2) -> None:
        self.bytes_max = bytes_max
        self.used = 0

    @property
    def is_spent(self) -> bool:
        """Whether only small backlogs may grow."""
        return self.used >= self.bytes_max


EVENTS_MAX = 512
BYTES_MAX = 1024**2
EVENTS_ALWAYS = 8
"""So many each backlog may hold, however much the others do."""


class Backlog:
    """Events of one subscription, in the order of the log, that are not settled yet.

    `next` is the offset that is to be read next; everything before the position is delivered or
    put aside, so the position may be kept at any time and reading begin there again.
    """

    def __init__(self, start: int, budget: Budget | None = None) -> None:
        self.next = start
        self.changed = asyncio.Event()
        """Set when there is something to do."""
        self._budget = budget or Budget()
        self._waiting: deque[LogEvent] = deque()
        self._unsettled: dict[int, LogEvent] = {}
        self._order: deque[int] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._unsettled)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be offered."""
        return (
            len(self._unsettled) >= EVENTS_MAX
            or (self._bytes >= BYTES_MAX and len(self._unsettled) > 0)
            or (self._budget.is_spent and len(self._unsettled) >= EVENTS_ALWAYS)
        )

    @property
    def oldest(self) -> LogEvent | None:
        """The first event that is not settled."""
        return self._unsettled[self._order[0]] if self._order else None

    @property
    def position(self) -> int:
        """Everything before this offset is settled."""
        return self._order[0] if self._order else self.next

    def offer(self, event: LogEvent) -> None:
        """Take an event; one that was read before is nothing new."""
        if event.offset < self.next:
            return
        self._waiting.append(event)
        self._unsettled[event.offset] = event
        self._order.append(event.offset)
        self._bytes += len(event.body)
        self._budget.used += len(event.body)
        self.next = event.offset + 1
        self.changed.set()

    def skip_to(self, offset: int) -> None:
        """Note that everything before an offset was looked at."""
        self.next = max(self.next, offset)

    def take(self) -> LogEvent | None:
        """Give the next event; it stays unsettled."""
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, events: list[LogEvent]) -> None:
        """Undo the latest takes: the events in the order in which they were taken."""
        self._waiting.extendleft(reversed(events))

    def settle(self, event: LogEvent) -> None:
        """Note that an event is delivered or put aside."""
        if self._unsettled.pop(event.offset, None) is None:
            return
        self._bytes -= len(event.body)
        self._budget.used -= len(event.body)
        while self._order and self._order[0] not in self._unsettled:
            self._order.popleft()

    def close(self) -> None:
        """Give back what it holds of the budget."""
        self._budget.used -= self._bytes
        self._bytes = 0
        self._waiting.clear()
        self._unsettled.clear()
        self._order.clear()


class Turns:
    """Gives the events of a backlog out so that no key has two of them at once."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._behind: dict[str, deque[LogEvent]] = {}
        """By each key that is busy, what waits for it."""
        self._ready: deque[LogEvent] = deque()

    def take(self) -> LogEvent | None:
        """Give the next event whose key is free; the key is busy until `done`."""
        if self._ready:
            return self._ready.popleft()
        while (event := self._backlog.take()) is not None:
            behind = self._behind.get(event.key)
            if behind is None:
                self._behind[event.key] = deque()
                return event
            behind.append(event)
        return None

    def done(self, event: LogEvent) -> None:
        """Settle an event; the next one of its key has its turn."""
        self._backlog.settle(event)
        behind = self._behind[event.key]
        if behind:
            self._ready.append(behind.popleft())
        else:
            del self._behind[event.key]
