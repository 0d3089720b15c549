"""What is said of an event that was refused."""

from typing import Any

import pytest
from lineshaft_common.messaging import Delivery
from lineshaft_contracts.envelope import PLATFORM_TENANT, Envelope, Unregistered
from lineshaft_contracts.problems import FieldProblem, Problem
from lineshaft_event_router.refusal import Refusal, refusal
from pydantic_core import to_json

from .plant_floor import SOURCE, event

PROBLEM = Problem(
    code="invalid_event",
    title="The event is not valid",
    detail="1 field(s) need attention",
    errors=(FieldProblem(pointer="/data/good", code="missing", message="Field required"),),
)


def refused(body: dict[str, Any] | bytes, *, id_: str = "", type_: str = "") -> Refusal:
    delivery = Delivery(
        envelope=Envelope[Unregistered].model_construct(id=id_, type=type_),
        body=body if isinstance(body, bytes) else to_json(body),
        headers={},
        routing_key="high",
        redelivered=False,
    )
    return refusal("high", delivery, PROBLEM)


def test_what_the_sender_wrote_is_kept() -> None:
    body = event(id="17")
    found = refused(body)
    assert (found.lane, found.tenant, found.source) == ("high", "acme", SOURCE)
    assert (found.event_id, found.event_type) == ("17", body["type"])
    assert found.body_bytes == len(to_json(body))


def test_the_properties_speak_for_a_body_that_cannot_be_read() -> None:
    found = refused(b"\xff", id_="m-1", type_="plant.quality.alert-raised.v1")
    assert (found.event_id, found.event_type) == ("m-1", "plant.quality.alert-raised.v1")
    assert (found.tenant, found.source) == (PLATFORM_TENANT, None)


def test_a_body_that_ends_too_early_is_read_as_far_as_it_goes() -> None:
    found = refused(b'{"tenant": "acme", "id": "1", "type": "plant.qual')
    assert (found.tenant, found.event_id, found.event_type) == ("acme", "1", None)


@pytest.mark.parametrize("tenant", [None, 1, "", "Acme", "a\0b", "x" * 33, ["acme"], {"a": 1}])
def test_a_tenant_that_cannot_exist_is_nobody(tenant: Any) -> None:
    assert refused({**event(), "tenant": tenant}).tenant == PLATFORM_TENANT


@pytest.mark.parametrize(
    ("claim", "kept"),
    [
        (17, None),
        ("", None),
        ("x" * 1000, "x" * 255),
        ("a\0b", "a\ufffdb"),
        ({"a": [1]}, None),
    ],
)
def test_words_of_any_kind_are_cut_to_what_can_be_stored(claim: Any, kept: str | None) -> None:
    found = refused({**event(), "id": claim, "source": claim, "type": claim})
    assert (found.event_id, found.source, found.event_type) == (kept, kept, kept)


def test_the_reason_names_the_field() -> None:
    assert refused(b"").reason == (
        "The event is not valid. 1 field(s) need attention /data/good: Field required"
    )
