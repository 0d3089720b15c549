"""The hooks into the AMQP client that the fast path stands on, held against its pinned version."""

import inspect
from dataclasses import replace
from typing import Any

import pytest
from aiormq.channel import Channel
from lineshaft_common.messaging import Outgoing, UnsendableError, connect
from lineshaft_contracts.topology import EVENTS_LOG


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("_on_deliver_frame", ["self", "frame"]),
        ("_on_confirm_frame", ["self", "frame"]),
        ("_on_return_frame", ["self", "frame"]),
        ("_get_frame", ["self"]),
    ],
)
def test_the_client_has_the_hook_and_calls_it_as_expected(hook: str, arguments: list[str]) -> None:
    function = getattr(Channel, hook)
    assert inspect.iscoroutinefunction(function)
    assert list(inspect.signature(function).parameters) == arguments
    if hook != "_get_frame":
        assert f"self.{hook}(" in inspect.getsource(Channel)


@pytest.mark.integration
@pytest.mark.parametrize("size", [0, 1, 131_063, 131_064, 131_065, 1_000_000])
async def test_a_body_of_any_size_arrives_whole(fresh_amqp_url: str, size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    message = Outgoing(
        exchange="platform.log", routing_key="a.b", type="t", message_id="1", body=body
    )
    async with (
        connect(fresh_amqp_url, name="test") as bus,
        bus.read_log(EVENTS_LOG, "first") as records,
    ):
        assert await bus.publish_many([message, message]) == [None, None]
        received = [(await anext(records)).body for _ in range(2)]
    assert received == [body, body]


@pytest.mark.integration
@pytest.mark.parametrize(
    "changes",
    [
        {"message_id": "\U0001f40d" * 128},
        {"routing_key": "a" * 256},
        {"type": "a" * 256},
        {"app_id": "\ud800"},
        {"headers": {"count": 2**70}},
    ],
)
async def test_what_amqp_cannot_carry_is_an_error_and_holds_up_nothing(
    fresh_amqp_url: str, changes: dict[str, Any]
) -> None:
    good = Outgoing(
        exchange="platform.log", routing_key="a.b", type="t", message_id="1", body=b"good"
    )
    async with connect(fresh_amqp_url, name="test") as bus:
        outcomes = await bus.publish_many([good, replace(good, **changes), good])
        assert [type(one) for one in outcomes] == [type(None), UnsendableError, type(None)]
        only = await bus.publish_many([replace(good, **changes)])
        assert [type(one) for one in only] == [UnsendableError]
        assert await bus.publish_many([good]) == [None]
