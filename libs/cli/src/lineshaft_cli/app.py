"""The `lineshaft` command and its subcommands."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lineshaft_cli import dead_letters, traces
from lineshaft_cli.demo import scenario
from lineshaft_cli.local import commands as local
from lineshaft_cli.local.errors import LocalError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run Lineshaft on this machine, and talk to a Lineshaft that runs.",
)
local.register(app)
app.add_typer(traces.app, name="traces")
app.add_typer(dead_letters.app, name="dead-letters")


@app.command()
def demo(
    directory: Annotated[
        Path, typer.Option(envvar="LINESHAFT_DIRECTORY", help="The local system to use.")
    ] = local.DEFAULT_DIRECTORY,
) -> None:
    """Run a plant's shift through the running system, and check what comes of it."""
    asyncio.run(scenario.run(directory, Console()))


def main() -> None:
    """Run one command; an error that the user can act on is printed without a traceback."""
    try:
        app()
    except LocalError as error:
        print(f"lineshaft: {error}", file=sys.stderr)
        sys.exit(1)
