"""Colours and proportions of a report, alike in every format; hexadecimal sRGB."""

from collections.abc import Mapping

from lineshaft_job_runner.types.reporting.document import Tone

INK = "#1f2933"
ACCENT = "#1f4e79"
SOFT = "#d9e2ec"
STRIPE = "#f4f7fa"
MUTED = "#616e7c"
NOTE = "#fff7e6"

TONES: Mapping[Tone, str] = {
    Tone.ACCENT: ACCENT,
    Tone.GOOD: "#2e7d4f",
    Tone.BAD: "#c0392b",
    Tone.WARNING: "#d98e04",
    Tone.QUIET: "#7b8794",
}


def figures_per_row(count: int) -> int:
    """Return how many key figures stand side by side: none is left alone in the last row."""
    return 5 if count % 4 == 1 and count > 1 else 4


def table_part(shares: float) -> float:
    """Return the part of the page's width, 0 to 1, of a table with these shares of columns."""
    return min(1.0, shares / 7)
