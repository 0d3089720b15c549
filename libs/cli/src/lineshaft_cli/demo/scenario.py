"""The scenario: a shift is worked, reported, watched, served and traced."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from lineshaft_cli import api as gateway_api
from lineshaft_cli.api import Api
from lineshaft_cli.demo import backups, jobs, mails, reports
from lineshaft_cli.demo import edges as cdn
from lineshaft_cli.demo.checks import DemoError, Protocol, expect
from lineshaft_cli.local.state import StateFile
from lineshaft_cli.traces import tree

EVENTS_MIN = 500
SERVICES_OF_A_TRACE = frozenset({"gateway", "job-runner", "event-router"})
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.5


@dataclass
class Seen:
    """What came over the live stream."""

    types: Counter[str] = field(default_factory=Counter[str])
    ids: set[str] = field(default_factory=set[str])


async def run(directory: Path, console: Console) -> None:
    """Run all steps; raises DemoError at the first that is not as it should be."""
    urls = _urls(directory)
    protocol = Protocol(console)
    folder = directory / "demo"
    folder.mkdir(exist_ok=True)
    async with gateway_api.connect(directory) as api, _following(api) as seen:
        shift = await _work(protocol, api, urls["plant"], seen)
        trace_id = await _jobs(protocol, api, shift, folder)
        await _alert(protocol, api, shift["started_demo_at"])
        edges = {n.removeprefix("cdn-edge-"): u for n, u in urls.items() if n.startswith("cdn-")}
        await _assets(protocol, api, edges, urls["plant"])
        trace = await _trace(protocol, api, trace_id)
    console.print(tree(trace))
    console.print(protocol.table())
    _farewell(console, urls, directory, trace_id)


def _urls(directory: Path) -> dict[str, str]:
    state = StateFile(directory).read()
    if state is None or not state.is_running():
        raise DemoError("nothing runs here: start it with `make up`")
    return {name: p.url for name, p in state.processes.items() if p.url is not None}


@asynccontextmanager
async def _following(api: Api) -> AsyncGenerator[Seen]:
    """Listen to the live stream inside the block, over reconnects."""
    seen = Seen()

    async def follow() -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async for event in api.events():
                    seen.types[event.get("type", "")] += 1
                    seen.ids.add(event.get("id", ""))
            await asyncio.sleep(POLL_SECONDS)

    task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _work(protocol: Protocol, api: Api, plant: str, seen: Seen) -> dict[str, Any]:
    with protocol.step("A shift of the plant is published through the gateway") as step:
        before = await api.get("/api/system/monitoring")
        timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS * 2)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(plant + "/shift") as response,
        ):
            if response.status != 200:
                raise DemoError(f"the plant says: {await response.text()}")
            shift = await response.json()
        expect(f"at least {EVENTS_MIN} events", shift["events"] >= EVENTS_MIN)
        step.found = f"{shift['events']} events of {len(shift['counts'])} types"
    with protocol.step("Every one of them arrives on the live stream") as step:
        wanted = set(shift["event_ids"])
        await _until("all events on the live stream", lambda: wanted <= seen.ids)
        step.found = f"{len(wanted)} of {len(wanted)}"
    return {**shift, "started_demo_at": before["at"]}


async def _jobs(protocol: Protocol, api: Api, shift: dict[str, Any], folder: Path) -> str:
    parameters = jobs.submissions(shift)
    submitted: dict[str, tuple[str, str]] = {}
    with protocol.step("Jobs are submitted over HTTP") as step:
        for job_type in parameters:
            submitted[job_type] = await jobs.submit(api, job_type, parameters[job_type])
        report_id, _ = submitted["report.generate"]
        submitted["email.send"] = await jobs.submit(
            api, "email.send", mails.submission(report_id), after=[report_id]
        )
        submitted[reports.OEE] = await jobs.submit(
            api, "report.generate", reports.submission(shift)
        )
        backup_id, _ = submitted["system.backup"] = await jobs.submit(
            api, "system.backup", backups.BACKUP
        )
        submitted["system.restore"] = await jobs.submit(
            api, "system.restore", backups.RESTORE, after=[backup_id]
        )
        step.found = ", ".join(submitted)
    for job_type, (job_id, _) in submitted.items():
        with protocol.step(f"{job_type} succeeds, and its files hold what they should") as step:
            job = await jobs.wait(api, job_id)
            paths = await jobs.download(api, job, folder)
            step.found = jobs.CHECKS[job_type](job, paths)
    return submitted["report.generate"][1]


async def _alert(protocol: Protocol, api: Api, since: str) -> None:
    with protocol.step("The press that broke down raised an alert, which resolved itself") as step:

        async def resolved() -> dict[str, Any] | None:
            page = await api.get("/api/system/alerts", state="resolved")
            for alert in page["alerts"]:
                if alert["rule"] == "equipment-down" and alert["started_at"] >= since:
                    return alert
            return None

        alert = await _poll("a resolved alert of rule equipment-down", resolved)
        step.found = f"{alert['level']}: {alert['summary']}; resolved: {alert['reason']}"


async def _assets(protocol: Protocol, api: Api, edges: dict[str, str], origin: str) -> None:
    with protocol.step("Assets are served by the edge of every region") as step:
        fetched = await cdn.fetch_all(edges, origin)
        step.found = "; ".join(
            f"{f.region} {f.hits} hits, {f.misses} misses, {f.bytes // 1024} KiB" for f in fetched
        )
    with protocol.step("A picture is purged in all regions at once") as step:
        step.found = await cdn.purge(api, edges, origin)


async def _trace(protocol: Protocol, api: Api, trace_id: str) -> dict[str, Any]:
    with protocol.step("One trace leads from the request to the delivered event") as step:

        async def whole() -> dict[str, Any] | None:
            try:
                trace = await api.get(f"/api/system/traces/{trace_id}")
            except gateway_api.ApiError as error:
                if error.status != 404:
                    raise
                return None
            services = {span["service"] for span in trace["spans"]}
            names = {span["name"] for span in trace["spans"]}
            delivered = any(name.startswith("deliver events.log") for name in names)
            return trace if services >= SERVICES_OF_A_TRACE and delivered else None

        trace = await _poll(f"trace {trace_id} with {', '.join(SERVICES_OF_A_TRACE)}", whole)
        step.found = f"{trace_id}: {len(trace['spans'])} spans"
    return trace


async def _until(what: str, holds: Any) -> None:
    async def found() -> bool | None:
        return True if holds() else None

    await _poll(what, found)


async def _poll(what: str, look: Any) -> Any:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while (found := await look()) is None:  # noqa: ASYNC110 - it is over HTTP.
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise DemoError(f"waited {WAIT_SECONDS:g} s in vain for {what}") from None
    return found


def _farewell(console: Console, urls: dict[str, str], directory: Path, trace_id: str) -> None:
    console.print(f"Gateway:   {urls['gateway']}/ (API reference: {urls['gateway']}/docs)")
    console.print(f"Key:       {directory / 'admin.key'}, sent as Authorization: Bearer <key>")
    console.print(f"Artifacts: {directory / 'demo'}")
    console.print(f"Trace:     .venv/bin/lineshaft traces show {trace_id}")
    console.print("It keeps running. Stop it with: make down")
