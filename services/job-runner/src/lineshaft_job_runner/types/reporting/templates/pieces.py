"""Counts of pieces by what became of them."""

from dataclasses import dataclass

from lineshaft_job_runner.types.reporting.document import Figure, Form, Tone


@dataclass(kw_only=True)
class Pieces:
    """Good, scrapped and reworked pieces; a missing count is none."""

    good: int = 0
    scrap: int = 0
    rework: int = 0

    def add(self, good: int | None, scrap: int | None, rework: int | None) -> None:
        """Add the counts of a row."""
        self.good += good or 0
        self.scrap += scrap or 0
        self.rework += rework or 0

    @property
    def made(self) -> int:
        """Produced quantity of ISO 22400-2."""
        return self.good + self.scrap + self.rework

    @property
    def quality_ratio(self) -> float | None:
        """Good of all that was made, 0 to 1; None when nothing was."""
        return self.good / self.made if self.made else None

    @property
    def scrap_ratio(self) -> float | None:
        """Scrap of all that was made, 0 to 1."""
        return self.scrap / self.made if self.made else None

    def figures(self) -> tuple[Figure, ...]:
        """Return all of it as key figures."""
        return (
            Figure(name="good", title="Good", value=self.good, tone=Tone.GOOD),
            Figure(name="scrap", title="Scrap", value=self.scrap, tone=Tone.BAD),
            Figure(name="rework", title="Rework", value=self.rework, tone=Tone.WARNING),
            Figure(
                name="quality_ratio",
                title="Quality ratio",
                value=self.quality_ratio,
                form=Form.RATIO,
            ),
            Figure(
                name="scrap_ratio", title="Scrap ratio", value=self.scrap_ratio, form=Form.RATIO
            ),
        )
