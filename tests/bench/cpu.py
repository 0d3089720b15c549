"""How much processor time the processes of a measurement use."""

from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """Seconds of processor time, of each kind of process and of the whole machine."""

    worker: float
    client: float
    servers: float
    machine: float

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(
            worker=self.worker - earlier.worker,
            client=self.client - earlier.client,
            servers=self.servers - earlier.servers,
            machine=self.machine - earlier.machine,
        )

    @property
    def total(self) -> float:
        """Return what the measurement itself used."""
        return self.worker + self.client + self.servers


@dataclass(frozen=True, kw_only=True)
class Meter:
    """Reads the processor time of process trees."""

    worker: int
    client: int
    servers: Sequence[int]

    def read(self) -> Cpu:
        """Return what was used until now."""
        busy = psutil.cpu_times()
        return Cpu(
            worker=_of_tree(self.worker),
            client=_of_tree(self.client),
            servers=sum(_of_tree(pid) for pid in self.servers),
            machine=busy.user + busy.nice + busy.system + busy.irq + busy.softirq,
        )


def _of_tree(pid: int) -> float:
    """Return the seconds of a process, of its children, and of those that it saw end."""
    root = psutil.Process(pid)
    seconds = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # It ended just now: its parent has its time.
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
