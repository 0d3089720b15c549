"""Answers what a child asks of the engine, for the job that the runner gave it."""

from typing import Any
from uuid import UUID

import structlog

from lineshaft_job_runner.asking import Engine, EngineAwayError
from lineshaft_job_runner.child import frames
from lineshaft_job_runner.job import ClaimedJob

log = structlog.get_logger(__name__)


async def answered(engine: Engine, job: ClaimedJob, frame: dict[str, Any]) -> bytes:
    """Return the frame that answers a question."""
    number: int = frame["number"]
    try:
        return frames.answer(number, await _ask(engine, job, frame["question"], frame["content"]))
    except EngineAwayError as error:
        return frames.answer(number, None, away=str(error))
    except Exception as error:
        log.exception("question_of_a_child_failed", job_id=str(job.id), question=frame["question"])
        return frames.answer(number, None, away=type(error).__name__)


async def _ask(
    engine: Engine, job: ClaimedJob, question: frames.Question, content: dict[str, Any]
) -> Any:
    match question:
        case "record":
            return await engine.record(job, content["entries"])
        case "recorded":
            return await engine.recorded(job, after=content["after"])
        case "find_artifact":
            found = await engine.find_artifact(job, UUID(content["job_id"]), content["name"])
            return None if found is None else frames.written_artifact(found)
