"""Showing a trace as a tree."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.tree import Tree

from lineshaft_cli import api
from lineshaft_cli.local.commands import DEFAULT_DIRECTORY

NEVER = datetime.min.replace(tzinfo=UTC)

app = typer.Typer(no_args_is_help=True, help="Look at traces.")


@app.callback()
def group() -> None:
    """Keep `show` a command of its own although it is the only one."""


@app.command()
def show(
    trace_id: Annotated[str, typer.Argument(help="The 32 hexadecimal digits of X-Request-Id.")],
    directory: Annotated[Path, typer.Option(envvar="LINESHAFT_DIRECTORY")] = DEFAULT_DIRECTORY,
) -> None:
    """Print a trace as a tree: each span with its service, start and duration."""

    async def read() -> Any:
        async with api.connect(directory) as gateway:
            return await gateway.get(f"/api/system/traces/{trace_id}")

    Console().print(tree(asyncio.run(read())))


def tree(trace: dict[str, Any]) -> Tree:
    """Build the tree of a trace as the API gives it; spans without a known parent are roots."""
    spans: Sequence[dict[str, Any]] = trace["spans"]
    known = {span["span_id"] for span in spans}
    children: defaultdict[str | None, list[dict[str, Any]]] = defaultdict(list)
    for span in spans:
        parent = span.get("parent_id")
        children[parent if parent in known else None].append(span)
    began = min((datetime.fromisoformat(s["started_at"]) for s in spans), default=NEVER)
    root = Tree(f"trace {trace['trace_id']}, {len(spans)} spans")

    def grow(branch: Tree, span_id: str | None) -> None:
        for span in children[span_id]:
            after = (datetime.fromisoformat(span["started_at"]) - began).total_seconds()
            failed = " [red]error[/red]" if span["status"] == "error" else ""
            grow(
                branch.add(
                    f"[bold]{span['service']}[/bold] {span['name']}{failed} "
                    f"[dim]+{after * 1000:.0f} ms, {span['seconds'] * 1000:.1f} ms[/dim]"
                ),
                span["span_id"],
            )

    grow(root, None)
    return root
