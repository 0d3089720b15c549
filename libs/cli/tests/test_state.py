"""What `up`, `down` and `status` know about a running system."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from lineshaft_cli.local.errors import AlreadyRunningError
from lineshaft_cli.local.files import write_atomically
from lineshaft_cli.local.process_id import ProcessId
from lineshaft_cli.local.state import Phase, ProcessState, State, StateFile


@pytest.fixture
def sleeper() -> "Generator[subprocess.Popen[bytes]]":
    """A process of our own to look at and to end."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def _identity(pid: int) -> ProcessId:
    found = ProcessId.of(pid)
    assert found is not None
    return found


def test_a_process_is_known_by_its_number_and_its_start(
    sleeper: "subprocess.Popen[bytes]",
) -> None:
    identity = _identity(sleeper.pid)
    assert identity.is_alive()
    later = ProcessId(pid=sleeper.pid, start_ticks=identity.start_ticks + 1)
    assert not later.is_alive()


def test_a_later_process_of_the_same_number_gets_no_signal(
    sleeper: "subprocess.Popen[bytes]",
) -> None:
    identity = _identity(sleeper.pid)
    earlier = ProcessId(pid=sleeper.pid, start_ticks=identity.start_ticks - 1)
    earlier.end(signal.SIGKILL, grace_seconds=0)
    assert identity.is_alive()


def test_an_ended_process_that_nobody_waited_for_counts_as_gone(
    sleeper: "subprocess.Popen[bytes]",
) -> None:
    identity = _identity(sleeper.pid)
    identity.end(signal.SIGTERM, grace_seconds=10)
    assert not identity.is_alive()
    assert ProcessId.of(sleeper.pid) is None


def test_the_state_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    file = StateFile(tmp_path)
    state = State(
        supervisor=_identity(os.getpid()),
        phase=Phase.READY,
        processes={"gateway": ProcessState(phase=Phase.READY, log="x", restarts=2)},
    )
    file.write(state)
    assert file.read() == state
    assert state.is_running()


def test_no_state_and_half_a_state_are_both_none(tmp_path: Path) -> None:
    file = StateFile(tmp_path)
    assert file.read() is None
    file.path.write_text('{"supervisor": {"pid"', encoding="utf-8")
    assert file.read() is None


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_one_supervisor_at_a_time(tmp_path: Path) -> None:
    file = StateFile(tmp_path)
    assert not file.is_held()
    with file.hold():
        assert file.is_held()
        with pytest.raises(AlreadyRunningError), StateFile(tmp_path).hold():
            pass
    assert not file.is_held()


def test_the_kernel_frees_the_directory_of_a_killed_supervisor(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from lineshaft_cli.local.state import StateFile\n"
        "with StateFile(pathlib.Path(sys.argv[1])).hold():\n"
        "    print('held', flush=True); time.sleep(600)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert StateFile(tmp_path).is_held()
        holder.kill()
    assert not StateFile(tmp_path).is_held()
