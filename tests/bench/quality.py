"""Seconds that quality.analyze takes for the maths of a chart, beside pandas and a package.

The same values go through each way: limits, every point, and every signal of the run rules. What
ways agree on is checked. CPU seconds are those of the one thread that works; wall seconds also
have what else the machine does.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lineshaft_contracts.spc import ChartKind, ChartParameters
from lineshaft_job_runner.types.spc.analysis import analyze
from lineshaft_job_runner.types.spc.measurements import Measurements
from lineshaft_job_runner.types.spc.panels import Array

from . import environments, report

VALUES = 1_000_000
PACKAGE_VALUES = 20_000
"""Of the package's charts with run rules, which take minutes for a million."""
PACKAGES = ("mfgqc==0.3.1", "pandas==3.1.1")
PEER = Path(__file__).parent / "peers" / "spc_charts.py"
COMPARED = ("i-mr", "xbar-r", "ewma", "cusum")
CLOSE = 2e-3
"""Others round d2; and a rounded limit moves a few signals."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One way, for so many values."""

    wall: float
    """The best round: others also wait for whatever else the machine does."""
    cpu: float
    """Median."""
    values: int
    upper: float
    signals: int | None

    def per_million(self) -> float:
        """CPU seconds for a million values."""
        return self.cpu / self.values * 1e6


def single_values(count: int) -> Array:
    """A quiet process: normal values around 10."""
    return np.random.default_rng(1).normal(10, 1, count)


def measurements(chart: ChartKind, values: Array) -> Measurements:
    """Shape values, or counts made of the same random numbers, for a chart."""
    generator = np.random.default_rng(2)
    sizes = np.empty(0)
    if chart.is_for_attributes:
        expected = np.full(values.size, 9.0)
        sizes = np.ones(values.size)
        if chart is not ChartKind.C:
            sizes = np.full(values.size, 100.0)
            if chart is not ChartKind.NP:
                sizes = generator.integers(50, 200, values.size).astype(np.float64)
            expected = sizes * 0.1
        counts = generator.poisson(expected).astype(np.float64)
        values = (np.minimum(counts, sizes) if chart is not ChartKind.C else counts)[:, None]
    else:
        size = 5 if chart in {ChartKind.XBAR_R, ChartKind.XBAR_S} else 1
        values = values.reshape(-1, size)
    return Measurements(
        values=values,
        sizes=sizes,
        phase1=np.ones(len(values), dtype=bool),
        unequal=0,
    )


def parameters(chart: ChartKind) -> ChartParameters:
    """Ask for a chart with all eight rules of Nelson; the values are given apart."""
    query = {"source": "mes", "query": "values"}
    return ChartParameters.model_validate({"chart": chart, "measurements": query})


def measure_ours(chart: ChartKind, values: Array, rounds: int) -> Measured:
    """Measure limits, points, rules, the judgement, and the signals that a result shows."""
    given, asked = measurements(chart, values), parameters(chart)
    walls: list[float] = []
    cpus: list[float] = []
    found = analyze(given, asked)
    for _ in range(rounds):
        began, cpu = time.perf_counter(), time.process_time()
        found = analyze(given, asked)
        found.signals.first(100)
        walls.append(time.perf_counter() - began)
        cpus.append(time.process_time() - cpu)
    limits = found.panels[0].limits()
    if limits is None:
        raise RuntimeError(f"{chart} has no limits")
    on_location = sum(
        int((found.signals.kinds == number).sum())
        for number, (panel, _) in enumerate(found.signals.names)
        if panel != "dispersion"
    )
    return Measured(
        wall=min(walls),
        cpu=statistics.median(cpus),
        values=values.size,
        upper=limits.upper,
        signals=on_location,
    )


def measure_peer(way: str, chart: str, values: Array, rounds: int) -> Measured:
    """Run a peer in an environment of its own."""
    programs = environments.python_environment("spc", PACKAGES)
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "values.npy", values)
        command = [programs / "python", PEER, name, way, chart, str(rounds)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines: Sequence[Mapping[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    return Measured(
        wall=min(line["wall"] for line in lines),
        cpu=statistics.median(line["cpu"] for line in lines),
        values=values.size,
        upper=lines[0]["upper"],
        signals=lines[0]["signals"],
    )


def agree(chart: str, ours: Measured, theirs: Measured) -> None:
    """Refuse to compare ways that find something else."""
    same = abs(ours.upper - theirs.upper) <= CLOSE * abs(ours.upper)
    if theirs.signals is not None and ours.signals is not None:
        same &= abs(ours.signals - theirs.signals) <= 0.02 * ours.signals + 10
    if not same:
        raise RuntimeError(f"{chart}: {ours} is not {theirs}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=VALUES)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    values = single_values(given.values)
    lines: list[Sequence[str]] = [
        ("chart", "wall, s", "CPU, s", "pandas, CPU s", "mfgqc, CPU s", "ratios")
    ]
    for chart in ChartKind:
        ours = measure_ours(chart, values, given.rounds)
        cells = ["-", "-", "-"]
        if chart in COMPARED:
            pandas = measure_peer("pandas", chart, values, given.rounds)
            agree(chart, ours, pandas)
            ruled = chart in {ChartKind.I_MR, ChartKind.XBAR_R}
            few = values[: min(PACKAGE_VALUES, values.size)] if ruled else values
            package = measure_peer("package", chart, few, 1 if ruled else given.rounds)
            agree(chart, measure_ours(chart, few, 1), package)
            scale = given.values / 1e6
            ratios = [peer.per_million() / ours.per_million() for peer in (pandas, package)]
            cells = [
                f"{pandas.cpu:.2f}",
                f"{package.per_million() * scale:.2f}" + (" (scaled)" if ruled else ""),
                " / ".join(f"{ratio:.1f} x" for ratio in ratios),
            ]
        report.write("quality", {"chart": chart, "wall": ours.wall, "cpu": ours.cpu})
        lines.append((chart.value, f"{ours.wall:.3f}", f"{ours.cpu:.3f}", *cells))
    report.show(lines)


if __name__ == "__main__":
    main()
