"""An alert store in memory that stores a commit whole or not at all."""

from typing import Any

from lineshaft_contracts.envelope import Envelope
from lineshaft_monitor.alert import Alert, Commit, Memory


class MemoryAlertStore:
    def __init__(self) -> None:
        self.alerts: dict[str, Alert] = {}
        self.memories: dict[str, Memory] = {}
        self.events: list[Envelope[Any]] = []
        self.commits = 0
        self.fail_before = False
        self.fail_after = False

    @property
    def open(self) -> list[Alert]:
        return [alert for alert in self.alerts.values() if alert.resolved_at is None]

    async def load(self) -> tuple[list[Alert], dict[str, Memory]]:
        return self.open, dict(self.memories)

    async def commit(self, commit: Commit) -> None:
        if self.fail_before:
            raise ConnectionError("the database is away")
        self.commits += 1
        for change in commit.changes:
            self.alerts[str(change.alert.id)] = change.alert
            self.events.append(change.event)
        for fingerprint, memory in commit.memories.items():
            if memory.is_idle:
                self.memories.pop(fingerprint, None)
            else:
                self.memories[fingerprint] = memory
        open_ = [alert.fingerprint for alert in self.open]
        assert len(open_) == len(set(open_)), "two open alerts about the same thing"
        if self.fail_after:
            raise ConnectionError("the connection was lost; nobody knows whether it is stored")
