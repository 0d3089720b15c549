"""Control charts as SVG."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from lineshaft_contracts.spc import AnalysisParameters, ChartKind
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from lineshaft_job_runner.types.spc.analysis import Analysis
from lineshaft_job_runner.types.spc.charts import Array

POINTS_DRAWN_MAX = 4_000
"""Above this a chart shows the smallest and largest point of each stretch, and every signal."""
SIGNALS_DRAWN_MAX = 2_000
LABELS = {
    ChartKind.XBAR_R: ("Mean", "Range"),
    ChartKind.XBAR_S: ("Mean", "Standard deviation"),
    ChartKind.I_MR: ("Value", "Moving range"),
}
STYLE: dict[RcKeyType, Any] = {
    # The same input draws the same bytes, so that a retry stores the same artifact.
    "svg.hashsalt": "lineshaft",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(analysis: Analysis, parameters: AnalysisParameters, path: Path) -> None:
    """Write both charts, one above the other, with limits, phases and signals."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 6), layout="constrained")
        FigureCanvasSVG(figure)
        upper, lower = figure.subplots(2, 1, sharex=True)
        location, dispersion = LABELS[parameters.chart]
        limits = analysis.limits
        _chart(upper, analysis, "location", analysis.points.location)
        _chart(lower, analysis, "dispersion", analysis.points.dispersion)
        if limits is not None:
            _lines(upper, limits.lower, limits.center, limits.upper)
            _lines(
                lower, limits.dispersion_lower, limits.dispersion_center, limits.dispersion_upper
            )
        unit = f" ({parameters.unit})" if parameters.unit else ""
        verdict = analysis.stability.value.replace("_", " ")
        # Text of a user may hold a dollar sign, which matplotlib would read as mathematics.
        upper.set_title(f"{parameters.title}: {verdict}", parse_math=False)
        upper.set_ylabel(location + unit, parse_math=False)
        lower.set_ylabel(dispersion + unit, parse_math=False)
        lower.set_xlabel("Point")
        figure.savefig(path, format="svg", metadata={"Date": None, "Title": parameters.title})


def _chart(axes: Axes, analysis: Analysis, chart: str, values: Array) -> None:
    shown = _thinned(values)
    axes.plot(shown + 1, values[shown], color="#1f4e79", marker="o", markersize=3, linewidth=0.8)
    flagged = np.array(
        sorted({signal.point for signal in analysis.signals if signal.chart == chart}),
        dtype=np.int64,
    )[:SIGNALS_DRAWN_MAX]
    axes.plot(
        flagged, values[flagged - 1], color="#c00000", marker="s", markersize=5, linestyle="none"
    )
    used = np.flatnonzero(analysis.phase1)
    if used.size and used[-1] + 1 < values.size:
        axes.axvline(used[-1] + 1.5, color="#808080", linestyle=":", linewidth=1)


def _lines(axes: Axes, lower: float, center: float, upper: float) -> None:
    for value, name, style in (
        (lower, "LCL", "--"),
        (center, "CL", "-"),
        (upper, "UCL", "--"),
    ):
        axes.axhline(value, color="#548235", linestyle=style, linewidth=1)
        axes.annotate(
            f"{name} {value:.6g}",
            xy=(1, value),
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
