"""`python -m lineshaft_contracts write|verify`: the generated files of the contracts."""

import sys
from argparse import ArgumentParser
from pathlib import Path

from lineshaft_contracts import artifacts

ROOT = Path(__file__).parents[2]


def main(arguments: list[str]) -> int:
    """Write the files, or say what about them is not as it should be."""
    parser = ArgumentParser(prog="python -m lineshaft_contracts", description=__doc__)
    parser.add_argument("command", choices=("write", "verify"))
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of schemas/ and examples/")
    parser.add_argument(
        "--unreleased",
        metavar="TYPE",
        action="append",
        default=[],
        help="a type that nobody uses yet: with `write`, any change of it is accepted",
    )
    asked = parser.parse_args(arguments)
    if asked.command == "write":
        problems = artifacts.write(asked.root, unreleased=frozenset(asked.unreleased))
    else:
        problems = artifacts.verify(asked.root)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
