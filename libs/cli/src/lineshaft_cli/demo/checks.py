"""What the demonstration found out: each step with its time, and whether it is as it should be."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from lineshaft_cli.local.errors import LocalError


class DemoError(LocalError):
    """A step did not end as it should; the system is left running for a look."""


@dataclass(kw_only=True)
class Step:
    """A line of the table."""

    title: str
    found: str = ""
    seconds: float = 0.0


@dataclass
class Protocol:
    """The steps so far."""

    console: Console
    steps: list[Step] = field(default_factory=list[Step])

    @contextmanager
    def step(self, title: str) -> Generator[Step]:
        """Time a step, show that it is under way, and keep what it found."""
        step = Step(title=title)
        began = time.monotonic()
        with self.console.status(title):
            yield step
        step.seconds = time.monotonic() - began
        self.steps.append(step)
        self.console.print(f"[green]ok[/green] {title} [dim]({step.seconds:.1f} s)[/dim]")

    def table(self) -> Table:
        """Lay out all steps."""
        table = Table(title="What happened", title_justify="left")
        table.add_column("step")
        table.add_column("found", overflow="fold")
        table.add_column("seconds", justify="right")
        for step in self.steps:
            table.add_row(step.title, step.found, f"{step.seconds:.1f}")
        return table


def expect(what: str, holds: Callable[[], bool] | bool) -> None:
    """End the demonstration unless something holds."""
    if not (holds if isinstance(holds, bool) else holds()):
        raise DemoError(f"not as expected: {what}")
