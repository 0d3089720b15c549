"""Pareto: what matters most first, and how much of everything it is."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from lineshaft_job_runner.types.reporting.document import Bars, Form, Row, Series, Tone

DRAWN = 8
REST = "all others"
NAME_MAX = 200
"""Characters of a name in figures, notes and charts; tables have all of it."""

Totals = Mapping[str, int | Decimal]


def ranked(totals: Totals) -> list[tuple[str, int | Decimal]]:
    """Sort by what they add up to, largest first."""
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))


def pareto(title: str, unit: str, totals: Totals, *, form: Form) -> list[Bars]:
    """Draw the largest and all others together, with their running share; nothing for nothing."""
    order = ranked(totals)
    shown = [(name, float(amount)) for name, amount in order[:DRAWN]]
    rest = float(sum(amount for _, amount in order[DRAWN:]))
    if rest:
        shown.append((REST, rest))
    if not any(amount for _, amount in shown):
        return []
    series = Series(title=unit, values=[amount for _, amount in shown], tone=Tone.ACCENT)
    labels = [name[:NAME_MAX] for name, _ in shown]
    return [Bars(title=title, labels=labels, series=[series], form=form, running_share=True)]


def with_shares(rows: Sequence[Row], amounts: Sequence[int | Decimal]) -> list[Row]:
    """Put the share and the running share of its amount behind each row."""
    total, running = sum(amounts), Decimal(0)
    found: list[Row] = []
    for row, amount in zip(rows, amounts, strict=True):
        running += amount
        shares = (float(amount / total), float(running / total)) if total else (None, None)
        found.append((*row, *shares))
    return found
