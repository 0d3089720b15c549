"""The simulated shift: what a test, a demo and a reader may rely on."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from lineshaft_contracts.door import validate_plant_event
from plant.calendar import SHIFT, Shift, next_shift, past_shifts
from plant.layout import LINES
from plant.simulation import simulate

START = datetime(2026, 11, 24, 6, tzinfo=UTC)
WHOLE = Shift(START, START + SHIFT)


def messages(seed: int = 1) -> list[dict[str, Any]]:
    return [event.to_cloudevent(tenant="acme") for event in simulate(WHOLE, seed=seed)]


def test_the_same_start_and_seed_give_the_same_events() -> None:
    assert messages() == messages()
    assert messages() != messages(seed=2)


def test_every_event_passes_the_door() -> None:
    keys = [validate_plant_event(message).key for message in messages()]
    assert all(key.startswith("acme.north.") and len(key.split(".")) == 7 for key in keys)


def test_a_shift_has_at_least_500_events_of_three_lines_with_different_ids() -> None:
    found = messages()
    assert len(found) >= 500
    assert len({message["id"] for message in found}) == len(found)
    assert {message["source"].split("/")[4] for message in found} == {line.name for line in LINES}


def test_ids_are_version_7_and_hold_the_time_of_the_event() -> None:
    for message in messages():
        identity = UUID(message["id"])
        moment = datetime.fromisoformat(message["time"])
        assert identity.version == 7
        assert identity.int >> 80 == int(moment.timestamp() * 1000)


def test_events_are_in_the_order_of_their_time_and_inside_the_shift() -> None:
    times = [event.time for event in simulate(WHOLE)]
    assert times == sorted(times)
    assert times[0] >= START
    assert times[-1] < START + SHIFT


def test_the_press_breaks_down_and_runs_again_later() -> None:
    states = [
        message["data"]
        for message in messages()
        if message["type"] == "plant.resource.state-changed.v1"
        and message["source"].endswith("/press-1")
    ]
    names = [state["state"] for state in states]
    assert names.count("down") == 1
    after = states[names.index("down") + 1]
    assert (after["previous_state"], after["state"]) == ("down", "running")


def test_all_four_domains_and_the_life_of_an_order_are_there() -> None:
    counts = Counter(message["type"].removesuffix(".v1") for message in messages())
    for type_ in (
        "production.order-released",
        "production.order-started",
        "production.order-progressed",
        "production.order-completed",
        "production.operation-started",
        "production.operation-completed",
        "production.unit-produced",
        "inventory.lot-created",
        "inventory.lot-moved",
        "inventory.lot-consumed",
        "inventory.level-below-minimum",
        "quality.test-result-recorded",
        "quality.alert-raised",
        "quality.alert-cleared",
        "quality.nonconformance-opened",
        "resource.heartbeat",
    ):
        assert counts[f"plant.{type_}"] > 0, type_
    assert counts["plant.production.order-released"] == 6
    assert counts["plant.production.order-completed"] == 5, "one order is handed to the next shift"


def test_progress_totals_are_the_sum_of_what_was_produced() -> None:
    totals: Counter[str] = Counter()
    for message in messages():
        data = message["data"]
        if message["type"] == "plant.production.unit-produced.v1":
            totals[data["job_order_id"]] += int(data["quantity"]["good"]["value"])
        if message["type"] in {
            "plant.production.order-progressed.v1",
            "plant.production.order-completed.v1",
        }:
            assert int(data["quantity"]["good"]["value"]) == totals[data["job_order_id"]]


def test_the_history_is_a_week_of_three_shifts_a_day_and_leaves_the_last_hours_free() -> None:
    now = datetime(2026, 11, 25, 13, 30, tzinfo=UTC)
    shifts = past_shifts(now)
    assert len(shifts) == 21
    assert shifts[-1].end == datetime(2026, 11, 24, 6, tzinfo=UTC)
    assert next_shift(shifts[-1].end, now) == Shift(now - SHIFT, now)
    assert past_shifts(now + timedelta(hours=1))[-1].end == now.replace(hour=6, minute=0)


def test_a_shift_soon_after_another_is_told_faster_and_never_overlaps_it() -> None:
    soon = START + timedelta(minutes=10)
    shift = next_shift(START, soon)
    assert shift == Shift(START, soon)
    events = simulate(shift)
    assert len(events) >= 500
    assert START <= events[0].time <= events[-1].time < soon
    assert next_shift(START, START).end > START
