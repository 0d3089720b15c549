"""What workers over AMQP offer to do: types beside those that the job-runners serve."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.job_catalogue import JobTypeView
from lineshaft_contracts.job_work import OfferedType, OfferWork, WorkOffered
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError

from lineshaft_job_runner import storable

REMOTE = "remote"
"""The isolation of a type that a worker over AMQP serves."""


class Registry(Protocol):
    """What offers ask of the store; see store/served_types.py."""

    async def offer(self, worker: str, views: Sequence[JobTypeView]) -> datetime:
        """Say that a worker serves these types; returns until when."""
        ...

    async def built_in(self, types: Sequence[str]) -> list[str]:
        """List those that a live job-runner serves itself."""
        ...

    async def offered(self, worker: str) -> frozenset[str]:
        """List what a worker offers at present."""
        ...


class Offers:
    """Takes offers, and holds workers to them. Idempotent: the same offer again holds longer."""

    def __init__(self, registry: Registry, *, on_offered: Callable[[], None]) -> None:
        self._registry = registry
        self._on_offered = on_offered

    async def offer(self, envelope: Envelope[OfferWork]) -> WorkOffered:
        """Answer OfferWork."""
        worker = envelope.data.worker
        views = {offered.name: _view(offered) for offered in envelope.data.job_types}
        _refuse_unstorable(views.values())
        taken = await self._registry.built_in(list(views))
        if taken:
            raise ProblemError(
                Problem(
                    code="job_type_built_in",
                    title="This job type is the platform's own",
                    detail=f"a job-runner serves it itself: {', '.join(taken)}",
                    status=409,
                )
            )
        until = await self._registry.offer(worker, list(views.values()))
        self._on_offered()
        return WorkOffered(until=until)

    async def require(self, worker: str, job_types: Iterable[str]) -> None:
        """Raise the problem `job_type_not_offered` unless this worker offers all of them."""
        unoffered = set(job_types) - await self._registry.offered(worker)
        if unoffered:
            raise ProblemError(
                Problem(
                    code="job_type_not_offered",
                    title="Offer a job type before you fetch jobs of it",
                    detail=f"{worker!r} does not offer: {', '.join(sorted(unoffered))}",
                    status=409,
                )
            )


def _view(offered: OfferedType) -> JobTypeView:
    return JobTypeView(
        **{name: getattr(offered, name) for name in OfferedType.model_fields},
        memory_bytes_max=None,
        isolation=REMOTE,
    )


def _refuse_unstorable(views: Iterable[JobTypeView]) -> None:
    for number, view in enumerate(views):
        try:
            storable.check(view.model_dump())
        except storable.UnstorableError as error:
            field = FieldProblem(
                pointer=f"/job_types/{number}", code="not_storable", message=error.error.message
            )
            raise ProblemError(
                Problem(
                    code="invalid_input",
                    title="The offered type cannot be kept",
                    status=422,
                    errors=(field,),
                )
            ) from error
