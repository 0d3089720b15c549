"""Plant events: which there are, how they are addressed, how they are read."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_contracts.door import validate_plant_event
from lineshaft_contracts.envelope import Priority
from lineshaft_contracts.problems import ProblemError
from lineshaft_contracts.production import UnitProduced
from lineshaft_contracts.registry import Kind, contracts, read
from lineshaft_contracts.resource import EquipmentState, StateChanged

PLANT_EVENTS = {
    "production": {
        "order-released",
        "order-started",
        "order-progressed",
        "order-completed",
        "order-held",
        "order-aborted",
        "operation-started",
        "operation-completed",
        "unit-produced",
    },
    "inventory": {
        "lot-created",
        "lot-moved",
        "lot-adjusted",
        "lot-consumed",
        "lot-status-changed",
        "level-below-minimum",
    },
    "quality": {
        "alert-raised",
        "alert-acknowledged",
        "alert-cleared",
        "test-result-recorded",
        "nonconformance-opened",
        "nonconformance-closed",
    },
    "resource": {"state-changed", "mode-changed", "heartbeat", "capability-changed"},
}
TYPES = sorted(f"plant.{domain}.{event}.v1" for domain, of in PLANT_EVENTS.items() for event in of)
WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=32)


def state_changed(**data: Any) -> bytes:
    message = {
        "specversion": "1.0",
        "id": "1",
        "source": "/acme/north/stamping/line-1/press-1",
        "type": StateChanged.type,
        "time": "2026-11-24T06:00:00Z",
        "tenant": "acme",
        "data": data,
    }
    return json.dumps(message).encode()


def test_the_plant_events_are_these_and_only_they_may_come_from_outside() -> None:
    external = [type_ for type_, contract in contracts().items() if contract.external]
    assert sorted(external) == sorted(TYPES)


@pytest.mark.parametrize("type_", TYPES)
def test_a_plant_event_travels_through_the_exchange_of_its_domain(type_: str) -> None:
    contract = contracts()[type_]
    assert contract.kind is Kind.EVENT
    assert contract.owner == "plant"
    assert contract.exchange is not None
    assert contract.exchange.name == ".".join(type_.split(".")[:2])


@given(
    type_=st.sampled_from(TYPES),
    words=st.lists(WORD, min_size=1, max_size=5),
    priority=st.sampled_from(Priority),
)
def test_a_routing_key_is_seven_words_of_at_most_255_bytes(
    type_: str, words: list[str], priority: Priority
) -> None:
    model = contracts()[type_].model
    generic: Any = contracts()[type_]
    envelope: Any = _envelope(generic.model.model_construct(), type_, words, priority)
    key = model.model_construct().routing_key(envelope)
    parts = key.split(".")
    assert len(parts) == 7
    assert all(re.fullmatch(r"[a-z0-9_-]{1,32}", part) for part in parts)
    assert len(key.encode()) <= 255
    assert parts[0] == words[0]
    assert parts[5:] == [type_.split(".")[2], priority.value]


def _envelope(data: Any, type_: str, words: list[str], priority: Priority) -> Any:
    from lineshaft_contracts.envelope import Envelope

    generic: Any = Envelope
    return generic[type(data)].model_construct(
        id="1",
        source="/" + "/".join(words),
        type=type_,
        tenant=words[0],
        priority=priority,
        time=datetime.now(UTC),
        data=data,
    )


def test_an_event_is_never_published_into_the_place_of_another_tenant() -> None:
    envelope = read(StateChanged.type, state_changed(state="down"))
    stolen = envelope.model_copy(update={"tenant": "other"})
    with pytest.raises(ValueError, match="not of tenant other"):
        stolen.data.routing_key(stolen)


def test_a_consumer_reads_a_word_that_it_does_not_know_as_unknown() -> None:
    envelope = read(StateChanged.type, state_changed(state="levitating"))
    assert envelope.data.state is EquipmentState.UNKNOWN


def test_the_door_refuses_a_word_that_is_not_in_the_list() -> None:
    with pytest.raises(ProblemError) as refused:
        validate_plant_event(state_changed(state="levitating"))
    assert [error.pointer for error in refused.value.problem.errors] == ["/data/state"]


def test_a_consumer_ignores_a_field_that_a_newer_publisher_added() -> None:
    body = state_changed(state="down", mood="bad")
    assert read(StateChanged.type, body).data == StateChanged(state=EquipmentState.DOWN)


def test_the_door_refuses_a_field_that_the_contract_does_not_have() -> None:
    with pytest.raises(ProblemError) as refused:
        validate_plant_event(state_changed(state="down", mood="bad"))
    error = refused.value.problem.errors[0]
    assert (error.pointer, error.code) == ("/data/mood", "extra_forbidden")


def test_quantities_keep_their_decimals() -> None:
    good = {"value": "0.10", "uom": "kg"}
    data = {"material_definition_id": "m", "quantity": {"good": good}}
    assert UnitProduced.model_validate(data).quantity.good.value == "0.10"
