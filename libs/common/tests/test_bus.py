"""What every bus does: the same suite runs on the bus in memory and on a real RabbitMQ."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lineshaft_common import tracing
from lineshaft_common.messaging import (
    Bus,
    Delivery,
    NoReplyError,
    Outgoing,
    UnroutableError,
    answers,
    connect,
    on,
    outgoing,
)
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.envelope import Envelope, Message, envelop, uuid7
from lineshaft_contracts.job_events import JobQueued, JobSucceeded
from lineshaft_contracts.job_statistics import JobStats
from lineshaft_contracts.jobs import CancelJob, GetJob, JobFound, JobState, JobView, Progress
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.topology import (
    DEAD_LETTERS,
    EVENT_ROUTER_PLATFORM,
    EVENTS_LOG,
    JOB_RUNNER_ASKED,
    JOB_RUNNER_CANCEL,
    PLATFORM_LOG,
)

DEADLINE_SECONDS = 60.0


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.integration)])
async def bus(request: pytest.FixtureRequest) -> AsyncGenerator[Bus]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield MemoryBus()
        else:
            url = request.getfixturevalue("fresh_amqp_url")
            yield await stack.enter_async_context(connect(url, name="test"))


def queued(attempt: int = 0) -> Envelope[JobQueued]:
    data = JobQueued(job_id=uuid7(), job_type="report.generate", attempt=attempt)
    return envelop(data, source="/services/test", tenant="acme")


def view() -> JobView:
    return JobView.model_validate(
        {
            "id": uuid7(),
            "type": "report.generate",
            "state": JobState.QUEUED,
            "tenant": "acme",
            "priority": "normal",
            "parameters": {},
            "attempt": 0,
            "attempts_max": 3,
            "progress": Progress(),
            "submitted_at": datetime.now(UTC),
        }
    )


class Seen:
    """What a subscriber got, and a way to wait for it."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery[Any]] = []
        self._arrived = asyncio.Condition()

    async def take(self, delivery: Delivery[Any]) -> None:
        async with self._arrived:
            self.deliveries.append(delivery)
            self._arrived.notify_all()

    async def count(self, number: int) -> list[Delivery[Any]]:
        async with asyncio.timeout(DEADLINE_SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: len(self.deliveries) >= number)
        return self.deliveries


async def depth_becomes(bus: Bus, queue: Any, expected: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await bus.depth(queue))[0] != expected:
            await asyncio.sleep(0.05)


async def test_a_published_event_reaches_its_subscriber_whole(bus: Bus) -> None:
    seen, sent = Seen(), queued()
    async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, seen.take)):
        await bus.publish(sent)
        (delivery,) = await seen.count(1)
    assert delivery.envelope == sent
    assert delivery.routing_key == "acme.report.generate.queued"
    assert delivery.headers["tenant"] == "acme"


async def test_many_messages_arrive_in_the_order_of_publishing(bus: Bus) -> None:
    seen = Seen()
    async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, seen.take), concurrency=1):
        outcomes = await bus.publish_many([queued(number) for number in range(1200)])
        deliveries = await seen.count(1200)
    assert outcomes == [None] * 1200
    assert [d.data.attempt for d in deliveries] == list(range(1200))


async def test_a_message_waits_for_its_subscriber(bus: Bus) -> None:
    seen = Seen()
    await bus.publish(queued())
    assert (await bus.depth(EVENT_ROUTER_PLATFORM)) == (1, 0)
    async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, seen.take)):
        await seen.count(1)


async def test_a_type_without_a_reaction_is_let_go(bus: Bus) -> None:
    seen = Seen()
    async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobSucceeded, seen.take)):
        await bus.publish(queued())
        await depth_becomes(bus, EVENT_ROUTER_PLATFORM, 0)
    assert seen.deliveries == []
    await depth_becomes(bus, DEAD_LETTERS, 0)


async def test_a_message_that_no_queue_takes_is_an_error(bus: Bus) -> None:
    message = outgoing(queued())
    lost = Outgoing(
        exchange="job-runner.queries",
        routing_key="nowhere",
        type=message.type,
        message_id=message.message_id,
        body=message.body,
    )
    good = outgoing(queued())
    outcomes = await bus.publish_many([good, lost, good])
    assert [type(outcome) for outcome in outcomes] == [type(None), UnroutableError, type(None)]


async def test_a_batch_is_handled_in_one_call(bus: Bus) -> None:
    sizes: list[int] = []
    done = asyncio.Event()

    async def handle(deliveries: Sequence[Delivery[Any]]) -> None:
        sizes.append(len(deliveries))
        if sum(sizes) == 300:
            done.set()

    await bus.publish_many([queued() for _ in range(300)])
    async with bus.subscribe_batch(EVENT_ROUTER_PLATFORM, handle, batch_max=100):
        async with asyncio.timeout(DEADLINE_SECONDS):
            await done.wait()
    assert max(sizes) <= 100
    assert len(sizes) < 300


async def test_one_bad_message_of_a_batch_does_not_take_the_others_along(bus: Bus) -> None:
    handled: list[int] = []

    async def handle(deliveries: Sequence[Delivery[Any]]) -> None:
        if any(d.data.attempt == 3 for d in deliveries):
            raise ZeroDivisionError
        handled.extend(d.data.attempt for d in deliveries)

    await bus.publish_many([queued(number) for number in range(6)])
    async with bus.subscribe_batch(EVENT_ROUTER_PLATFORM, handle):
        await depth_becomes(bus, DEAD_LETTERS, 1)
        await depth_becomes(bus, EVENT_ROUTER_PLATFORM, 0)
    assert sorted(handled) == [0, 1, 2, 4, 5]
    reason = await first_dead_letter(bus)
    assert reason["lineshaft-reason"] == "handler_failed"
    assert reason["lineshaft-detail"] == "ZeroDivisionError"
    assert reason["lineshaft-queue"] == EVENT_ROUTER_PLATFORM.name


async def test_a_single_message_that_fails_is_tried_again_and_then_put_aside(bus: Bus) -> None:
    tries = 0

    async def handle(_: Delivery[JobQueued]) -> None:
        nonlocal tries
        tries += 1
        raise ZeroDivisionError

    async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, handle)):
        await bus.publish(queued())
        await depth_becomes(bus, DEAD_LETTERS, 1)
        await depth_becomes(bus, EVENT_ROUTER_PLATFORM, 0)
    assert tries == 4
    assert (await first_dead_letter(bus))["lineshaft-reason"] == "handler_failed"


async def test_a_failure_that_passes_is_waited_out(bus: Bus) -> None:
    failures = iter([ConnectionError("away"), TimeoutError()])
    seen = Seen()

    async def handle(delivery: Delivery[JobQueued]) -> None:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        await seen.take(delivery)

    async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, handle)):
        await bus.publish(queued())
        await seen.count(1)
    assert (await bus.depth(DEAD_LETTERS))[0] == 0


async def test_a_parked_message_goes_to_the_dead_letters_with_its_reason(bus: Bus) -> None:
    async def handle(delivery: Delivery[JobQueued]) -> None:
        delivery.park("unwanted", "says the test")

    async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, handle)):
        await bus.publish(queued())
        await depth_becomes(bus, DEAD_LETTERS, 1)
    headers = await first_dead_letter(bus)
    assert (headers["lineshaft-reason"], headers["lineshaft-detail"]) == (
        "unwanted",
        "says the test",
    )


@pytest.mark.parametrize(
    ("type_", "body", "reason"),
    [
        ("lineshaft.jobs.nobody-knows.v1", b"{}", "unknown_type"),
        ("", b"{}", "unknown_type"),
        ("lineshaft.jobs.queued.v1", b"not json", "invalid_message"),
        ("lineshaft.jobs.queued.v1", b'{"id": 1}', "invalid_message"),
        ("lineshaft.jobs.queued.v1", b"\xff\x00", "invalid_message"),
    ],
)
async def test_an_unreadable_message_is_kept_with_its_reason_and_stops_nothing(
    bus: Bus, type_: str, body: bytes, reason: str
) -> None:
    seen = Seen()
    bad = Outgoing(
        exchange="jobs.events", routing_key="a.b.c.d", type=type_, message_id="1", body=body
    )
    async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, seen.take)):
        assert await bus.publish_many([bad, queued()]) == [None, None]
        await seen.count(1)
        await depth_becomes(bus, DEAD_LETTERS, 1)
    assert (await first_dead_letter(bus))["lineshaft-reason"] == reason


async def first_dead_letter(bus: Bus) -> dict[str, Any]:
    found: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(deliveries: Sequence[Delivery[Any]]) -> None:
        for delivery in deliveries:
            await found.put(dict(delivery.headers))

    async with bus.subscribe_batch(DEAD_LETTERS, take, raw=True):
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await found.get()


async def test_a_question_gets_its_typed_reply(bus: Bus) -> None:
    job = view()

    async def get_job(envelope: Envelope[GetJob]) -> JobFound:
        assert envelope.tenant == "acme"
        return JobFound(job=job)

    async with bus.serve(JOB_RUNNER_ASKED, answers(GetJob, get_job)):
        reply = await bus.ask(GetJob(job_id=job.id), tenant="acme", source="/services/test")
    assert reply == JobFound(job=job)


async def test_a_problem_comes_back_as_an_error_with_its_code(bus: Bus) -> None:
    async def get_job(_: Envelope[GetJob]) -> Message:
        raise ProblemError(Problem(code="job_not_found", title="No such job", status=404))

    async with bus.serve(JOB_RUNNER_ASKED, answers(GetJob, get_job)):
        with pytest.raises(ProblemError) as raised:
            await bus.ask(GetJob(job_id=uuid7()), tenant="acme", source="/services/test")
    assert raised.value.problem.code == "job_not_found"
    assert raised.value.problem.status == 404


async def test_a_handler_that_fails_answers_internal_and_tells_nothing(bus: Bus) -> None:
    async def get_job(_: Envelope[GetJob]) -> Message:
        raise RuntimeError("the password is 12345")

    async with bus.serve(JOB_RUNNER_ASKED, answers(GetJob, get_job)):
        with pytest.raises(ProblemError) as raised:
            await bus.ask(
                GetJob(job_id=uuid7()), tenant="acme", source="/services/test", deadline_seconds=5
            )
    assert raised.value.problem.code == "internal"
    assert "12345" not in raised.value.problem.model_dump_json()


async def test_a_command_to_several_is_refused_when_all_who_answer_refuse(bus: Bus) -> None:
    async def refuse(delivery: Delivery[CancelJob]) -> None:
        await delivery.reply(Problem(code="unwilling", title="No", status=422))

    async with bus.subscribe(JOB_RUNNER_CANCEL, on(CancelJob, refuse)):
        with pytest.raises(ProblemError, match="unwilling"):
            await bus.ask_all(
                CancelJob(job_id=uuid7()),
                tenant="acme",
                source="/x",
                replies_max=2,
                deadline_seconds=0.5,
            )


async def test_a_question_that_nobody_answers_ends_at_its_deadline(bus: Bus) -> None:
    with pytest.raises(NoReplyError):
        await bus.ask(
            GetJob(job_id=uuid7()), tenant="acme", source="/services/test", deadline_seconds=0.2
        )


async def test_a_durable_command_is_kept_for_who_was_away_and_can_be_answered(bus: Bus) -> None:
    seen = Seen()

    async def cancel(delivery: Delivery[CancelJob]) -> None:
        await seen.take(delivery)
        await delivery.reply(Problem(code="too_late", title="It has ended", status=409))

    with pytest.raises(NoReplyError):
        await bus.ask(
            CancelJob(job_id=uuid7()), tenant="acme", source="/services/test", deadline_seconds=0.2
        )
    async with bus.subscribe(JOB_RUNNER_CANCEL, on(CancelJob, cancel)):
        await seen.count(1)
        with pytest.raises(ProblemError, match="too_late"):
            await bus.ask(CancelJob(job_id=uuid7()), tenant="acme", source="/services/test")


async def test_an_expired_question_is_not_worked_on(bus: Bus) -> None:
    asked = Seen()

    async def get_stats(_: Envelope[GetJob]) -> JobStats:
        raise AssertionError("nobody waits for this")

    past = datetime.now(UTC) - timedelta(seconds=1)
    late = envelop(GetJob(job_id=uuid7()), source="/x", tenant="acme", expirytime=past)
    async with bus.serve(JOB_RUNNER_ASKED, answers(GetJob, get_stats)):
        await bus.publish(late)
        await depth_becomes(bus, JOB_RUNNER_ASKED, 0)
    assert asked.deliveries == []


async def test_a_log_is_read_from_an_offset_and_then_live(bus: Bus) -> None:
    def logged(number: int) -> Outgoing:
        message = outgoing(queued(number))
        return Outgoing(
            exchange=PLATFORM_LOG.name,
            routing_key=message.routing_key,
            type=message.type,
            message_id=message.message_id,
            body=message.body,
            headers=message.headers,
        )

    await bus.publish_many([logged(number) for number in range(5)])
    async with bus.read_log(EVENTS_LOG, 3) as records:
        async with asyncio.timeout(DEADLINE_SECONDS):
            offsets = [(await anext(records)).offset for _ in range(2)]
            await bus.publish_many([logged(5)])
            live = await anext(records)
    assert offsets == [3, 4]
    assert live.offset == 5
    assert live.tenant == "acme"
    assert live.type == "lineshaft.jobs.queued.v1"


@pytest.mark.parametrize(
    "traceparent",
    [
        17,
        b"\xff\xfe",
        "",
        "00-zz",
        None,
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        ["a"],
        {"a": 1},
    ],
)
def test_a_traceparent_that_is_none_is_ignored_whatever_its_type(traceparent: object) -> None:
    assert tracing.parse(traceparent) is None
    assert tracing.extract(traceparent) == tracing.EMPTY
