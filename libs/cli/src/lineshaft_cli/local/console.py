"""What the user sees: progress while starting, the table of processes, the addresses."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from lineshaft_cli.local.state import Phase, ProcessState, State

CPU_SAMPLE_SECONDS = 0.3
_STYLES = {Phase.READY: "green", Phase.FAILED: "red", Phase.BACKING_OFF: "red"}


def say(text: str) -> None:
    """Print one line about the whole."""
    print(f"lineshaft: {text}", flush=True)


@contextmanager
def progress() -> Iterator[Callable[[State], None]]:
    """Yield what prints a line each time a process becomes ready or fails."""
    began = time.monotonic()
    seen: dict[str, tuple[Phase, str]] = {}

    def show(state: State) -> None:
        for name, process in state.processes.items():
            current = (process.phase, process.message)
            if seen.get(name) == current:
                continue
            seen[name] = current
            if process.phase in {Phase.STARTING, Phase.READY, Phase.BACKING_OFF}:
                seconds = time.monotonic() - began
                detail = process.message or process.url or ""
                print(f"  {seconds:5.1f} s  {name:22} {process.phase:12} {detail}", flush=True)

    yield show


def summary(state: State, directory: Path) -> None:
    """Print where everything is, and how to stop it."""
    _print_table(state, {})
    key = directory / "admin.key"
    if key.exists():
        say(f"admin key: {key}")
    say(f"logs: {directory / 'logs'}; stop with `make down`, look with `make status`")


def status(state: State | None, *, as_json: bool) -> None:
    """Print each process with what it uses now."""
    if state is None or not state.is_running():
        print(json.dumps({"running": False, "processes": {}}) if as_json else "not running")
        sys.exit(3)
    usage = {name: _usage(process) for name, process in state.processes.items()}
    if as_json:
        document = {"running": True, **state.model_dump(mode="json")}
        for name, process in document["processes"].items():
            process["usage"] = usage[name]
        print(json.dumps(document, indent=2))
    else:
        _print_table(state, usage)


def _usage(process: ProcessState) -> dict[str, float]:
    """Return resident bytes and CPU percent of a process and its children."""
    if process.id is None or not process.id.is_alive():
        return {}
    try:
        top = psutil.Process(process.id.pid)
        family = [top, *top.children(recursive=True)]
        return {"rss_bytes": sum(member.memory_info().rss for member in family)}
    except psutil.Error:
        return {}


def _print_table(state: State, usage: dict[str, dict[str, float]]) -> None:
    table = Table("process", "state", "pid", "restarts", "address")
    for name, process in state.processes.items():
        style = _STYLES.get(process.phase, "yellow")
        table.add_row(
            name,
            f"[{style}]{process.phase}[/]",
            "" if process.id is None else str(process.id.pid),
            str(process.restarts),
            process.url or "",
        )
    Console().print(table)
