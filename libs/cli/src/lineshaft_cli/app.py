"""The `lineshaft` command and its subcommands."""

import sys

import typer

from lineshaft_cli.local import commands as local
from lineshaft_cli.local.errors import LocalError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run Lineshaft on this machine, and talk to a Lineshaft that runs.",
)
local.register(app)


def main() -> None:
    """Run one command; an error that the user can act on is printed without a traceback."""
    try:
        app()
    except LocalError as error:
        print(f"lineshaft: {error}", file=sys.stderr)
        sys.exit(1)
