"""What is refused before it becomes a job, and what only looks as if it had to be."""

from typing import Any

import pytest
from lineshaft_contracts.envelope import Priority, uuid7
from lineshaft_contracts.jobs import JobSubmission
from lineshaft_contracts.problems import ProblemError
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.submissions import Submissions


class NobodyElse:
    async def find(self, name: str) -> None:
        """Know no type."""


async def stored(note: Any) -> str:
    """Submit parameters; what a row would hold."""
    submission = JobSubmission(job_id=uuid7(), job_type="acme.do", parameters={"note": note})
    job = await Submissions(Catalogue([]), NobodyElse()).new_job(
        submission, tenant="acme", priority=Priority.NORMAL, traceparent=None
    )
    return job.parameters


@pytest.mark.parametrize("note", ["\x00", "a\\\x00", "\\u0000\x00"])
async def test_a_nul_character_is_refused(note: str) -> None:
    with pytest.raises(ProblemError, match="no NUL characters"):
        await stored(note)


async def test_text_about_a_nul_character_is_not_refused() -> None:
    assert await stored("write \\u0000") == r'{"note":"write \\u0000"}'


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
async def test_what_is_no_number_is_refused_and_not_left_to_the_database(number: float) -> None:
    """There it would fail all that came with it."""
    with pytest.raises(ProblemError, match="no NaN"):
        await stored([1, {"x": number}])


async def test_text_about_infinity_is_not_refused() -> None:
    assert await stored("NaN, Infinity") == '{"note":"NaN, Infinity"}'
