"""`/api/dead-letters`: messages that could not be handled, and sending them again."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeAlias

from aiohttp import web
from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.dead_letters import (
    REDRIVE_SECONDS_MAX,
    DeadLetterAudit,
    DeadLetterFound,
    DeadLetterPage,
    DeadLettersRedriven,
    GetDeadLetter,
    LetterFilter,
    LetterId,
    ListDeadLetterAudit,
    ListDeadLetters,
    Name,
    RedriveDeadLetters,
)
from lineshaft_contracts.envelope import Moment
from lineshaft_contracts.problems import Problem, ProblemError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.routes.answering import json_answer

READ_DEADLINE_SECONDS = 3.0
REDRIVE_DEADLINE_SECONDS = REDRIVE_SECONDS_MAX + 10.0
CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
Handler: TypeAlias = Callable[[Call], Awaitable[web.StreamResponse]]
ID: TypeAdapter[int] = TypeAdapter(LetterId)


class LettersQuery(BaseModel):
    """Which dead letters to list; conditions are joined with AND."""

    model_config = CLOSED

    queue: Name | None = None
    reason: Name | None = None
    type: Name | None = None
    came_before: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: LetterId | None = None
    """`next_cursor` of the page before."""


class AuditQuery(BaseModel):
    """How much of the audit to read."""

    model_config = CLOSED

    limit: Annotated[int, Field(ge=1, le=200)] = 50


class RedriveBody(BaseModel):
    """Which letters to send again, and how fast; conditions are joined with AND."""

    model_config = CLOSED

    ids: Annotated[tuple[LetterId, ...], Field(max_length=500)] = ()
    queue: Name | None = None
    reason: Name | None = None
    type: Name | None = None
    came_before: Moment | None = None
    dry_run: bool = False
    """Only count."""
    per_second: Annotated[int, Field(ge=1, le=1000)] = 100
    limit: Annotated[int, Field(ge=1, le=5000)] = 500


class DeadLetterRoutes:
    """Handlers; the event-router decides by the asking tenant what it may see."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def list_all(self, call: Call) -> web.Response:
        """One page of letters."""
        query: LettersQuery = call.query
        matching = LetterFilter.model_validate(query.model_dump(exclude={"limit", "cursor"}))
        question = ListDeadLetters(matching=matching, limit=query.limit, before=query.cursor)
        return json_answer(await self._ask(call, question))

    async def get(self, call: Call) -> web.Response:
        """One letter with its body."""
        try:
            id_ = ID.validate_python(call.request.match_info["id"])
        except ValidationError:
            raise ProblemError(NOT_FOUND) from None
        return json_answer(await self._ask(call, GetDeadLetter(id=id_)))

    async def audit(self, call: Call) -> web.Response:
        """Who sent what again."""
        return json_answer(await self._ask(call, ListDeadLetterAudit(limit=call.query.limit)))

    async def redrive(self, call: Call) -> web.Response:
        """Send letters again, or say how many it would be."""
        body: RedriveBody = call.body
        pace = {"dry_run", "per_second", "limit"}
        command = RedriveDeadLetters(
            matching=LetterFilter.model_validate(body.model_dump(exclude=pace)),
            **body.model_dump(include=pace),
            actor=call.principal.prefix,
        )
        return json_answer(await self._ask(call, command, REDRIVE_DEADLINE_SECONDS))

    async def _ask(
        self, call: Call, question: Any, deadline_seconds: float = READ_DEADLINE_SECONDS
    ) -> BaseModel:
        return await self._bus.ask(
            question,
            tenant=call.principal.tenant,
            source=SOURCE,
            deadline_seconds=deadline_seconds,
        )

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (
            _read("listDeadLetters", "", self.list_all, DeadLetterPage, "List dead letters",
                  query=LettersQuery),
            _read("listDeadLetterAudit", "-audit", self.audit, DeadLetterAudit,
                  "Who sent dead letters again", query=AuditQuery),
            _read("getDeadLetter", "/{id}", self.get, DeadLetterFound, "Read a dead letter",
                  parameters=(LETTER_ID,), problems={404: NOT_FOUND.code}),
            Operation(
                id="redriveDeadLetters",
                method="POST",
                path="/api/dead-letters/redrive",
                tag="System",
                summary="Send dead letters to their queue again",
                description=(
                    "Oldest first, each to the queue where it failed and to no other. One request "
                    f"sends for at most {REDRIVE_SECONDS_MAX} s: repeat it while `remaining` "
                    "falls. A crash loses none, and may send some twice: consumers are idempotent."
                ),
                handle=self.redrive,
                scope=Scope.SYSTEM_WRITE,
                body=RedriveBody,
                answers=(
                    Answer(status=200, description="What was sent", model=DeadLettersRedriven),
                ),
                example={"queue": "monitor.plant", "dry_run": True},
            ),
        )  # fmt: skip


def _read(
    id_: str, path: str, handle: Handler, model: type[BaseModel], summary: str, **given: Any
) -> Operation:
    return Operation(
        id=id_,
        method="GET",
        path=f"/api/dead-letters{path}",
        tag="System",
        summary=summary,
        handle=handle,
        scope=Scope.SYSTEM_WRITE,
        answers=(Answer(status=200, description=summary, model=model),),
        **given,
    )


LETTER_ID = Parameter(
    name="id", place="path", description="Its number.", schema={"type": "integer", "minimum": 1}
)
NOT_FOUND = Problem(
    code="dead_letter_not_found",
    title="There is no such dead letter",
    detail="It may have been sent again meanwhile.",
    status=404,
)
