"""Keys whose events wait for another attempt, and keys that were given up. Pure state."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lineshaft_event_router.subscriptions.records import HeldHead


@dataclass(slots=True)
class Held:
    """One key: its first event failed, the others wait behind it."""

    events: int
    attempts: int
    first_failed_at: datetime | None
    due_at: datetime
    parked: bool
    busy: bool = False
    inserting: int = 0
    """Writes of events behind it that are under way."""
    inserts: int = 0
    """Such writes that began; whoever finds nothing in the database looks whether it grew."""


class Holding:
    """By key; the events themselves are in the database."""

    def __init__(self, heads: Iterable[HeldHead] = ()) -> None:
        self._keys = {
            head.key: Held(
                head.events, head.attempts, head.first_failed_at, head.due_at, head.parked
            )
            for head in heads
        }
        self.waiting = sum(held.events for held in self._keys.values() if not held.parked)
        self.parked = sum(held.events for held in self._keys.values() if held.parked)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __getitem__(self, key: str) -> Held:
        return self._keys[key]

    def is_parked(self, key: str) -> bool:
        """Whether the key was given up."""
        return key in self._keys and self._keys[key].parked

    def hold(self, key: str, *, failed_at: datetime, due_at: datetime) -> None:
        """Hold a key whose event failed for the first time."""
        self._keys[key] = Held(1, 1, failed_at, due_at, parked=False)
        self.waiting += 1

    def add_behind(self, key: str) -> None:
        """Count an event that is about to be written behind the first one of its key."""
        held = self._keys[key]
        held.events += 1
        held.inserting += 1
        held.inserts += 1
        if held.parked:
            self.parked += 1
        else:
            self.waiting += 1

    def due(self, now: datetime) -> str | None:
        """Give a key whose first event is to be tried now, and mark it busy."""
        found = None
        for key, held in self._keys.items():
            free = not held.parked and not held.busy and held.due_at <= now
            if free and (found is None or held.due_at < self._keys[found].due_at):
                found = key
        if found is not None:
            self._keys[found].busy = True
        return found

    def next_due_at(self) -> datetime | None:
        """Say when the next key is due."""
        return min(
            (held.due_at for held in self._keys.values() if not held.parked and not held.busy),
            default=None,
        )

    def added(self, key: str) -> None:
        """Note that the event behind is written."""
        self._keys[key].inserting -= 1

    def delivered(self, key: str, now: datetime) -> None:
        """Count the first event out; the key is due at once, for the next or to be freed."""
        held = self._keys[key]
        if held.events > 0:  # An event that was read again is counted twice.
            held.events -= 1
            self.waiting -= 1
        held.attempts, held.first_failed_at = 0, None
        held.due_at, held.busy = now, False

    def free(self, key: str, *, inserts: int, retry_at: datetime) -> None:
        """Free a key of which the database has nothing, unless more was written meanwhile.

        `inserts` is the count of before the database was asked.
        """
        held = self._keys[key]
        if held.inserting or held.inserts != inserts:
            held.due_at, held.busy = retry_at, False
            return
        del self._keys[key]
        self.waiting -= held.events

    def failed(self, key: str, *, failed_at: datetime, due_at: datetime) -> None:
        """Let the first event wait again."""
        held = self._keys[key]
        held.attempts += 1
        held.first_failed_at = held.first_failed_at or failed_at
        held.due_at, held.busy = due_at, False

    def park(self, key: str) -> None:
        """Give a key up, with all that waits behind."""
        held = self._keys[key]
        held.parked, held.busy = True, False
        self.waiting -= held.events
        self.parked += held.events

    def hasten(self, now: datetime) -> None:
        """Make all waiting keys due: the receiver is back."""
        for held in self._keys.values():
            held.due_at = min(held.due_at, now)
