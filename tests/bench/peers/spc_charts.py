"""Control charts as one would write them with pandas, and by a public SPC package.

Run in an environment of its own: FOLDER WAY CHART ROUNDS; prints one JSON line a round.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

D2 = {2: 1.128, 5: 2.326}


def nelson(z: Any) -> int:
    """Count all signals of the eight rules, written with rolling windows."""
    step = z.diff()
    turn = (step * step.shift()) < 0
    found = int((z.abs() > 3).sum())
    for side in (z, -z):
        found += int(((side > 0).rolling(9).sum() == 9).sum())
        found += int(((side.diff() > 0).rolling(5).sum() == 5).sum())
        for window, least, sigmas in ((3, 2, 2), (5, 4, 1)):
            beyond = side > sigmas
            found += int(((beyond.rolling(window, min_periods=1).sum() >= least) & beyond).sum())
    found += int((turn.rolling(12).sum() == 12).sum())
    found += int(((z.abs() < 1).rolling(15).sum() == 15).sum())
    above = (z > 0).rolling(8).sum()
    mixed = ((z.abs() > 1).rolling(8).sum() == 8) & (above > 0) & (above < 8)
    return found + int(mixed.sum())


def pandas_single(values: Any) -> dict[str, Any]:
    """Individuals and moving ranges, with all rules."""
    pandas: Any = importlib.import_module("pandas")
    series = pandas.Series(values)
    center, sigma = series.mean(), series.diff().abs().mean() / D2[2]
    return {"upper": center + 3 * sigma, "signals": nelson((series - center) / sigma)}


def pandas_grouped(values: Any) -> dict[str, Any]:
    """Means and ranges of five."""
    pandas: Any = importlib.import_module("pandas")
    frame = pandas.DataFrame({"value": values, "group": np.arange(values.size) // 5})
    groups = frame.groupby("group")["value"]
    means, ranges = groups.mean(), groups.max() - groups.min()
    center, sigma = means.mean(), ranges.mean() / D2[5] / 5**0.5
    return {"upper": center + 3 * sigma, "signals": nelson((means - center) / sigma)}


def pandas_weighted(values: Any) -> dict[str, Any]:
    """EWMA with exact limits."""
    pandas: Any = importlib.import_module("pandas")
    series: Any = pandas.Series(values)
    center, sigma = series.mean(), series.diff().abs().mean() / D2[2]
    started = pandas.concat([pandas.Series([center]), series])
    average = started.ewm(alpha=0.2, adjust=False).mean().iloc[1:]
    grown: Any = 1 - 0.8 ** np.linspace(2.0, 2.0 * len(values), len(values))
    reach: Any = 3 * sigma * (0.2 / 1.8 * grown) ** 0.5
    signals = int(((average - center).abs().to_numpy() > reach).sum())
    return {"upper": center + reach[-1], "signals": signals}


def pandas_summed(values: Any) -> dict[str, Any]:
    """CUSUM, which pandas has no function for: a loop."""
    pandas: Any = importlib.import_module("pandas")
    series = pandas.Series(values)
    center, sigma = series.mean(), series.diff().abs().mean() / D2[2]
    above = below = 0.0
    signals = 0
    for z in ((series - center) / sigma).tolist():
        above, below = max(0.0, above + z - 0.5), max(0.0, below - z - 0.5)
        signals += (above > 5) + (below > 5)
    return {"upper": 5.0, "signals": signals}


def package(values: Any, chart: str) -> dict[str, Any]:
    """Let mfgqc make the chart."""
    mfgqc: Any = importlib.import_module("mfgqc")
    pandas: Any = importlib.import_module("pandas")
    frame = pandas.DataFrame({"value": values, "group": np.arange(values.size) // 5})
    if chart == "xbar-r":
        found = mfgqc.load(frame, measure="value", subgroup="group").control_chart("xbar_r")
    else:
        data = mfgqc.load(frame[["value"]], measure="value")
        makers: Mapping[str, Callable[[], Any]] = {
            "i-mr": lambda: data.control_chart("i_mr"),
            "ewma": lambda: data.ewma_chart(lam=0.2, L=3),
            "cusum": data.cusum_chart,
        }
        found = makers[chart]()
    if chart == "cusum":
        return {"upper": float(found.h), "signals": None}
    upper = found.ucl if chart == "ewma" else found.location_ucl
    return {"upper": float(np.ravel(upper)[-1]), "signals": None}


PANDAS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "i-mr": pandas_single,
    "xbar-r": pandas_grouped,
    "ewma": pandas_weighted,
    "cusum": pandas_summed,
}


def main(folder: Path, way: str, chart: str, rounds: int) -> None:
    """Measure one way; loading its library does not count."""
    importlib.import_module("pandas" if way == "pandas" else "mfgqc")
    values = np.load(folder / "values.npy")
    for _ in range(rounds):
        began, cpu = time.perf_counter(), time.process_time()
        found = PANDAS[chart](values) if way == "pandas" else package(values, chart)
        figures = {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        print(json.dumps({**figures, **found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
