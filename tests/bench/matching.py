"""Events matched per second against 100 to 10,000 mixed subscriptions, in one process on one core.

The subscriptions are narrow, as those of applications are: an order, a lot, a line, a work unit;
the plant has as many of these as there are subscriptions, so an event is wanted by about as many
subscriptions whatever their number. Twenty broad ones (dashboards, archives, ranges) stay twenty.
"""

import argparse
import gc
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from lineshaft_contracts.filters import FILTERS
from lineshaft_event_router.filters.compiling import compile_filters
from lineshaft_event_router.filters.events import Event, Predicate
from lineshaft_event_router.filters.index import Selection, SubscriptionIndex
from lineshaft_event_router.filters.topics import topic_matches
from pydantic_core import from_json, to_json

from . import expressions, report

SITES = ("north", "south", "east", "west")
AREAS = ("stamping", "welding", "painting", "assembly")
PRIORITIES = ("critical", "high", "normal", "low")
TYPES = {
    "order-progressed": "production",
    "unit-produced": "production",
    "lot-moved": "inventory",
    "lot-consumed": "inventory",
    "alert-raised": "quality",
    "test-result-recorded": "quality",
    "state-changed": "resource",
    "nonconformance-opened": "quality",
}


class Plant:
    """Random events and subscriptions of a plant of a given size, the same for the same seed."""

    def __init__(self, size: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.size = size

    def number(self) -> int:
        return self.random.randrange(self.size)

    def place(self) -> tuple[str, str, str, str]:
        n = self.number()
        site, area = SITES[n % 4], AREAS[n // 4 % 4]
        return site, area, f"line-{n // 16}", f"unit-{n}"

    def type_(self) -> str:
        event = self.random.choice(list(TYPES))
        return f"plant.{TYPES[event]}.{event}.v1"

    def event(self) -> tuple[Event, str]:
        """Return an event and its routing key."""
        type_, words = self.type_(), self.place()
        priority = self.random.choice(PRIORITIES)
        event = {
            "specversion": "1.0",
            "id": f"{self.random.getrandbits(96):024x}",
            "source": "/acme/" + "/".join(words),
            "type": type_,
            "subject": f"order-{self.number()}",
            "time": "2026-11-25T09:00:00Z",
            "datacontenttype": "application/json",
            "tenant": "acme",
            "priority": priority,
            "partitionkey": f"order-{self.number()}",
            "severity": self.random.randrange(1, 1001),
            "data": {
                "job_order_id": f"order-{self.number()}",
                "material_definition_id": f"material-{self.number()}",
                "material_lot_id": f"lot-{self.number()}",
                "severity": self.random.randrange(1, 1001),
                "condition_name": self.random.choice(("torque low", "torque high", "too hot")),
                "quantity": {
                    "good": {"value": str(self.number() % 100), "uom": "pcs"},
                    "scrap": {"value": "1", "uom": "pcs"},
                },
                "material_actual": [
                    {
                        "material_definition_id": f"material-{self.number()}",
                        "material_use": use,
                        "quantity": {"value": "2.5", "uom": "kg"},
                    }
                    for use in ("consumed", "consumable", "produced")
                ],
            },
        }
        return event, ".".join(("acme", *words, type_.split(".")[2], priority))

    def selection(self) -> Selection:
        """Return a narrow subscription of one of ten shapes."""
        site, area, line, unit = self.place()
        order, lot, material = (f"{x}-{self.number()}" for x in ("order", "lot", "material"))
        above = self.random.randrange(1000)
        topics, filters = frozenset[str](), list[Any]()
        match self.random.randrange(10):
            case 0:
                filters = [{"exact": {"subject": order}}]
            case 1:
                filters = [{"prefix": {"source": f"/acme/{site}/{area}/{line}/{unit}"}}]
            case 2:
                topics = frozenset({f"acme.*.*.{line}.{unit}.#"})
            case 3:
                topics = frozenset({f"#.{unit}.*.critical", f"#.{unit}.*.high"})
            case 4:
                severity = [{"numeric": [">=", above]}]
                filters = [{"data": {"material_lot_id": [lot], "severity": severity}}]
            case 5:
                use = {"material_definition_id": [material], "material_use": ["consumed"]}
                filters = [{"data": {"material_actual": use}}]
            case 6:
                filters = [{"sql": f"subject = '{order}' AND severity > {above}"}]
            case 7:
                filters = [{"sql": f"source LIKE '/acme/%/{unit}' AND NOT (priority = 'low')"}]
            case 8:
                either = [{"exact": {"subject": order}}, {"exact": {"partitionkey": order}}]
                filters = [{"any": either}, {"not": {"exact": {"priority": "low"}}}]
            case _:
                filters = [{"suffix": {"source": f"/{unit}"}}]
        types = frozenset({self.type_(), self.type_()} if self.random.random() < 0.7 else ())
        return Selection(
            tenant="acme", types=types, topics=topics, filters=FILTERS.validate_python(filters)
        )

    def broad(self) -> Iterator[Selection]:
        """Give twenty subscriptions that nothing can be looked up for, or that want everything."""
        for n in range(20):
            filters: list[Any] = [
                {"not": {"exact": {"priority": PRIORITIES[n % 4]}}},
                {"data": {"severity": [{"numeric": [">", 995 - n]}]}},
            ]
            chosen = FILTERS.validate_python(filters if n >= 4 else [])
            types = frozenset({self.type_()}) if n < 4 else frozenset[str]()
            yield Selection(tenant="acme", types=types, filters=chosen)


class EachInTurn:
    """What one writes first: every subscription is asked, with its filters compiled."""

    def __init__(self, selections: Sequence[Selection]) -> None:
        self._asked: list[tuple[int, Selection, Predicate]] = [
            (key, one, compile_filters(one.filters)) for key, one in enumerate(selections)
        ]

    def match(self, event: Event, key: str) -> list[int]:
        return [
            number
            for number, one, predicate in self._asked
            if (not one.types or event["type"] in one.types)
            and (not one.topics or any(topic_matches(topic, key) for topic in one.topics))
            and predicate(event)
        ]


class Trial:
    """One number of subscriptions: an index, events, and the seconds that were measured."""

    def __init__(self, subscriptions: int, arguments: argparse.Namespace) -> None:
        plant = Plant(subscriptions, arguments.seed)
        self.selections = [*plant.broad()]
        missing = subscriptions - len(self.selections)
        self.selections += [plant.selection() for _ in range(missing)]
        self.index = SubscriptionIndex[int]()
        started = time.process_time()
        for key, selection in enumerate(self.selections):
            self.index.add(key, selection)
        self.add_seconds = (time.process_time() - started) / subscriptions
        self.events = [plant.event() for _ in range(arguments.events)]
        self.bodies = [(to_json(event), key) for event, key in self.events]
        self.matches = 0
        self.matching: list[float] = []
        self.with_parsing: list[float] = []
        self.in_turn: list[float] = []

    def check_and_ask_in_turn(self) -> None:
        """Time the evaluation of every subscription, and compare what both find."""
        in_turn = EachInTurn(self.selections)
        few = self.events[: max(20, 20_000 // len(self.selections))]
        started = time.process_time()
        expected = [in_turn.match(event, key) for event, key in few]
        self.in_turn.append((time.process_time() - started) / len(few))
        assert [sorted(self.index.match(event, key)) for event, key in few] == expected

    def match(self) -> None:
        """Time the matching of parsed events, and of events as they come from the broker."""
        match = self.index.match
        started = time.process_time()
        self.matches = sum(len(match(event, key)) for event, key in self.events)
        self.matching.append((time.process_time() - started) / len(self.events))
        started = time.process_time()
        for body, key in self.bodies:
            match(from_json(body), key)
        self.with_parsing.append((time.process_time() - started) / len(self.bodies))

    def row(self) -> dict[str, float]:
        """Return the best of the rounds: whatever else the machine does only adds to them."""
        return {
            "subscriptions": len(self.selections),
            "events_per_second": 1 / min(self.matching),
            "microseconds": min(self.matching) * 1e6,
            "microseconds_median": statistics.median(self.matching) * 1e6,
            "with_parsing_per_second": 1 / min(self.with_parsing),
            "in_turn_per_second": 1 / min(self.in_turn),
            "matches_per_event": self.matches / len(self.events),
            "microseconds_per_add": self.add_seconds * 1e6,
        }


def main() -> None:
    """Measure the numbers of subscriptions by turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--alone", action="store_true", help="without the other engines")
    arguments = parser.parse_args()
    trials = [Trial(size, arguments) for size in arguments.sizes]
    for trial in trials:
        trial.check_and_ask_in_turn()
    gc.collect()
    for _ in range(arguments.rounds):
        for trial in trials:
            trial.match()
    rows = [trial.row() for trial in trials]
    for row in rows:
        report.write("matching", row)
    head = ["subscriptions", "events/s", "µs/event", "µs/event, median"]
    head += ["events/s with JSON", "events/s each in turn", "matches/event", "µs to add one"]
    report.show(
        [
            head,
            *(
                [f"{value:,.3g}" if value < 20 else f"{value:,.0f}" for value in row.values()]
                for row in rows
            ),
        ]
    )
    print(
        f"Cost per event, most to least: {rows[-1]['microseconds'] / rows[0]['microseconds']:.2f}"
    )
    if not arguments.alone:
        expressions.compare([event for event, _ in trials[0].events], arguments.rounds)


if __name__ == "__main__":
    main()
