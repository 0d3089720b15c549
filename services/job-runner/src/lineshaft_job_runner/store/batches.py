"""Submissions that are stored together, and what becomes of each."""

from collections.abc import Sequence
from uuid import UUID

from lineshaft_contracts.problems import FieldProblem, Problem

from lineshaft_job_runner.job import Accepted, NewJob

TAKEN = Problem(code="job_id_taken", title="This job id cannot be used", status=409)

TOO_NEW = Problem(
    code="invalid_input",
    title="The job id cannot have been made yet",
    status=422,
    errors=(
        FieldProblem(
            pointer="/job_id",
            code="too_late",
            message="the time in a UUIDv7 is at most a day ahead",
        ),
    ),
)
"""It would not be found in the history, which is searched from the time that an id tells."""


class Batch:
    """Submissions on their way in; a job id that comes twice is one job."""

    def __init__(self, jobs: Sequence[NewJob]) -> None:
        self._jobs = jobs
        self._open: dict[UUID, NewJob] = {}
        self._settled: dict[UUID, Accepted] = {}
        for job in jobs:
            self._open.setdefault(job.id, job)
        self._firsts = dict(self._open)

    @property
    def open(self) -> list[NewJob]:
        """The jobs that are not settled, in the order of their submission."""
        return list(self._open.values())

    def is_open(self, job: NewJob) -> bool:
        """Whether a job is still to become one."""
        return job.id in self._open

    def refuse(self, job_id: UUID, problem: Problem) -> None:
        """Settle one: there is no job."""
        del self._open[job_id]
        self._settled[job_id] = Accepted(job_id=job_id, created=False, problem=problem)

    def repeat(self, job_id: UUID, earlier: UUID) -> None:
        """Settle one: its job is there already, or another of this batch."""
        del self._open[job_id]
        self._settled[job_id] = Accepted(job_id=earlier, created=False)

    def refuse_repeats(self) -> dict[UUID, tuple[NewJob, UUID]]:
        """Refuse what repeats a refused job of this batch; returns those, and what they repeat."""
        refused: dict[UUID, tuple[NewJob, UUID]] = {}
        for job_id in self._settled:
            last = self._last(job_id)
            if last.problem is not None and last.job_id != job_id:
                refused[job_id] = (self._firsts[job_id], last.job_id)
        for job_id, (_, other) in refused.items():
            problem = self._settled[other].problem
            self._settled[job_id] = Accepted(job_id=job_id, created=False, problem=problem)
        return refused

    def outcomes(self) -> list[Accepted]:
        """Return what became of each submission; what is open has become a job."""
        seen: set[UUID] = set()
        outcomes: list[Accepted] = []
        for job in self._jobs:
            outcomes.append(self._outcome(job, is_first=job.id not in seen))
            seen.add(job.id)
        return outcomes

    def _outcome(self, job: NewJob, *, is_first: bool) -> Accepted:
        if job.tenant != self._firsts[job.id].tenant:
            return Accepted(job_id=job.id, created=False, problem=TAKEN)
        if job.id in self._open:
            return Accepted(job_id=job.id, created=is_first)
        return self._last(job.id)

    def _last(self, job_id: UUID) -> Accepted:
        """Follow repeats of repeats to a job outside, a new job, or a refused one."""
        outcome = self._settled[job_id]
        while outcome.job_id != job_id and outcome.job_id in self._settled:
            job_id = outcome.job_id
            outcome = self._settled[job_id]
        return outcome
