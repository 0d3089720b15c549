"""Serve an edge without a broker, for the conformance suite: serve.py ORIGIN_URL PORT [POLICY]."""

import sys
from pathlib import Path

from lineshaft_cdn_edge.assembly import assemble
from lineshaft_cdn_edge.routes import create_app
from lineshaft_cdn_edge.settings import EdgeSettings
from lineshaft_common import http
from lineshaft_common.health import Health
from lineshaft_common.lifecycle import run, until_terminated

POLICY = Path(__file__).with_name("policy.yaml")
ROOM = {"origin_connections_max": 1_000, "origin_passing_per_client_max": 500}
"""All tests come from one address. Where such a client has no more room, the edge may ask the
origin a second time, when it is the client's turn; the suite cannot use a test with a repeat."""


async def main() -> None:
    origin, port, *policy = sys.argv[1:]
    settings = EdgeSettings.model_validate(
        {
            "amqp_url": "amqp://localhost",
            "region": "test",
            "origin_url": origin,
            "policy_file": policy[0] if policy else POLICY,
            "http_port": port,
            **ROOM,
        }
    )
    async with (
        assemble(settings) as station,
        http.serve(create_app(station, Health()), host="127.0.0.1", port=settings.http_port),
    ):
        await until_terminated()


if __name__ == "__main__":
    run(main)
