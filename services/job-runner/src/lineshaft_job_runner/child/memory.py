"""The bound on what a job may allocate, kept by the kernel between the runner's looks.

The runner looks at the resident memory ten times a second, and ends the job beyond its limit. In
between a job can take gigabytes, so the kernel refuses what would go far beyond. It counts address
space, not memory: RLIMIT_AS would count mapped files and the reserves of allocators, which are
many times what is used, and a control group needs rights that a service does not have.
RLIMIT_DATA counts private writable pages only, which allocators reserve about twice of what they
use. So it allows twice the limit above what the process had before the job: never in the way of a
job that keeps to its limit, and at most that much too late for one that does not.
"""

import resource
from pathlib import Path

RESERVE = 2


def limit(bytes_max: int | None) -> None:
    """Bound what the process may allocate from now on; None takes the bound away.

    The soft limit alone is set, so that the next job can have another one. Beyond it an
    allocation fails: Python raises MemoryError.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard
    if bytes_max is not None:
        soft = _data_bytes() + RESERVE * bytes_max
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Private writable address space of this process; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    line = next((x for x in status.splitlines() if x.startswith("VmData:")), "VmData: 0 kB")
    return int(line.split()[1]) * 1024
