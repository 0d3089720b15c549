"""How much processor time the processes of a measurement use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """Seconds of processor time, by group of processes, and of the whole machine."""

    groups: Mapping[str, float]
    machine: float

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(
            groups={name: spent - earlier.groups[name] for name, spent in self.groups.items()},
            machine=self.machine - earlier.machine,
        )

    def figures(self, *, units: int, seconds: float) -> dict[str, float]:
        """Return microseconds per unit of each group and together.

        `foreign_cores` is what the rest of the machine used meanwhile, in cores.
        """
        total = sum(self.groups.values())
        found = {f"{name}_cpu_us": spent / units * 1e6 for name, spent in self.groups.items()}
        found["total_cpu_us"] = total / units * 1e6
        found = {name: round(value, 1) for name, value in found.items()}
        return found | {"foreign_cores": round((self.machine - total) / seconds, 2)}


class Meter:
    """Reads the processor time of process trees, each group named by what its processes are."""

    def __init__(self, **groups: Sequence[int]) -> None:
        self._groups = groups

    def read(self) -> Cpu:
        """Return what was used until now."""
        busy = psutil.cpu_times()
        return Cpu(
            groups={name: sum(map(_of_tree, pids)) for name, pids in self._groups.items()},
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
