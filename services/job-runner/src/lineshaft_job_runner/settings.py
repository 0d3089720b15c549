"""Settings of the job-runner."""

import os
from pathlib import Path
from typing import Annotated

from lineshaft_common.settings import DatabaseSettings
from pydantic import Field


class Settings(DatabaseSettings):
    """What the job-runner reads from the environment."""

    processes_max: Annotated[int, Field(ge=1, le=256)] = max(2, os.cpu_count() or 2)
    """Jobs that run at once in child processes."""
    loop_jobs_max: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Jobs that run at once inside the event loop."""
    child_idle_seconds: Annotated[float, Field(ge=0)] = 20.0
    """How long a child process without work is kept warm."""
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 15.0
    """A worker that says nothing for so long has lost its jobs to others."""
    stop_grace_seconds: Annotated[float, Field(ge=0, le=600)] = 10.0
    """What running jobs get when the process is asked to stop."""
    cancel_grace_seconds: Annotated[float, Field(ge=0, le=600)] = 3.0
    """What a cancelled job gets to stop by itself before it is killed."""
    history_days: Annotated[int, Field(ge=1, le=3_650)] = 30
    """How long ended jobs and their artifacts are kept."""
    sources_file: Path | None = None
    """YAML file of the data sources that jobs may read."""
