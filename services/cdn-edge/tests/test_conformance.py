"""The public conformance suite for HTTP caches, as part of the integration tests."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "conformance" / "run.py"
NOT_FETCHED = 2


@pytest.mark.integration
async def test_the_public_suite_finds_what_is_known_and_nothing_else() -> None:
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("node and npm are needed for the suite")
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(RUN)], capture_output=True, text=True, check=False
    )
    if done.returncode == NOT_FETCHED:
        pytest.skip(done.stderr[:300])
    assert done.returncode == 0, done.stdout + done.stderr
