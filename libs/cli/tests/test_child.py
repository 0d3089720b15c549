"""One supervised process: started, watched, restarted, stopped."""

import asyncio
import os
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from lineshaft_cli.local.child import DELAY_SECONDS_MAX, Child, Spec, restart_delays
from lineshaft_cli.local.log_file import LogFile
from lineshaft_cli.local.process_id import ProcessId
from lineshaft_cli.local.state import Phase, ProcessState

DEADLINE_SECONDS = 60.0
PYTHON = (sys.executable, "-c")


async def _ready() -> bool:
    return True


def _child(
    tmp_path: Path, *argv: str, stop_seconds: float = 10
) -> tuple[Child, list[ProcessState]]:
    seen: list[ProcessState] = []
    spec = Spec(
        name="one",
        argv=argv,
        environment=dict(os.environ),
        directory=tmp_path,
        log=LogFile(tmp_path / "one.log"),
        ready=_ready,
        stop_seconds=stop_seconds,
    )
    return Child(spec, lambda _, state: seen.append(state)), seen


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def test_delays_double_up_to_a_bound() -> None:
    delays = list(islice(restart_delays(), 10))
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == DELAY_SECONDS_MAX


async def test_a_process_that_ends_is_started_again_and_says_why(tmp_path: Path) -> None:
    child, seen = _child(
        tmp_path, *PYTHON, "import sys; print('no table', flush=True); sys.exit(7)"
    )
    run = asyncio.create_task(child.run())
    await _until(lambda: child.state.restarts == 2)
    await child.stop()
    await run
    assert any("exited with 7" in state.message for state in seen)
    assert child.spec.log.tail(1) == ["no table"]
    assert child.state.phase is Phase.STOPPED


async def test_a_program_that_does_not_exist_is_a_failed_start_not_a_crash(tmp_path: Path) -> None:
    child, seen = _child(tmp_path, "/does/not/exist")
    run = asyncio.create_task(child.run())
    await _until(lambda: child.state.phase is Phase.BACKING_OFF)
    await child.stop()
    await run
    assert any("cannot start" in state.message for state in seen)


async def test_a_stubborn_process_is_killed_after_its_grace(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(600)"
    )
    child, _ = _child(tmp_path, *PYTHON, script, stop_seconds=0.2)
    run = asyncio.create_task(child.run())
    await _until(lambda: child.spec.log.tail(1) == ["up"])
    identity = child.state.id
    assert identity is not None
    await child.stop()
    await run
    assert not identity.is_alive()


async def test_what_a_process_started_does_not_outlive_it(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    child, _ = _child(tmp_path, *PYTHON, script)
    run = asyncio.create_task(child.run())
    await _until(lambda: child.spec.log.tail(1))
    grandchild = ProcessId.of(int(child.spec.log.tail(1)[0]))
    assert grandchild is not None
    await child.stop()
    await run
    await _until(lambda: not grandchild.is_alive())


async def test_a_stop_during_the_wait_for_a_restart_is_immediate(tmp_path: Path) -> None:
    child, _ = _child(tmp_path, *PYTHON, "import sys; sys.exit(1)")
    run = asyncio.create_task(child.run())
    await _until(lambda: child.state.phase is Phase.BACKING_OFF)
    await child.stop()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await run
    assert child.state.phase is Phase.STOPPED


def test_a_log_is_kept_within_its_bound(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "one.log", bytes_max=100)
    handle = log.open()
    try:
        os.write(handle, b"a" * 150 + b"\n")
        log.shorten()
        os.write(handle, b"b\n")
    finally:
        os.close(handle)
    assert log.tail(5) == ["b"]
    assert (tmp_path / "one.log.1").stat().st_size == 151
