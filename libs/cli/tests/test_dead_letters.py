"""`lineshaft dead-letters` as a person uses it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from lineshaft_cli import api
from lineshaft_cli.app import app
from typer.testing import CliRunner


class Gateway:
    """A gateway with seven letters, that sends at most three of them per request."""

    def __init__(self) -> None:
        self.left = 7
        self.bodies: list[dict[str, Any]] = []

    async def post(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        assert path == "/api/dead-letters/redrive"
        self.bodies.append(body)
        matched, sent = self.left, 0 if body["dry_run"] else min(3, self.left)
        self.left -= sent
        return {"matched": matched, "redriven": sent, "remaining": self.left, "errors": []}, ""


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    made = Gateway()

    @asynccontextmanager
    async def connect(directory: Path) -> AsyncGenerator[Gateway]:
        yield made

    monkeypatch.setattr(api, "connect", connect)
    return made


def test_it_goes_on_until_all_are_sent(gateway: Gateway) -> None:
    result = CliRunner().invoke(app, ["dead-letters", "redrive", "--queue", "monitor.plant"])
    assert (result.exit_code, result.output) == (0, "7 sent again, 0 left\n")
    assert len(gateway.bodies) == 3
    assert gateway.bodies[0]["queue"] == "monitor.plant"


def test_a_dry_run_only_counts(gateway: Gateway) -> None:
    result = CliRunner().invoke(app, ["dead-letters", "redrive", "--all", "--dry-run"])
    assert result.output == "7 would be sent again\n"
    assert gateway.left == 7


def test_nothing_is_sent_by_accident(gateway: Gateway) -> None:
    assert CliRunner().invoke(app, ["dead-letters", "redrive"]).exit_code == 2
    assert gateway.bodies == []
