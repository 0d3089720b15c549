"""The door: what is refused, with which code, pointing where."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_contracts.door import (
    EVENT_BYTES_MAX,
    parse_batch,
    validate_plant_event,
)
from lineshaft_contracts.problems import Problem, ProblemError

GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "01998f0a-5e80-7c3a-9d2e-1f3b5a7c9e01",
    "source": "/acme/north/stamping/line-1/press-1",
    "type": "plant.production.unit-produced.v1",
    "time": "2026-11-24T08:00:00+02:00",
    "tenant": "acme",
    "data": {
        "material_definition_id": "ring",
        "quantity": {"good": {"value": "12", "uom": "pcs"}},
    },
}
DEEP = json.loads("[" * 40 + "]" * 40)


def refused(raw: dict[str, Any] | bytes) -> Problem:
    with pytest.raises(ProblemError) as caught:
        validate_plant_event(raw)
    return caught.value.problem


def test_a_good_event_is_read_with_its_time_in_utc() -> None:
    envelope = validate_plant_event(GOOD)
    assert envelope == validate_plant_event(json.dumps(GOOD).encode())
    assert envelope.time == datetime(2026, 11, 24, 6, tzinfo=UTC)
    assert envelope.key == "acme.north.stamping.line-1.press-1.unit-produced.normal"


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"specversion": "0.3"}, "/specversion", "literal_error"),
        ({"id": ""}, "/id", "string_too_short"),
        ({"source": "acme"}, "/source", "equipment_path"),
        ({"source": "/acme/NORTH"}, "/source", "equipment_path"),
        ({"source": "/other/north"}, "/source", "tenant_mismatch"),
        ({"source": "/_platform/x", "tenant": "_platform"}, "/tenant", "reserved"),
        ({"subject": "a\r\nb"}, "/subject", "control_character"),
        ({"sequence": "9" * 256}, "/sequence", "string_too_long"),
        ({"time": 1764000000}, "/time", "string_type"),
        ({"time": "2026-11-24T06:00:00"}, "/time", "timezone_aware"),
        ({"time": "2999-01-01T00:00:00Z"}, "/time", "time_in_future"),
        ({"id": "\U0001f40d" * 64}, "/id", "string_too_long"),
        ({"time": "9999-12-31T23:59:59-23:00"}, "/time", "value_error"),
        ({"expirytime": "0001-01-01T00:00:00+23:00"}, "/expirytime", "value_error"),
        ({"priority": "urgent"}, "/priority", "enum"),
        ({"severity": "500"}, "/severity", "int_type"),
        ({"subject": "a\0b"}, "/subject", "nul_character"),
        ({"data": "text"}, "/data", "model_type"),
        ({"data": {**GOOD["data"], "material_lot_id": 7}}, "/data/material_lot_id", "string_type"),
        ({"data": {**GOOD["data"], "a": DEEP}}, "/data/a" + "/0" * 15, "too_deep"),
        (
            {"data": {**GOOD["data"], "quantity": {"good": {"value": "a lot", "uom": "pcs"}}}},
            "/data/quantity/good/value",
            "string_pattern_mismatch",
        ),
    ],
)
def test_a_wrong_event_is_refused_with_a_pointer(
    change: dict[str, Any], pointer: str, code: str
) -> None:
    problem = refused({**GOOD, **change})
    assert (problem.code, problem.status) == ("invalid_event", 422)
    assert (pointer, code) in [(error.pointer, error.code) for error in problem.errors]


@pytest.mark.parametrize("name", list(GOOD))
def test_every_required_attribute_is_asked_for(name: str) -> None:
    problem = refused({key: value for key, value in GOOD.items() if key != name})
    assert [(error.pointer, error.code) for error in problem.errors] == [(f"/{name}", "missing")]


@pytest.mark.parametrize("type_", ["plant.production.magic.v1", "lineshaft.jobs.queued.v1", ""])
def test_a_type_that_is_not_for_outside_writers_is_unknown_to_them(type_: str) -> None:
    problem = refused({**GOOD, "type": type_})
    assert (problem.code, problem.errors[0].pointer) == ("unknown_event_type", "/type")


def test_a_large_event_is_refused_before_it_is_parsed() -> None:
    problem = refused(b"[" * (EVENT_BYTES_MAX + 1))
    assert (problem.code, problem.status) == ("event_too_large", 413)
    large = {**GOOD["data"], "material_lot_id": "x" * EVENT_BYTES_MAX}
    assert refused({**GOOD, "data": large}).code == "event_too_large"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"a": NaN}', b"[]", b"[" * 10_000, b'{"a": %b}' % (b"9" * 9999)]
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert refused(body).code == "invalid_event"


def test_a_clock_that_is_a_little_ahead_is_tolerated() -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert validate_plant_event({**GOOD, "time": soon}).id == GOOD["id"]


def test_extension_attributes_are_accepted_and_left_out() -> None:
    assert validate_plant_event({**GOOD, "myextension": "x"}) == validate_plant_event(GOOD)


def test_a_batch_is_split_into_its_events() -> None:
    bodies = parse_batch(json.dumps([GOOD, GOOD]).encode())
    assert [validate_plant_event(body).id for body in bodies] == [GOOD["id"]] * 2
    for body in (json.dumps(GOOD), "[" + "1," * 100 + "1]"):
        with pytest.raises(ProblemError):
            parse_batch(body.encode())


@given(st.binary(max_size=200))
def test_noise_is_a_problem_and_never_a_crash(body: bytes) -> None:
    assert refused(body).status == 422


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "severity", "expirytime", "priority"]), JSON))
def test_wrong_values_anywhere_are_a_problem_and_never_a_crash(change: dict[str, Any]) -> None:
    with suppress(ProblemError):
        validate_plant_event({**GOOD, **change})
