"""Control charts as SVG."""

from pathlib import Path

import numpy as np
from lineshaft_contracts.spc import ChartParameters
from matplotlib.axes import Axes

from lineshaft_job_runner.types.quality.artifacts import ALARM, LIMITS, MUTED, POINTS, figure_at
from lineshaft_job_runner.types.spc.analysis import Analysis
from lineshaft_job_runner.types.spc.panels import Array, Panel

POINTS_DRAWN_MAX = 4_000
"""Above this a chart shows the smallest and largest point of each stretch, and every signal."""
SIGNALS_DRAWN_MAX = 2_000


def draw(analysis: Analysis, parameters: ChartParameters, path: Path) -> None:
    """Write the panels, one above the other, with limits, phases and signals."""
    with figure_at(path, parameters.title, height_inches=3.0 * len(analysis.panels)) as figure:
        rows = figure.subplots(len(analysis.panels), 1, sharex=True, squeeze=False)
        unit = f" ({parameters.unit})" if parameters.unit else ""
        for axes, panel in zip(rows[:, 0], analysis.panels, strict=True):
            _points(axes, analysis, panel)
            _limits(axes, panel)
            # Text of a user may hold a dollar sign, which matplotlib would read as mathematics.
            axes.set_ylabel(panel.label + unit, parse_math=False)
        verdict = analysis.stability.value.replace("_", " ")
        rows[0, 0].set_title(f"{parameters.title}: {verdict}", parse_math=False)
        rows[-1, 0].set_xlabel("Point")


def _points(axes: Axes, analysis: Analysis, panel: Panel) -> None:
    values = panel.values
    shown = _thinned(values)
    axes.plot(shown + 1, values[shown], color=POINTS, marker="o", markersize=3, linewidth=0.8)
    flagged = analysis.signals.points_of(panel.name)[:SIGNALS_DRAWN_MAX]
    axes.plot(
        flagged + 1, values[flagged], color=ALARM, marker="s", markersize=5, linestyle="none"
    )
    used = np.flatnonzero(analysis.phase1)
    if used.size and used[-1] + 1 < values.size:
        axes.axvline(used[-1] + 1.5, color=MUTED, linestyle=":", linewidth=1)


def _limits(axes: Axes, panel: Panel) -> None:
    limits = panel.limits()
    if limits is None:
        return
    lines = (
        (limits.lower, panel.lower, "LCL", "--"),
        (limits.center, panel.center, "CL", "-"),
        (limits.upper, panel.upper, "UCL", "--"),
    )
    for last, line, name, style in lines:
        if name != "CL" and last == limits.center:
            continue  # A cumulative sum has a limit on one side alone.
        if isinstance(line, np.ndarray):
            shown = _thinned(line)
            axes.step(
                shown + 1, line[shown], where="mid", color=LIMITS, linestyle=style, linewidth=1
            )
        else:
            axes.axhline(last, color=LIMITS, linestyle=style, linewidth=1)
        axes.annotate(
            f"{name} {last:.6g}",
            xy=(1, last),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
        )


def _thinned(values: Array) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Choose the indices of the points to draw: all, or the extremes of equal stretches."""
    if values.size <= POINTS_DRAWN_MAX:
        return np.arange(values.size)
    stretches = np.array_split(np.where(np.isnan(values), 0.0, values), POINTS_DRAWN_MAX // 2)
    starts = np.cumsum([0, *(stretch.size for stretch in stretches[:-1])])
    lowest = starts + np.array([stretch.argmin() for stretch in stretches])
    highest = starts + np.array([stretch.argmax() for stretch in stretches])
    return np.unique(np.concatenate((lowest, highest)))
