"""Tells at the end of a run of one process how much each scenario has seen."""

import pytest

from .fleet import TALLIES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write a table; a scenario in which something was lost or doubled has failed above."""
    if not TALLIES:
        return
    terminalreporter.section("jobs that came through")
    terminalreporter.write_line("rounds   jobs  attempts lost  scenario")
    for name, tally in TALLIES.items():
        terminalreporter.write_line(
            f"{tally['rounds']:6} {tally['jobs']:6} {tally['attempts_lost']:14}  {name}"
        )
