"""The commands that run the system on this machine: up, down, status, logs, env, clean."""

import os
from pathlib import Path
from typing import Annotated

import typer

from lineshaft_cli.local import choice, console, docker, stop
from lineshaft_cli.local import clean as cleaning
from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.launch import Launch
from lineshaft_cli.local.log_file import LogFile
from lineshaft_cli.local.plan import PRIVATE, ROOT
from lineshaft_cli.local.state import StateFile

Directory = Annotated[
    Path,
    typer.Option(
        envvar="LINESHAFT_DIRECTORY",
        help="Where this local system keeps its data, logs and state.",
        resolve_path=True,
    ),
]
Only = Annotated[
    str | None,
    typer.Option(help="Start just these, separated by commas: `postgres,rabbitmq,gateway`."),
]
DEFAULT_DIRECTORY = ROOT / ".lineshaft"
# As init scripts answer for a program that does not run.
EXIT_NOT_RUNNING = 3


def up(
    directory: Directory = DEFAULT_DIRECTORY,
    only: Only = None,
    processes: Annotated[
        Path | None, typer.Option(help="A JSON table of processes to run instead of the system.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds until everything must be ready.")
    ] = 180.0,
) -> None:
    """Start the servers and every service; return when all are ready."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o711)
    names = frozenset(only.split(",")) if only else None
    already = StateFile(directory).is_held()
    launch = Launch(
        directory=directory,
        servers=PRIVATE if already else choice.provide(directory, names, os.environ),
        only=names,
        processes=processes.resolve() if processes else None,
        timeout_seconds=timeout,
    )
    supervisor = None if already else launch.spawn()
    try:
        with console.progress() as show:
            state = launch.follow(supervisor, show)
    except BaseException:
        if not already:
            stop.stop(directory)
        raise
    if already:
        console.say("already running")
    console.summary(state, directory)


def down(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Stop everything that `up` started; the data stays."""
    console.say("stopped" if stop.stop(directory) else "nothing was running")


def status(
    directory: Directory = DEFAULT_DIRECTORY,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show each process: state, pid, memory, CPU, restarts, address."""
    state = StateFile(directory).read()
    if state is None or not state.is_running():
        typer.echo('{"running": false, "processes": {}}' if as_json else "not running")
        raise typer.Exit(EXIT_NOT_RUNNING)
    console.status(state, as_json=as_json)


def env(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Print the servers' addresses as shell assignments, to run one service by hand."""
    endpoints = Endpoints.load(directory)
    named = {
        "LINESHAFT_AMQP_URL": endpoints.amqp,
        "LINESHAFT_RABBITMQ_MANAGEMENT_URL": endpoints.rabbitmq_management,
        "LINESHAFT_POSTGRES_URL": endpoints.postgres,
        "PLANT_AMQP_URL": endpoints.plant_amqp,
        **{f"{name.upper()}_POSTGRES_URL": url for name, url in endpoints.databases.items()},
    }
    for name, url in named.items():
        if url is not None:
            typer.echo(f"export {name}='{url}'")


def logs(
    process: Annotated[str, typer.Argument(help="The process, as `lineshaft status` names it.")],
    directory: Directory = DEFAULT_DIRECTORY,
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
) -> None:
    """Print the end of a process's log."""
    log = LogFile(directory / "logs" / f"{process}.log")
    if follow:
        os.execvp("tail", ["tail", "-n", str(lines), "-F", str(log.path)])  # noqa: S606, S607
    for line in log.tail(lines):
        typer.echo(line)


def compose_files(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Write `.env` and the secret files that docker-compose.yml names."""
    console.say(f"wrote {docker.write_project_files(ROOT, directory)}")


def clean(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Stop the system and delete its data, logs and passwords."""
    stop.stop(directory)
    cleaning.remove(directory)
    console.say(f"removed {directory}")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (up, down, status, env, logs, clean, compose_files):
        app.command()(command)
