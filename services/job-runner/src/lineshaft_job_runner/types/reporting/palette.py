"""Colours of a report, alike in every format; hexadecimal sRGB."""

from collections.abc import Mapping

from lineshaft_job_runner.types.reporting.document import Tone

INK = "#1f2933"
ACCENT = "#1f4e79"
SOFT = "#d9e2ec"
STRIPE = "#f4f7fa"
MUTED = "#616e7c"

TONES: Mapping[Tone, str] = {
    Tone.ACCENT: ACCENT,
    Tone.GOOD: "#2e7d4f",
    Tone.BAD: "#c0392b",
    Tone.WARNING: "#d98e04",
    Tone.QUIET: "#7b8794",
}
