"""Run the public HTTP caching suite against an edge of its own: run.py [--write FILE].

The suite is the npm package http-cache-tests 0.4.5 (node and npm are needed, and a registry the
first time); it is kept in .lineshaft/cache-tests or the folder that CACHE_TESTS_HOME names.
Exits with 1 when a test fails that known.yaml does not list, or passes although it is listed;
with 2 when the suite cannot be fetched.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
VERSION = "0.4.5"
# The package lists npm itself as a dependency; these are what it uses.
NEEDED = ("node-fetch@2", "liquidjs@9", "ajv@6", "marked@0.8")
NOT_FETCHED = 2
KINDS = ("required", "optimal")
AT_ONCE = 60
"""Tests under way at a time; most of them wait for something to become stale."""


def home() -> Path:
    """Return the folder where the suite is kept."""
    return Path(os.environ.get("CACHE_TESTS_HOME", ".lineshaft/cache-tests")).resolve()


def installed() -> Path:
    """Return the suite's folder; fetches the suite when it is not there yet."""
    place = home() / "npm"
    suite = place / "node_modules" / "http-cache-tests"
    if not (suite / "server" / "server.mjs").exists():
        place.mkdir(parents=True, exist_ok=True)
        (place / "package.json").write_text('{"private": true}', encoding="utf-8")
        packed = _npm(place, "pack", "--silent", f"http-cache-tests@{VERSION}").strip()
        _npm(place, "install", "--no-audit", "--no-fund", "--ignore-scripts", *NEEDED)
        suite.mkdir(parents=True, exist_ok=True)
        unpack = ["tar", "xzf", packed, "-C", str(suite), "--strip-components=1"]
        subprocess.run(unpack, cwd=place, check=True)
    return suite


def _npm(place: Path, *arguments: str) -> str:
    command = [shutil.which("npm") or "npm", *arguments]
    done = subprocess.run(command, cwd=place, check=True, capture_output=True, text=True)
    return done.stdout


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def running(*command: str, port: int, **environment: str) -> AsyncGenerator[None]:
    """Keep a server running inside the block, from when it listens."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        cwd=installed(),
    )
    try:
        async with asyncio.timeout(30):
            while not await _listens(port):
                await asyncio.sleep(0.05)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def run() -> list[dict[str, Any]]:
    """Run all tests; one row for each: id, kind, passed, why."""
    suite, origin, edge = installed(), free_port(), free_port()
    async with (
        running(
            "node",
            "--no-warnings",
            "--import",
            str(HERE / "loopback.mjs"),
            str(suite / "server" / "server.mjs"),
            port=origin,
            npm_config_protocol="http",
            npm_config_port=str(origin),
            npm_config_pidfile=str(home() / "origin.pid"),
        ),
        running(
            sys.executable,
            str(HERE / "serve.py"),
            f"http://127.0.0.1:{origin}",
            str(edge),
            port=edge,
        ),
    ):
        process = await asyncio.create_subprocess_exec(
            "node",
            "--no-warnings",
            str(HERE / "run.mjs"),
            str(suite),
            f"http://127.0.0.1:{edge}",
            str(AT_ONCE),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    return json.loads(output)


def differences(rows: list[dict[str, Any]]) -> list[str]:
    """Say what is not as known.yaml has it."""
    known = yaml.safe_load((HERE / "known.yaml").read_text(encoding="utf-8"))
    problems: list[str] = []
    for row in rows:
        listed = row["kind"] in KINDS and row["id"] in known[row["kind"]]
        if row["kind"] in KINDS and not row["passed"] and not listed:
            problems.append(f"fails: {row['id']} ({row['why']})")
        if row["passed"] and listed:
            problems.append(f"passes although it is listed: {row['id']}")
    return problems


def score(rows: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Count passed and all tests by kind."""
    return {
        kind: (
            sum(row["passed"] for row in rows if row["kind"] == kind),
            sum(row["kind"] == kind for row in rows),
        )
        for kind in (*KINDS, "check")
    }


def document(rows: list[dict[str, Any]]) -> str:
    """Write docs/conformance.md."""
    known = yaml.safe_load((HERE / "known.yaml").read_text(encoding="utf-8"))
    counts = score(rows)
    lines = [(HERE / "conformance.md").read_text(encoding="utf-8").rstrip(), ""]
    lines += ["| kind | passed | of |", "|---|---|---|"]
    lines += [f"| {kind} | {passed} | {total} |" for kind, (passed, total) in counts.items()]
    for kind in KINDS:
        lines += ["", f"## {kind.capitalize()} tests that are not passed", ""]
        lines += ["| test | why |", "|---|---|"]
        lines += [f"| `{name}` | {reason} |" for name, reason in known[kind].items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, print the score, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="write the score and the reasons to this file")
    asked = parser.parse_args()
    try:
        installed()
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"the suite cannot be fetched: {error.stderr}\n")
        return NOT_FETCHED
    rows = asyncio.run(run())
    if asked.write:
        asked.write.parent.mkdir(parents=True, exist_ok=True)
        asked.write.write_text(document(rows), encoding="utf-8")
    for kind, (passed, total) in score(rows).items():
        sys.stdout.write(f"{kind}: {passed} of {total}\n")
    problems = differences(rows)
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
