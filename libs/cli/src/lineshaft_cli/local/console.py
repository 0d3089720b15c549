"""What the user sees: progress while starting, the table of processes, the addresses."""

import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from lineshaft_cli.local.state import Phase, ProcessState, State

CPU_SAMPLE_SECONDS = 0.5
MEBIBYTE = 1024 * 1024
PAGE_WIDTH = 120
_STYLES = {Phase.READY: "green", Phase.FAILED: "red", Phase.BACKING_OFF: "red"}
_WORTH_A_LINE = {Phase.READY, Phase.BACKING_OFF, Phase.FAILED}


class Usage(BaseModel):
    """What a process and its children use now."""

    model_config = ConfigDict(frozen=True)

    rss_bytes: int
    cpu_percent: float


def _console() -> Console:
    """Return the terminal, or a page wide enough for every address when output goes elsewhere."""
    console = Console()
    return console if console.is_terminal else Console(width=PAGE_WIDTH)


def say(text: str) -> None:
    """Print one line about the whole."""
    print(f"lineshaft: {text}", flush=True)


@contextmanager
def progress() -> Generator[Callable[[State], None]]:
    """Yield what shows a state: a live table on a terminal, else a line for each change."""
    console = _console()
    if console.is_terminal:
        with Live(console=console, transient=True, auto_refresh=False) as live:
            yield lambda state: live.update(_table(state, {}), refresh=True)
    else:
        yield _lines()


def _lines() -> Callable[[State], None]:
    began = time.monotonic()
    seen: dict[str, tuple[Phase, str]] = {}

    def show(state: State) -> None:
        for name, process in state.processes.items():
            current = (process.phase, process.message)
            if seen.get(name) != current and process.phase in _WORTH_A_LINE:
                seconds = time.monotonic() - began
                detail = process.message or process.url or ""
                line = f"  {seconds:5.1f} s  {name:22} {process.phase:12} {detail}"
                print(line.rstrip(), flush=True)
            seen[name] = current

    return show


def summary(state: State, directory: Path) -> None:
    """Print where everything is, and how to stop it."""
    _console().print(_table(state, {}))
    gateway = state.processes.get("gateway")
    if gateway is not None:
        say(f"the gateway: {gateway.url}")
    key = directory / "admin.key"
    if key.exists():
        say(f"admin key: {key}")
    say(f"logs: {directory / 'logs'}; stop with `make down`, look with `make status`")


def status(state: State, *, as_json: bool) -> None:
    """Print each process with what it uses now."""
    usage = _usage(state)
    if not as_json:
        _console().print(_table(state, usage))
        return
    processes = {
        name: {
            **process.model_dump(mode="json"),
            "usage": usage[name].model_dump() if name in usage else None,
        }
        for name, process in state.processes.items()
    }
    whole = state.model_dump(mode="json", exclude={"processes"})
    print(json.dumps({"running": True, **whole, "processes": processes}, indent=2))


def _usage(state: State) -> dict[str, Usage]:
    """Measure every process with its children over one short interval."""
    families = {name: _family(process) for name, process in state.processes.items() if process.id}
    for family in families.values():
        _cpu_percent(family)
    time.sleep(CPU_SAMPLE_SECONDS)
    return {
        name: Usage(rss_bytes=_rss_bytes(family), cpu_percent=_cpu_percent(family))
        for name, family in families.items()
    }


def _family(process: ProcessState) -> list[psutil.Process]:
    if process.id is None or not process.id.is_alive():
        return []
    try:
        top = psutil.Process(process.id.pid)
        return [top, *top.children(recursive=True)]
    except psutil.Error:
        return []


def _cpu_percent(family: list[psutil.Process]) -> float:
    """Return the use of one core since the last call, 0 at the first."""
    total = 0.0
    for member in family:
        try:
            total += member.cpu_percent()
        except psutil.Error:  # It ended meanwhile.
            continue
    return round(total, 1)


def _rss_bytes(family: list[psutil.Process]) -> int:
    total = 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.Error:  # It ended meanwhile.
            continue
    return total


def _table(state: State, usage: Mapping[str, Usage]) -> Table:
    table = Table("process", "state", "pid", "restarts", box=box.SIMPLE_HEAD)
    if usage:
        table.add_column("memory", justify="right")
        table.add_column("CPU", justify="right")
    table.add_column("address", overflow="fold")
    for name, process in state.processes.items():
        style = _STYLES.get(process.phase, "yellow")
        cells = [
            name,
            f"[{style}]{process.phase}[/]",
            "" if process.id is None else str(process.id.pid),
            str(process.restarts),
        ]
        if usage:
            used = usage.get(name)
            cells += (
                [f"{used.rss_bytes / MEBIBYTE:.0f} MiB", f"{used.cpu_percent} %"]
                if used
                else ["", ""]
            )
        table.add_row(*cells, process.message or process.url or "")
    return table
