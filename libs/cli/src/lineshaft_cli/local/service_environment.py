"""What a service process finds in its environment."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineshaft_cli.local import readiness
from lineshaft_cli.local.child import Spec
from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.log_file import LogFile
from lineshaft_cli.local.ports import LOOPBACK
from lineshaft_cli.local.processes import Process


@dataclass(frozen=True, kw_only=True)
class ServiceEnvironment:
    """The values that all processes share, and those that their table may name."""

    root: Path
    directory: Path
    ports: Mapping[str, int]
    urls: Mapping[str, str]
    databases: Mapping[str, str]
    common: Mapping[str, str]

    @classmethod
    def of(
        cls,
        *,
        root: Path,
        directory: Path,
        table: Sequence[Process],
        ports: Mapping[str, int],
        endpoints: Endpoints,
        inherited: Mapping[str, str],
    ) -> "ServiceEnvironment":
        """Build it from the servers' addresses and the environment of `lineshaft up` itself."""
        if endpoints.amqp is None or endpoints.postgres is None:
            raise LocalError("services need both servers: add rabbitmq and postgres to --only")
        urls = {process.name: f"http://{LOOPBACK}:{ports[process.name]}" for process in table}
        common = {
            **inherited,
            "LINESHAFT_AMQP_URL": endpoints.amqp,
            "LINESHAFT_HTTP_HOST": LOOPBACK,
            "LINESHAFT_OBJECT_STORE_URL": f"file://{directory / 'objects'}",
            # Few threads allocate at a time: more arenas would only cost memory.
            "MALLOC_ARENA_MAX": "2",
            "PYTHONUNBUFFERED": "1",
        }
        common.pop("LINESHAFT_POSTGRES_URL", None)
        if "monitor" in urls:
            common["OTEL_EXPORTER_OTLP_ENDPOINT"] = urls["monitor"]
        return cls(
            root=root,
            directory=directory,
            ports=ports,
            urls=urls,
            databases=endpoints.databases,
            common=common,
        )

    def spec(self, process: Process) -> Spec:
        """Describe how the process is started and known to be ready."""
        port = self.ports[process.name]
        values = {
            "root": self.root,
            "directory": self.directory,
            "port": self.ports,
            "url": self.urls,
            "postgres": self.databases,
        }
        own = {
            "LINESHAFT_HTTP_PORT": str(port),
            "LINESHAFT_INSTANCE": process.name,
            **{key: text.format_map(values) for key, text in process.environment.items()},
        }
        if process.database is not None:
            own["LINESHAFT_POSTGRES_URL"] = self.databases[process.database]
        return Spec(
            name=process.name,
            argv=[sys.executable, "-m", process.module],
            environment={**self.common, **own},
            directory=self.root,
            log=LogFile(self.directory / "logs" / f"{process.name}.log"),
            ready=readiness.http(port, process.ready_path),
            url=self.urls[process.name],
        )
