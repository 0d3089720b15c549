"""The two artifacts of an analysis: `<file_name>.json` with everything, and an SVG to look at."""

import asyncio
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

STYLE: dict[RcKeyType, Any] = {
    # The same input draws the same bytes, so that a retry stores the same artifact.
    "svg.hashsalt": "lineshaft",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
POINTS = "#1f4e79"
LIMITS = "#548235"
ALARM = "#c00000"
MUTED = "#808080"
WIDTH_INCHES = 10.0


@contextmanager
def figure_at(path: Path, title: str, *, height_inches: float) -> Generator[Figure, None, None]:
    """Open a figure that is written as SVG when the block ends."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure
        figure.savefig(path, format="svg", metadata={"Date": None, "Title": title})


async def write(
    context: JobContext,
    stem: str,
    document: Mapping[str, Any],
    draw: Callable[[Path], None],
    *,
    rows: int,
) -> None:
    """Write both, the document first; `rows` is how many items it holds."""
    async with context.artifact(f"{stem}.json", media_type="application/json") as file:
        await asyncio.to_thread(_write_json, file.path, document)
        file.rows = rows
    stop_if_cancelled(context)
    context.progress(rows // 2, rows, "drawing")
    async with context.artifact(f"{stem}.svg", media_type="image/svg+xml") as file:
        await asyncio.to_thread(draw, file.path)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(document, file, allow_nan=False, separators=(",", ":"))
