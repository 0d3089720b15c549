"""Which processes the local system has: the table that `lineshaft up` starts."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

REGIONS = ("us-east", "eu-west", "ap-southeast", "sa-east")


class Process(BaseModel):
    """One service process: `python -m <module>` with an environment of its own.

    Values of the environment may name `{root}` (the checkout), `{directory}` (the local system's),
    `{url[<process>]}`, `{port[<process>]}` and `{postgres[<database>]}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    module: str
    database: str | None = None
    preferred_port: int | None = None
    ready_path: str = "/readyz"
    environment: dict[str, str] = {}


def _edge(region: str, port: int) -> Process:
    return Process(
        name=f"cdn-edge-{region}",
        module="lineshaft_cdn_edge",
        preferred_port=port,
        environment={"LINESHAFT_REGION": region, "LINESHAFT_ORIGIN_URL": "{url[plant]}"},
    )


SYSTEM: Sequence[Process] = (
    Process(
        name="gateway",
        module="lineshaft_gateway",
        database="gateway",
        preferred_port=8080,
        environment={
            "LINESHAFT_ADMIN_KEY_FILE": "{directory}/admin.key",
            "LINESHAFT_CDN_REGIONS": json.dumps(REGIONS),
        },
    ),
    Process(
        name="job-runner",
        module="lineshaft_job_runner",
        database="job_runner",
        preferred_port=8081,
        environment={
            "LINESHAFT_SOURCES_FILE": "{root}/examples/plant/sources.yaml",
            "PLANT_POSTGRES_URL": "{postgres[plant]}",
            "LINESHAFT_BACKUPS_FILE": "{root}/examples/plant/backups.yaml",
            "PLANT_BACKUPS_URL": "file://{directory}/backups",
        },
    ),
    Process(
        name="event-router",
        module="lineshaft_event_router",
        database="event_router",
        preferred_port=8082,
    ),
    Process(name="monitor", module="lineshaft_monitor", database="monitor", preferred_port=8083),
    *(_edge(region, 8090 + number) for number, region in enumerate(REGIONS, start=1)),
    Process(
        name="plant",
        module="plant",
        preferred_port=8070,
        ready_path="/healthz",
        environment={
            "PLANT_POSTGRES_URL": "{postgres[plant]}",
            "PLANT_HTTP_PORT": "{port[plant]}",
            "PLANT_GATEWAY_URL": "{url[gateway]}",
            "PLANT_API_KEY_FILE": "{directory}/admin.key",
        },
    ),
)


def read_table(path: Path) -> Sequence[Process]:
    """Read another table from a JSON file: a list of objects with the fields of `Process`."""
    return TypeAdapter(tuple[Process, ...]).validate_json(path.read_text(encoding="utf-8"))
