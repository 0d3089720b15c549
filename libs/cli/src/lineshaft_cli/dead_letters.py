"""Looking at messages that could not be handled, and sending them again."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lineshaft_cli import api
from lineshaft_cli.local.commands import DEFAULT_DIRECTORY

ROUNDS_MAX = 10_000

app = typer.Typer(no_args_is_help=True, help="Look at dead letters, and send them again.")

Directory = Annotated[Path, typer.Option(envvar="LINESHAFT_DIRECTORY")]
Queue = Annotated[str | None, typer.Option(help="Where they failed.")]
Reason = Annotated[str | None, typer.Option(help="Why, such as handler_failed.")]
Type = Annotated[str | None, typer.Option("--type", help="The message type.")]


@app.command("list")
def list_all(
    queue: Queue = None,
    reason: Reason = None,
    type_: Type = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """List dead letters, latest first."""
    query = _given(queue=queue, reason=reason, type=type_) | {"limit": str(limit)}

    async def read() -> Any:
        async with api.connect(directory) as gateway:
            return await gateway.get("/api/dead-letters", **query)

    page = asyncio.run(read())
    Console().print(table(page["letters"]))
    Console().print(f"{len(page['letters'])} of {page['total']}")


@app.command()
def show(
    letter_id: Annotated[int, typer.Argument(help="The number in the list.")],
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Print one dead letter with its headers and its body."""

    async def read() -> Any:
        async with api.connect(directory) as gateway:
            return await gateway.get(f"/api/dead-letters/{letter_id}")

    found = asyncio.run(read())
    console = Console()
    for name, value in (found["letter"] | found["headers"]).items():
        console.print(f"{name}: {value}", markup=False)
    console.print(f"\n{found['body']}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def redrive(  # noqa: PLR0917 - the parameters are the options of a command.
    letter_ids: Annotated[list[int] | None, typer.Argument(help="Only these.")] = None,
    queue: Queue = None,
    reason: Reason = None,
    type_: Type = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    per_second: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Send dead letters to the queue that they come from, oldest first."""
    matching = _given(queue=queue, reason=reason, type=type_)
    if not (matching or letter_ids or every):
        raise typer.BadParameter("name letters, a filter, or --all")
    body = {**matching, "ids": letter_ids or [], "dry_run": dry_run, "per_second": per_second}

    async def send() -> tuple[int, Any]:
        """Go on while each request brings something into its queue."""
        total = 0
        async with api.connect(directory) as gateway:
            outcome, _ = await gateway.post("/api/dead-letters/redrive", body)
            most = outcome["matched"]
            for _ in range(ROUNDS_MAX):
                total += outcome["redriven"]
                if dry_run or not outcome["redriven"] or not outcome["remaining"]:
                    break
                if total >= most:  # The rest came back, or came anew.
                    break
                outcome, _ = await gateway.post("/api/dead-letters/redrive", body)
        return total, outcome

    total, outcome = asyncio.run(send())
    console = Console()
    for error in outcome["errors"]:
        console.print(f"{error['pointer'][1:]}: {error['message']}", markup=False)
    if dry_run:
        console.print(f"{outcome['matched']} would be sent again")
    else:
        console.print(f"{total} sent again, {outcome['remaining']} left")


def table(letters: list[dict[str, Any]]) -> Table:
    """Build the table of a list as the API gives it."""
    made = Table("id", "came at", "queue", "reason", "type", "detail", "bytes", "redrives")
    for one in letters:
        made.add_row(
            str(one["id"]),
            one["came_at"][:19],
            one["queue"],
            one["reason"],
            one["type"],
            one["detail"][:60],
            str(one["body_bytes"]),
            str(one["redrives"]),
        )
    return made


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
