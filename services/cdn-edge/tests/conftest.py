"""An edge in front of an origin in memory, on a clock that the test turns."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from lineshaft_cdn_edge.edge import Edge, Limits
from lineshaft_cdn_edge.fields import Fields
from lineshaft_cdn_edge.http_date import format_date
from lineshaft_cdn_edge.memory import MemoryStore
from lineshaft_cdn_edge.messages import Request, Result
from lineshaft_cdn_edge.origin import OriginError, OriginRequest, OriginTruncatedError
from lineshaft_cdn_edge.policy import Policy, load_policy

NOW = 1_800_000_000.0


class FakeClock:
    """Stands still until it is advanced."""

    def __init__(self) -> None:
        self.passed = 0.0

    def wall(self) -> float:
        return NOW + self.passed

    def monotonic(self) -> float:
        return 1_000.0 + self.passed

    def advance(self, seconds: float) -> None:
        self.passed += seconds


@dataclass(kw_only=True)
class Answer:
    """What the origin says to one request; a `gate` holds it back until it is set."""

    status: int = 200
    fields: dict[str, str] | list[tuple[str, str]] = field(default_factory=dict[str, str])
    body: bytes = b"body"
    announces_length: bool = True
    is_framed: bool = True
    cut_after: int | None = None
    """Break off after this many bytes."""
    error: OriginError | None = None
    gate: asyncio.Event | None = None
    body_gate: asyncio.Event | None = None
    """Holds the second half of the body back."""
    takes_seconds: float = 0.0
    reason: str = ""
    has_room: bool = True
    """Whether it may pass through to one client."""


class FakeBody:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = self._answer.body
        if self._answer.cut_after is not None:
            yield body[: self._answer.cut_after]
            raise OriginTruncatedError
        half = len(body) // 2
        for piece in (body[:half], body[half:]):
            if piece:
                yield piece
            if self._answer.body_gate:
                await self._answer.body_gate.wait()
            await asyncio.sleep(0)

    async def close(self) -> None:
        self.is_closed = True


class FakeResponse:
    def __init__(self, answer: Answer, request: OriginRequest) -> None:
        self.status = answer.status
        self.reason = answer.reason
        self.fields: Fields = Fields(answer.fields)
        self.has_room = answer.has_room
        bodiless = answer.status in {204, 304} or request.method == "HEAD"
        self.length = len(answer.body) if answer.announces_length else None
        if self.length is not None and not bodiless:
            self.fields.setdefault("Content-Length", str(self.length))
        self.is_framed = answer.is_framed
        self.body = FakeBody(answer)
        if bodiless:
            self.body = FakeBody(Answer(body=b""))

    async def pass_through(self) -> bool:
        return self.has_room


class FakeOrigin:
    """Answers from a queue of answers, the last of which stays; records what it was asked."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.requests: list[OriginRequest] = []
        self.responses: list[FakeResponse] = []
        self._answers: list[Answer | Callable[[OriginRequest], Answer]] = [Answer(status=404)]

    def will(self, *answers: "Answer | Callable[[OriginRequest], Answer]") -> None:
        self._answers = list(answers)

    @property
    def count(self) -> int:
        return len(self.requests)

    async def fetch(self, request: OriginRequest) -> FakeResponse:
        self.requests.append(request)
        scripted = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        answer = scripted if isinstance(scripted, Answer) else scripted(request)
        if answer.gate:
            await answer.gate.wait()
        self._clock.advance(answer.takes_seconds)
        if answer.error:
            raise answer.error
        response = FakeResponse(answer, request)
        self.responses.append(response)
        return response


@dataclass(frozen=True, kw_only=True)
class Got:
    """What a client received."""

    status: int
    fields: Fields
    body: bytes
    is_cut: bool
    result: Result
    asset_class: str
    length: int | None
    saved_bytes: int

    @property
    def cache_status(self) -> str:
        return self.fields["Cache-Status"]


class World:
    """One edge and everything around it."""

    def __init__(self, edge: Edge, origin: FakeOrigin, store: MemoryStore, clock: FakeClock):  # noqa: ANN204
        self.edge = edge
        self.origin = origin
        self.store = store
        self.clock = clock

    def will(self, *answers: Any) -> None:
        self.origin.will(*answers)

    def date(self, seconds: float = 0) -> str:
        return format_date(self.clock.wall() + seconds)

    async def ask(
        self,
        target: str = "/asset",
        fields: dict[str, str] | list[tuple[str, str]] | None = None,
        *,
        method: str = "GET",
        authority: str = "edge.example",
        body: AsyncIterator[bytes] | None = None,
    ) -> Got:
        response = await self.edge.handle(
            Request(
                method=method,
                target=target,
                authority=authority,
                fields=Fields(fields or {}),
                body=body,
            )
        )
        is_cut, content = False, b""
        if isinstance(response.body, bytes):
            content = response.body
        else:
            try:
                async for chunk in response.body:
                    content += chunk
            except OriginError:
                is_cut = True
            await response.body.close()
        return Got(
            status=response.status,
            fields=response.fields,
            body=content,
            is_cut=is_cut,
            result=response.result,
            asset_class=response.asset_class,
            length=response.length,
            saved_bytes=response.saved_bytes,
        )

    async def settled(self) -> None:
        """Wait until nothing goes on in the background."""
        await self.edge.idle()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until the condition holds."""
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0)


MakeWorld = Callable[..., Any]


@pytest.fixture
async def make_world() -> AsyncIterator[MakeWorld]:
    """Make an edge with other rules or bounds than usual."""
    async with AsyncExitStack() as stack:

        async def make(
            *,
            policy: Policy | None = None,
            limits: Limits | None = None,
            bytes_max: int = 16_000_000,
            object_bytes_max: int = 1_000_000,
            variants_max: int = 32,
            keyed_host: bool = False,
        ) -> World:
            clock = FakeClock()
            origin = FakeOrigin(clock)
            store = MemoryStore(
                bytes_max=bytes_max, object_bytes_max=object_bytes_max, variants_max=variants_max
            )
            edge = await stack.enter_async_context(
                Edge(
                    region="test",
                    origin=origin,
                    policy=policy or load_policy(),
                    store=store,
                    clock=clock,
                    limits=limits,
                    keyed_host=keyed_host,
                )
            )
            return World(edge, origin, store, clock)

        yield make


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    """An edge with the packaged policy."""
    return await make_world()


@pytest.fixture
def answer() -> type[Answer]:
    """The class of the origin's answers; tests cannot import this file."""
    return Answer
