"""What the messaging layer survives: hostile messages, its users' bugs, cut connections."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pytest
from aiormq.abc import ChannelFrame
from lineshaft_common.messaging import (
    Delivery,
    NoReplyError,
    Outgoing,
    PublishError,
    RabbitBus,
    UnsendableError,
    answers,
    connect,
    on,
    outgoing,
)
from lineshaft_contracts.envelope import Envelope, Message, envelop, uuid7
from lineshaft_contracts.job_events import JobQueued
from lineshaft_contracts.jobs import GetJob
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.topology import (
    DEAD_LETTERS,
    EVENT_ROUTER_PLATFORM,
    EVENTS_LOG,
    JOB_RUNNER_ASKED,
    PLATFORM_LOG,
)
from yarl import URL

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 60.0


@pytest.fixture
async def bus(fresh_amqp_url: str) -> AsyncGenerator[RabbitBus]:
    async with connect(fresh_amqp_url, name="test") as bus:
        yield bus


def queued(number: int = 0) -> Envelope[JobQueued]:
    data = JobQueued(job_id=uuid7(), job_type="trial.wait", attempt=number)
    return envelop(data, source="/services/test", tenant="acme")


async def becomes(bus: RabbitBus, queue: Any, expected: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await bus.depth(queue))[0] != expected:
            await asyncio.sleep(0.05)


async def no_job(_: Envelope[GetJob]) -> Message:
    raise ProblemError(Problem(code="job_not_found", title="No such job", status=404))


class Cable:
    """The way to the broker, which can be cut."""

    def __init__(self, url: str) -> None:
        self._broker = URL(url)
        self.url = url
        self._ends: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def laid(self) -> AsyncGenerator["Cable"]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = str(self._broker.with_host("127.0.0.1").with_port(port_of(server)))
        async with server:
            yield self
            self.cut()

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _carry(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection(self._broker.host, self._broker.port)
        self._ends |= {back, out}
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pipe(here, out), self._pipe(there, back))

    @staticmethod
    async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()


def port_of(server: asyncio.Server) -> int:
    return server.sockets[0].getsockname()[1]


@pytest.fixture
async def cable(fresh_amqp_url: str) -> AsyncGenerator[Cable]:
    async with Cable(fresh_amqp_url).laid() as cable:
        yield cable


async def test_asking_goes_on_after_a_cut_connection_however_many_ask(
    bus: RabbitBus, cable: Cable
) -> None:
    answered = 0

    async def ask() -> None:
        nonlocal answered
        try:
            await asker.ask(GetJob(job_id=uuid7()), tenant="acme", source="/x", deadline_seconds=2)
        except ProblemError:
            answered += 1
        except (NoReplyError, PublishError):
            pass

    async with (
        connect(cable.url, name="asker") as asker,
        bus.serve(JOB_RUNNER_ASKED, answers(GetJob, no_job)),
    ):
        asking = [asyncio.create_task(ask()) for _ in range(50)]
        cable.cut()
        while len(asking) < 400 and answered < 100:
            asking += [asyncio.create_task(ask()) for _ in range(5)]
            await asyncio.sleep(0.03)
        await asyncio.gather(*asking)
    assert answered >= 100


async def test_a_message_that_amqp_cannot_carry_fails_alone(bus: RabbitBus) -> None:
    good = outgoing(queued())
    bad = Outgoing(
        exchange=good.exchange,
        routing_key=good.routing_key,
        type=good.type,
        message_id="é" * 200,
        body=good.body,
    )
    outcomes = await bus.publish_many([good, bad, good])
    assert [type(o) for o in outcomes] == [type(None), UnsendableError, type(None)]
    assert await bus.publish_many([good]) == [None]


async def test_properties_that_cannot_be_read_harm_no_other_message(
    bus: RabbitBus, fresh_amqp_url: str
) -> None:
    seen = asyncio.Event()

    async def take(_: Delivery[JobQueued]) -> None:
        seen.set()

    async with await aio_pika.connect(fresh_amqp_url) as intruder:
        channel: Any = await (await intruder.channel()).get_underlay_channel()
        for mangled in (mangled_publish(channel.number, b"\xff\xfe\xfd"),):
            await channel.write_queue.put(ChannelFrame(payload=mangled, should_close=False))
        await becomes(bus, EVENT_ROUTER_PLATFORM, 1)
        async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, take)):
            await bus.publish(queued())
            async with asyncio.timeout(DEADLINE_SECONDS):
                await seen.wait()
            await becomes(bus, DEAD_LETTERS, 1)
            await becomes(bus, EVENT_ROUTER_PLATFORM, 0)


def mangled_publish(channel: int, message_id: bytes) -> bytes:
    """A publish whose message id is no UTF-8 and whose time is long after the year 9999."""
    import pamqp.frame
    from pamqp import commands as spec
    from pamqp.header import ContentHeader

    placeholder = "x" * len(message_id)
    properties = spec.Basic.Properties(message_id=placeholder)
    header = pamqp.frame.marshal(ContentHeader(body_size=2, properties=properties), channel)
    publish = spec.Basic.Publish(exchange="jobs.events", routing_key="a.b.c.queued")
    body = b"\x03" + channel.to_bytes(2, "big") + (2).to_bytes(4, "big") + b"{}\xce"
    return (
        pamqp.frame.marshal(publish, channel)
        + header.replace(placeholder.encode(), message_id)
        + body
    )


async def test_a_bug_that_looks_like_an_io_error_does_not_hold_up_the_queue(
    bus: RabbitBus,
) -> None:
    handled: list[int] = []

    async def take(deliveries: Sequence[Delivery[Any]]) -> None:
        if any(d.data.attempt == 1 for d in deliveries):
            raise FileNotFoundError("template.txt")
        handled.extend(d.data.attempt for d in deliveries)

    await bus.publish_many([queued(number) for number in range(3)])
    async with bus.subscribe_batch(EVENT_ROUTER_PLATFORM, take):
        await becomes(bus, DEAD_LETTERS, 1)
        await becomes(bus, EVENT_ROUTER_PLATFORM, 0)
    assert sorted(handled) == [0, 2]


async def test_a_handler_that_was_cancelled_from_inside_does_not_end_consuming(
    bus: RabbitBus,
) -> None:
    calls = 0
    again = asyncio.Event()

    async def take(_: Delivery[JobQueued]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise asyncio.CancelledError
        again.set()

    async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, take)):
        await bus.publish(queued())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await again.wait()


async def test_who_stops_gives_back_what_it_has_not_handled(
    bus: RabbitBus, fresh_amqp_url: str
) -> None:
    started, release = asyncio.Event(), asyncio.Event()
    handled: set[int] = set()

    async def slow(delivery: Delivery[JobQueued]) -> None:
        handled.add(delivery.data.attempt)
        started.set()
        await release.wait()

    async def quick(delivery: Delivery[JobQueued]) -> None:
        handled.add(delivery.data.attempt)

    async with connect(fresh_amqp_url, name="other") as other:
        async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, slow), concurrency=1):
            await bus.publish_many([queued(number) for number in range(20)])
            async with asyncio.timeout(DEADLINE_SECONDS):
                await started.wait()
            asyncio.get_running_loop().call_later(0.2, release.set)
        async with other.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, quick)):
            async with asyncio.timeout(DEADLINE_SECONDS):
                while len(handled) < 20:
                    await asyncio.sleep(0.05)


async def test_a_long_log_is_read_whole(bus: RabbitBus) -> None:
    message = outgoing(queued())
    logged = [
        Outgoing(
            exchange=PLATFORM_LOG.name,
            routing_key=message.routing_key,
            type=message.type,
            message_id=str(number),
            body=message.body,
            headers=message.headers,
        )
        for number in range(5_000)
    ]
    assert not any(await bus.publish_many(logged, deadline_seconds=20))
    async with bus.read_log(EVENTS_LOG, "first") as records, asyncio.timeout(DEADLINE_SECONDS):
        for expected in range(5_000):
            assert (await anext(records)).offset == expected


async def test_a_dead_letter_with_countless_headers_is_kept_without_them(
    bus: RabbitBus, fresh_amqp_url: str
) -> None:
    async with await aio_pika.connect(fresh_amqp_url) as intruder:
        exchange = await (await intruder.channel()).get_exchange("jobs.events", ensure=False)
        headers: dict[str, Any] = {f"header-{number}": "x" * 900 for number in range(140)}
        await exchange.publish(
            aio_pika.Message(b"{}", type="nobody-knows", headers=headers), "a.b.c.d"
        )
        async with bus.subscribe(EVENT_ROUTER_PLATFORM):
            await becomes(bus, DEAD_LETTERS, 1)
    assert await bus.publish_many([queued()]) == [None]


@pytest.mark.parametrize("reply_to", ["amq.rabbitmq.reply-to.AAAA.BBBB", "é" * 100, "x"])
async def test_a_made_up_reply_address_is_not_written_to(
    bus: RabbitBus, fresh_amqp_url: str, reply_to: str
) -> None:
    async with (
        await aio_pika.connect(fresh_amqp_url) as intruder,
        bus.serve(JOB_RUNNER_ASKED, answers(GetJob, no_job)),
    ):
        exchange = await (await intruder.channel()).get_exchange(
            "job-runner.queries", ensure=False
        )
        body = envelop(GetJob(job_id=uuid7()), source="/x", tenant="acme").to_json()
        message = aio_pika.Message(body, type=GetJob.type, reply_to=reply_to)
        await exchange.publish(message, "query")
        with pytest.raises(ProblemError, match="job_not_found"):
            await bus.ask(GetJob(job_id=uuid7()), tenant="acme", source="/x", deadline_seconds=5)
        await bus.check()
