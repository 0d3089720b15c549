"""The supervisor's own process: `python -m lineshaft_cli.local`, started by `lineshaft up`."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lineshaft_cli.local.clean import remove
from lineshaft_cli.local.death_signal import die_with
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.plan import Request
from lineshaft_cli.local.processes import SYSTEM, read_table
from lineshaft_cli.local.supervisor import supervise


def _request(arguments: Sequence[str]) -> tuple[Request, int | None]:
    parser = argparse.ArgumentParser(prog="lineshaft supervisor")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--servers", required=True)
    parser.add_argument("--only", type=lambda text: frozenset(text.split(",")))
    parser.add_argument("--processes", type=Path)
    parser.add_argument("--throwaway", action="store_true")
    parser.add_argument("--parent", type=int)
    options = parser.parse_args(arguments)
    request = Request(
        directory=options.directory,
        table=read_table(options.processes) if options.processes else SYSTEM,
        only=options.only,
        throwaway=options.throwaway,
        servers=options.servers,
    )
    return request, options.parent


def main() -> None:
    """Supervise until told to stop; a throwaway system is removed afterwards."""
    request, parent = _request(sys.argv[1:])
    if parent is not None:
        die_with(parent, signal.SIGTERM)
    try:
        supervise(request)
    except (LocalError, TimeoutError, OSError) as error:
        sys.exit(f"lineshaft: {error}")
    finally:
        if request.throwaway:
            remove(request.directory)


if __name__ == "__main__":
    main()
