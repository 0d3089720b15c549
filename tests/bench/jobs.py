"""Durable jobs per second and processor time per job, ours beside other engines.

One worker process of each engine on the same private RabbitMQ and PostgreSQL with their default
durability. Every job does the same: it appends 16 bytes to a file in memory. A round measures
every engine once, so that what else the machine does falls on all; the table shows medians.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

from . import report, servers
from .engines import ENGINES, Installed
from .running import StuckError
from .trial import measure

Figures = dict[str, float]

RATIOS = {
    "end_to_end_jobs_per_second": "ratio, end to end",
    "drain_jobs_per_second": "ratio, drain",
    "end_to_end_total_cpu_us": "ratio, all CPU",
}
COLUMNS = {
    "end_to_end_jobs_per_second": "end to end, jobs/s",
    "end_to_end_worker_cpu_us": "worker CPU, us/job",
    "end_to_end_total_cpu_us": "with servers and client",
    "drain_jobs_per_second": "drain, jobs/s",
    "drain_worker_cpu_us": "worker CPU at that",
    "start_p50_ms": "start p50, ms",
    "start_p99_ms": "p99, ms",
}


async def rounds(
    engines: Sequence[Installed],
    private: servers.Servers,
    *,
    count: int,
    seconds: float,
    latency: bool,
) -> dict[str, list[Figures]]:
    """Measure each engine once in each round, and write every single result down.

    No round begins after so many seconds.
    """
    found: dict[str, list[Figures]] = {one.engine.name: [] for one in engines}
    began = time.monotonic()
    for number in range(count):
        if time.monotonic() - began > seconds:
            break
        for one in engines:
            name = one.engine.name
            about = {"round": number, "engine": name, "version": one.version}
            try:
                figures = await measure(one, private, latency=latency)
            except (StuckError, OSError, TimeoutError) as error:
                report.write("jobs", about | {"error": repr(error)})
                continue
            found[name].append(figures)
            report.write("jobs", about | {"jobs": one.engine.jobs} | figures)
    return found


def medians(found: dict[str, list[Figures]]) -> dict[str, Figures]:
    """Return the median of each figure; engines without a result are left out."""
    return {
        name: {key: statistics.median(one[key] for one in all_) for key in all_[0]}
        for name, all_ in found.items()
        if all_
    }


def table(result: dict[str, Figures], engines: Sequence[Installed]) -> list[list[str]]:
    """Write a row for each engine; ratios say how many times as good the first is."""
    if not result:
        return []
    first = next(iter(result.values()))
    rows = [["engine", *RATIOS.values(), *COLUMNS.values(), "left of a job"]]
    for one in engines:
        figures = result.get(one.engine.name)
        if figures is None:
            continue
        ratios = [report.number(_ratio(first, figures, key)) for key in RATIOS]
        values = [report.number(figures.get(key)) for key in COLUMNS]
        name = f"{one.engine.name} {one.version}".strip()
        rows.append([name, *ratios, *values, one.engine.record])
    return rows


def _ratio(first: Figures, other: Figures, key: str) -> float:
    """Return how many times as good the first is: more jobs per second, or less CPU."""
    quotient = first[key] / other[key]
    return quotient if key.endswith("per_second") else 1 / quotient


def main() -> None:
    """Run it on servers of its own."""
    parser = argparse.ArgumentParser(prog="bench jobs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", default="", help="engines whose name contains one of these, by ,"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of jobs")
    parser.add_argument("--minutes", type=float, default=60.0, help="no round begins after these")
    parser.add_argument("--no-latency", action="store_true")
    options = parser.parse_args()
    wanted = options.only.split(",")
    engines = [
        replace(one, jobs=round(one.jobs * options.scale)).installed()
        for one in ENGINES
        if any(part in one.name for part in wanted)
    ]
    with servers.private() as private:
        found = asyncio.run(
            rounds(
                engines,
                private,
                count=options.rounds,
                seconds=options.minutes * 60,
                latency=not options.no_latency,
            )
        )
    report.show(table(medians(found), engines))


if __name__ == "__main__":
    main()
