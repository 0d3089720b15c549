"""Pages of a document: header, footer with "Page i of n", and a cursor that moves down."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reportlab import rl_config
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from lineshaft_job_runner.types.reporting import style
from lineshaft_job_runner.types.reporting.typography import BOLD, REGULAR, Typography, width_of

MARGIN = 15 * mm
HEADER = 12 * mm
INK, ACCENT, RULE = HexColor(style.INK), HexColor(style.ACCENT), HexColor(style.SOFT)
MUTED = HexColor(style.MUTED)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What every page says."""

    title: str
    subtitle: str
    footer: str
    logo: Path | None = None


class Pages:
    """A PDF that is written from top to bottom; lengths are points, y grows upward."""

    def __init__(
        self, path: Path, frame: Frame, typography: Typography, *, landscape: bool = False
    ) -> None:
        size = (A4[1], A4[0]) if landscape else A4
        self.canvas = _NumberedCanvas(str(path), frame.footer, size)
        self.canvas.setTitle(frame.title)
        self.canvas.setSubject(frame.subtitle)
        self.canvas.setCreator("Lineshaft")
        self.typography = typography
        self._frame = frame
        self.left, self.right = MARGIN, size[0] - MARGIN
        self._top = size[1] - MARGIN
        self.bottom = MARGIN + 6 * mm
        self.y = 0.0
        self._open()

    @property
    def width(self) -> float:
        """Between the margins."""
        return self.right - self.left

    def fits(self, height: float) -> bool:
        """Whether so much is left on this page."""
        return self.y - height >= self.bottom

    def turn(self) -> None:
        """Begin the next page."""
        self.canvas.showPage()
        self._open()

    def reserve(self, height: float) -> float:
        """Make room, on a new page when needed, and return the y of its top."""
        if not self.fits(height):
            self.turn()
        top = self.y
        self.y -= height
        return top

    def text(
        self,
        text: str,
        x: float,
        y: float,
        *,
        size: float = 8,
        font: str = REGULAR,
        color: Color = INK,
        align: str = "left",
    ) -> None:
        """Draw one line of text; x is its left, right or middle."""
        self.canvas.setFont(font, size)
        self.canvas.setFillColor(color)
        draw = {
            "left": self.canvas.drawString,
            "right": self.canvas.drawRightString,
            "middle": self.canvas.drawCentredString,
        }[align]
        draw(x, y, text)

    def heading(self, text: str, *, keep: float = 60) -> None:
        """Draw a heading, with at least `keep` points below it on the same page."""
        if not self.fits(24 + keep):
            self.turn()
        top = self.reserve(24)
        self.text(text, self.left, top - 16, size=11, font=BOLD, color=ACCENT)

    def paragraph(self, text: str, *, size: float = 9) -> None:
        """Draw wrapped text."""
        for line in self.typography.wrap(text, size=size, width=self.width):
            self.text(line, self.left, self.reserve(size * 1.5) - size, size=size)

    def close(self) -> int:
        """Write the file and return the count of pages."""
        self.canvas.showPage()
        count = len(self.canvas.states)
        self.canvas.save()
        return count

    def _open(self) -> None:
        self.y = self._top
        indent = 0.0
        if self._frame.logo is not None:
            self.canvas.drawImage(
                str(self._frame.logo), self.left, self.y - 9 * mm, 9 * mm, 9 * mm, mask="auto"
            )
            indent = 12 * mm
        half = self.width * 0.62 - indent
        title = self.typography.wrap(self._frame.title, size=12, width=half * 0.9)
        self.text(title[0], self.left + indent, self.y - 10, size=12, font=BOLD)
        size = min(8.0, 8.0 * self.width / max(width_of(self._frame.subtitle, 8), 1))
        self.text(self._frame.subtitle, self.left + indent, self.y - 22, size=size)
        self.y -= HEADER
        self.canvas.setStrokeColor(ACCENT)
        self.canvas.line(self.left, self.y, self.right, self.y)
        self.y -= 6


class _NumberedCanvas(Canvas):
    """Keeps finished pages until their count is known; a page is some 20 KB of commands."""

    def __init__(self, path: str, footer: str, size: tuple[float, float]) -> None:
        super().__init__(path, pagesize=size, pageCompression=1)
        # Base 85 keeps a file printable on links of seven bits, and makes it a quarter larger.
        settings: Any = rl_config
        settings.useA85 = 0
        self.states: list[dict[str, Any]] = []
        self._footer = footer
        self._right = size[0] - MARGIN

    def showPage(self) -> None:  # noqa: N802 - reportlab's name
        """Put the page aside."""
        self.states.append(dict(self.__dict__))
        # The stubs do not know this method, by which reportlab itself begins a page.
        self._startPage()  # pyright: ignore[reportAttributeAccessIssue]

    def save(self) -> None:
        """Draw the footers, now that the count is known, and write the file."""
        states = self.states
        for number, state in enumerate(states, start=1):
            self.__dict__.update(state)
            self.setFont(REGULAR, 7)
            self.setFillColor(INK)
            self.drawString(MARGIN, MARGIN - 4, self._footer)
            self.drawRightString(self._right, MARGIN - 4, f"Page {number} of {len(states)}")
            super().showPage()
        super().save()
