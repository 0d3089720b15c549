"""Ports and passwords that are chosen once and then remembered."""

import os
import socket
import stat
from collections.abc import Generator
from pathlib import Path

import pytest
from lineshaft_cli.local import installation, ports
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.installation import Installation


@pytest.fixture
def listener() -> Generator[int]:
    """Another server that holds a port."""
    with socket.socket() as server:
        server.bind((ports.LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_somebody_listens_on_is_not_free(listener: int) -> None:
    assert not ports.is_free(listener)


def test_a_preferred_port_is_taken_only_when_it_is_free(listener: int) -> None:
    free = ports.choose()
    assert ports.choose(preferred=free) == free
    assert ports.choose(preferred=listener) != listener
    assert ports.choose(preferred=free, taken={free}) != free


def test_a_remembered_port_stays_until_somebody_else_holds_it(listener: int) -> None:
    first = Installation().with_ports({"gateway": None})
    assert first.with_ports({"gateway": 1}).ports == first.ports
    moved = Installation(ports={"gateway": listener}).with_ports({"gateway": None})
    assert moved.ports["gateway"] != listener


def test_no_two_processes_share_a_port() -> None:
    wanted: dict[str, int | None] = dict.fromkeys(f"process-{number}" for number in range(20))
    shared = ports.choose()
    chosen = Installation().with_ports(wanted | {"a": shared, "b": shared}).ports
    assert len(set(chosen.values())) == len(chosen)


def test_a_password_is_chosen_once() -> None:
    first = Installation().with_passwords(["gateway"])
    again = first.with_passwords(["gateway", "monitor"])
    assert again.passwords["gateway"] == first.passwords["gateway"]
    assert again.passwords["monitor"] != again.passwords["gateway"]


def test_it_is_read_back_as_it_was_saved_and_only_by_its_owner(tmp_path: Path) -> None:
    saved = Installation().with_passwords(["gateway"]).with_ports({"gateway": None})
    saved.save(tmp_path)
    assert Installation.load(tmp_path) == saved
    assert stat.S_IMODE((tmp_path / installation.FILE_NAME).stat().st_mode) == 0o600


def test_an_absent_file_is_an_empty_installation(tmp_path: Path) -> None:
    assert Installation.load(tmp_path) == Installation()


def test_a_damaged_file_is_reported_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / installation.FILE_NAME).write_text("{", encoding="utf-8")
    with pytest.raises(LocalError, match="make clean"):
        Installation.load(tmp_path)


def test_data_of_another_user_goes_where_that_user_can_reach_it(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    place = installation.place_for_other_user(closed / "x")
    try:
        assert not place.is_relative_to(closed)
        assert place.stat().st_uid == os.getuid()
        assert place.stat().st_mode & stat.S_IXOTH
        assert place == installation.place_for_other_user(closed / "x")
    finally:
        place.rmdir()
