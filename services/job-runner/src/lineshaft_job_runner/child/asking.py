"""The engine as a job in a child process sees it: asked over the socket."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from lineshaft_job_runner.asking import EngineAwayError
from lineshaft_job_runner.child import frames
from lineshaft_job_runner.job import ClaimedJob, StoredArtifact

ANSWER_SECONDS_MAX = 40.0
"""Longer than any statement of the engine may take."""


class AskedEngine:
    """See `Engine`. Whose job asks says the runner, not the child."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}

    def on_answer(self, frame: dict[str, Any]) -> None:
        """Take an answer; one that came too late is nobody's."""
        asked = self._asked.pop(frame["number"], None)
        if asked is None or asked.done():
            return
        if frame["away"] is None:
            asked.set_result(frame["answer"])
        else:
            asked.set_exception(EngineAwayError(frame["away"]))

    async def record(self, job: ClaimedJob, entries: Mapping[str, dict[str, Any]]) -> bool:
        """See `Engine.record`."""
        return await self._ask("record", entries=dict(entries))

    async def recorded(self, job: ClaimedJob, *, after: str) -> dict[str, dict[str, Any]]:
        """See `Engine.recorded`."""
        return await self._ask("recorded", after=after)

    async def find_artifact(
        self, job: ClaimedJob, job_id: UUID, name: str
    ) -> StoredArtifact | None:
        """See `Engine.find_artifact`."""
        found = await self._ask("find_artifact", job_id=str(job_id), name=name)
        return None if found is None else frames.read_artifact(found)

    async def _ask(self, question: frames.Question, **content: Any) -> Any:
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._write(frames.ask(number, question, content))
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await answer
        except TimeoutError:
            raise EngineAwayError("no answer") from None
        finally:
            self._asked.pop(number, None)
