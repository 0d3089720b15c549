"""A Pareto chart as SVG."""

from math import fsum
from pathlib import Path

import numpy as np
from lineshaft_contracts.pareto import ParetoCategory, ParetoParameters
from matplotlib.ticker import PercentFormatter

from lineshaft_job_runner.types.quality.artifacts import ALARM, MUTED, POINTS, figure_at

LABEL_MAX = 30


def draw(
    ranked: tuple[ParetoCategory, ...], vital: int, parameters: ParetoParameters, path: Path
) -> None:
    """Write bars from the heaviest down, and the share that they make up together."""
    shown = ranked[: parameters.bars_max]
    rest = ranked[parameters.bars_max :]
    labels = [_short(one.category) for one in shown]
    weights = [one.weight for one in shown]
    shares = [one.cumulative_share for one in shown]
    if rest:
        labels.append(f"{len(rest)} others")
        weights.append(fsum(one.weight for one in rest))
        shares.append(1.0)
    places = np.arange(len(labels))
    colors = [POINTS if place < vital else MUTED for place in places]
    with figure_at(path, parameters.title, height_inches=5.0) as figure:
        axes = figure.subplots()
        axes.bar(places, weights, color=colors)
        axes.set_title(parameters.title, parse_math=False)
        axes.set_ylabel(parameters.unit or "Weight", parse_math=False)
        axes.set_xticks(places, labels, rotation=40, ha="right", parse_math=False)
        cumulative = axes.twinx()
        cumulative.plot(places, shares, color=ALARM, marker="o", markersize=3)
        cumulative.axhline(parameters.threshold, color=MUTED, linestyle=":")
        cumulative.set_ylim(0, 1.05)
        cumulative.yaxis.set_major_formatter(PercentFormatter(xmax=1))


def _short(text: str) -> str:
    return text if len(text) <= LABEL_MAX else f"{text[: LABEL_MAX - 1]}…"
