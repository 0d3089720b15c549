"""The machine: CPU, memory, disk and network, and a container's own limits (cgroup v2)."""

import asyncio
import time
from pathlib import Path

import psutil

from lineshaft_monitor.samples.series import Key

CGROUP = Path("/sys/fs/cgroup")


class Machine:
    """The collector of the machine that the monitor runs on."""

    name = "machine"

    def __init__(self, disk_path: Path, cgroup: Path = CGROUP) -> None:
        self._disk_path = disk_path
        self._cgroup = cgroup
        self._cpu_before: tuple[float, float] | None = None
        psutil.cpu_percent(None)  # The first reading has nothing to compare with.

    async def collect(self) -> dict[Key, float]:
        """Read in a thread: a network file system may not answer."""
        return {(name, ()): value for name, value in (await asyncio.to_thread(self._read)).items()}

    def _read(self) -> dict[str, float]:
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(self._disk_path))
        network = psutil.net_io_counters()
        values: dict[str, float] = {
            "machine_cpu_ratio": psutil.cpu_percent(None) / 100,
            "machine_load_1m": psutil.getloadavg()[0],
            "machine_memory_total_bytes": memory.total,
            "machine_memory_used_bytes": memory.total - memory.available,
            "machine_swap_used_bytes": psutil.swap_memory().used,
            "machine_disk_total_bytes": disk.total,
            "machine_disk_used_bytes": disk.used,
            "machine_disk_used_ratio": disk.percent / 100,
            "machine_network_received_bytes_total": network.bytes_recv,
            "machine_network_sent_bytes_total": network.bytes_sent,
        }
        values |= self._container()
        used, total = values["machine_memory_used_bytes"], values["machine_memory_total_bytes"]
        return {**values, "machine_memory_used_ratio": used / total}

    def _container(self) -> dict[str, float]:
        """Read the limits of this container, which then stand for the machine's own."""
        values: dict[str, float] = {}
        limit, current = self._number("memory.max"), self._number("memory.current")
        if limit is not None and current is not None:
            inactive = self._field("memory.stat", "inactive_file") or 0.0
            values["machine_memory_total_bytes"] = limit
            values["machine_memory_used_bytes"] = max(0.0, current - inactive)
        quota, _, period = self._text("cpu.max").partition(" ")
        used = self._field("cpu.stat", "usage_usec")
        if quota.isdigit() and period.isdigit() and used is not None:
            now, before = (time.monotonic(), used / 1e6), self._cpu_before
            self._cpu_before = now
            if before is not None and now[0] > before[0]:
                cores = int(quota) / int(period)
                values["machine_cpu_ratio"] = (now[1] - before[1]) / (now[0] - before[0]) / cores
        return values

    def _text(self, name: str) -> str:
        try:
            return (self._cgroup / name).read_text().strip()
        except OSError:
            return ""

    def _number(self, name: str) -> float | None:
        text = self._text(name)  # "max" means no limit.
        return float(text) if text.isdigit() else None

    def _field(self, name: str, field: str) -> float | None:
        for line in self._text(name).splitlines():
            word, _, number = line.partition(" ")
            if word == field and number.isdigit():
                return float(number)
        return None
