"""The artifacts of a schedule: everything as JSON, the assignments as CSV, a chart as SVG."""

import asyncio
import csv
import json
from pathlib import Path
from zoneinfo import ZoneInfo

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.scheduling.gantt import draw
from lineshaft_job_runner.types.scheduling.proposal import Proposal

HEADER = ("order", "operation", "resource", "start", "end", "segment", "segments", "frozen")


async def write(context: JobContext, proposal: Proposal) -> None:
    """Write `<file_name>.json`, `.csv` and `.svg`."""
    stem = proposal.problem.parameters.file_name
    async with context.artifact(f"{stem}.json", media_type="application/json") as file:
        await asyncio.to_thread(_write_json, file.path, proposal)
        file.rows = len(proposal.assignments)
    stop_if_cancelled(context)
    async with context.artifact(f"{stem}.csv", media_type="text/csv") as file:
        file.rows = await asyncio.to_thread(_write_csv, file.path, proposal)
    stop_if_cancelled(context)
    async with context.artifact(f"{stem}.svg", media_type="image/svg+xml") as file:
        await asyncio.to_thread(
            draw, file.path, proposal.problem, proposal.assignments, proposal.late
        )


def _write_json(path: Path, proposal: Proposal) -> None:
    parameters = proposal.problem.parameters
    document = {
        "title": parameters.title,
        "status": proposal.status,
        "horizon_start": parameters.horizon_start.isoformat(),
        "horizon_end": parameters.ends_at.isoformat(),
        "objectives": [one.model_dump(mode="json") for one in proposal.objectives],
        "assignments": [one.model_dump(mode="json") for one in proposal.assignments],
        "late": [one.model_dump(mode="json") for one in proposal.late],
        "utilisation": [one.model_dump(mode="json") for one in proposal.utilisation],
    }
    with path.open("w", encoding="utf-8") as file:
        json.dump(document, file, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _write_csv(path: Path, proposal: Proposal) -> int:
    """Write one row per segment, times in the zone of the job; returns the rows."""
    zone, rows = ZoneInfo(proposal.problem.parameters.timezone), 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for one in proposal.assignments:
            for number, part in enumerate(one.segments, start=1):
                writer.writerow(
                    (
                        one.order,
                        one.operation,
                        one.resource,
                        part.start.astimezone(zone).isoformat(),
                        part.end.astimezone(zone).isoformat(),
                        number,
                        len(one.segments),
                        "true" if one.frozen else "false",
                    )
                )
                rows += 1
    return rows
