"""Fonts of a report, and how text is fitted into a width."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

REGULAR, BOLD = "DejaVuSans", "DejaVuSans-Bold"
TEXT_MAX = 500
"""Characters of one cell; more is cut, and counted."""
ELLIPSIS = "\u2026"


class Typography:
    """DejaVu Sans, which covers Latin, Greek and Cyrillic and is embedded in the document."""

    def __init__(self) -> None:
        for name in (REGULAR, BOLD):
            pdfmetrics.registerFont(TTFont(name, str(_font_file(name))))
        font: Any = pdfmetrics.getFont(REGULAR)
        self._glyphs: frozenset[int] = frozenset(font.face.charToGlyph)
        self.characters_missing: set[str] = set()
        """Characters that the font cannot draw."""
        self.texts_cut = 0

    def clean(self, text: str) -> str:
        """Make one line of it; remember what cannot be shown."""
        line = " ".join(text.split())
        if not line.isascii():
            self.characters_missing.update(
                character for character in line if ord(character) not in self._glyphs
            )
        if len(line) > TEXT_MAX:
            self.texts_cut += 1
            return line[: TEXT_MAX - 1] + ELLIPSIS
        return line

    def wrap(self, text: str, *, size: float, width: float, font: str = REGULAR) -> list[str]:
        """Break a line at spaces, and inside of words that are wider than the column."""
        if width_of(text, size, font) <= width:
            return [text]
        lines = [""]
        for word in text.split(" "):
            joined = f"{lines[-1]} {word}" if lines[-1] else word
            if width_of(joined, size, font) <= width:
                lines[-1] = joined
                continue
            if lines[-1]:
                lines.append("")
            for character in word:
                if lines[-1] and width_of(lines[-1] + character, size, font) > width:
                    lines.append("")
                lines[-1] += character
        return lines


@lru_cache(maxsize=8_192)
def width_of(text: str, size: float, font: str = REGULAR) -> float:
    """Return the width of a line in points; plant data repeats, so the answer is kept."""
    return float(pdfmetrics.stringWidth(text, font, size))


def _font_file(name: str) -> Path:
    # Found without importing matplotlib, which takes longer than drawing a report.
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise RuntimeError("matplotlib, whose fonts a report uses, is not installed")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"
