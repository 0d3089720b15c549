"""The subscriptions to one event type of one tenant, by the keys they are found by."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Hashable, Iterable
from typing import Any, Generic, TypeAlias, TypeVar

from lineshaft_event_router.filters.cesql_values import Failure, primitive, to_integer
from lineshaft_event_router.filters.covers import Cover, Key, Look
from lineshaft_event_router.filters.events import Event, Predicate, text_of

K = TypeVar("K", bound=Hashable)
Condition: TypeAlias = tuple[frozenset[str], Predicate]
"""The patterns of the routing key, of which one has to match if there are any, and the filters."""
Drawer: TypeAlias = dict[Condition, dict[K, None]]
"""Subscriptions that are found by one key, those with equal conditions together."""
Path: TypeAlias = tuple[str, ...]
Values: TypeAlias = dict[Path, Collection[Any]]
"""The plain values of one event's payload by their path, as far as somebody asked for them."""

NEW_PLACE_WEIGHT = 2.0
"""A place that is not looked at yet costs every event a look."""
OPENED_MANY = 16
"""From so many drawers on, it pays to remember what was evaluated."""
SHORT_END_WEIGHT = 20.0
"""By the length of a beginning or end: all sources of a tenant begin with its name."""
_WEIGHTS = {
    Look.ATTRIBUTE: 0.0,
    Look.PAYLOAD: 0.2,
    Look.TOPIC: 0.4,
    Look.PREFIX: 1.0,
    Look.SUFFIX: 1.0,
    Look.ATTRIBUTE_ABOVE: 4.0,
    Look.ATTRIBUTE_BELOW: 4.0,
    Look.PAYLOAD_ABOVE: 4.0,
    Look.PAYLOAD_BELOW: 4.0,
}
"""How many events a key of each kind is likely to let through, beside each other."""
_ENDS = frozenset({Look.PREFIX, Look.SUFFIX})
_ABOVE = frozenset({Look.ATTRIBUTE_ABOVE, Look.PAYLOAD_ABOVE})
_RANGES = frozenset({*_ABOVE, Look.ATTRIBUTE_BELOW, Look.PAYLOAD_BELOW})
_NOWHERE: Cover = frozenset()
_PLAIN = frozenset({str, int, float})


class Shelf(Generic[K]):
    """Subscriptions by what an event must have before they can want it."""

    def __init__(self) -> None:
        self._places: dict[tuple[Look, Any], dict[Any, Drawer[K]]] = {}
        self._rest: Drawer[K] = {}
        self._attributes: list[tuple[str, dict[Any, Drawer[K]]]] = []
        self._ends: list[tuple[str, list[tuple[slice, dict[Any, Drawer[K]]]]]] = []
        self._payload: list[tuple[Path, dict[Any, Drawer[K]]]] = []
        self._topics: dict[Any, Drawer[K]] = {}
        self._ranges: list[tuple[Look, Any, list[Any], dict[Any, Drawer[K]]]] = []

    def is_empty(self) -> bool:
        """Tell whether nothing is left."""
        return not self._places and not self._rest

    def choose(self, found: Iterable[Cover]) -> Cover:
        """Return the cover under which a subscription is asked least often; empty for none."""
        usable = [one for one in found if not any(_is_type(key) for key in one)]
        return min(usable, key=self._weight, default=_NOWHERE)

    def _weight(self, cover: Cover) -> float:
        weight = 0.0
        for key in cover:
            drawers = self._places.get(_place(key))
            if drawers is None:
                weight += NEW_PLACE_WEIGHT
            elif key.value in drawers:
                weight += len(drawers[key.value])
            weight += _WEIGHTS[key.look]
            if key.look in _ENDS:
                weight += SHORT_END_WEIGHT / len(key.value)
        return weight

    def put(self, cover: Cover, condition: Condition, key: K) -> None:
        """Keep a subscription under every key of a cover."""
        if not cover:
            self._rest.setdefault(condition, {})[key] = None
        for one in cover:
            place = _place(one)
            if place not in self._places:
                self._places[place] = {}
                self._arrange()
            drawers = self._places[place]
            if one.value not in drawers:
                drawers[one.value] = {}
                for bounds in self._bounds(place):
                    insort(bounds, one.value)
            drawers[one.value].setdefault(condition, {})[key] = None

    def take_away(self, cover: Cover, condition: Condition, key: K) -> None:
        """Forget what `put` kept."""
        if not cover:
            _drop(self._rest, condition, key)
        for one in cover:
            place = _place(one)
            drawers = self._places[place]
            _drop(drawers[one.value], condition, key)
            if not drawers[one.value]:
                del drawers[one.value]
                for bounds in self._bounds(place):
                    del bounds[bisect_left(bounds, one.value)]
            if not drawers:
                del self._places[place]
                self._arrange()

    def _arrange(self) -> None:
        """Sort the places by how they are looked at."""
        self._attributes, self._payload, self._ranges, self._topics = [], [], [], {}
        ends = dict[str, list[tuple[slice, dict[Any, Drawer[K]]]]]()
        for (look, where), drawers in self._places.items():
            match look:
                case Look.ATTRIBUTE:
                    self._attributes.append((where, drawers))
                case Look.PAYLOAD:
                    self._payload.append((where, drawers))
                case Look.TOPIC:
                    self._topics = drawers
                case Look.PREFIX:
                    ends.setdefault(where[0], []).append((slice(where[1]), drawers))
                case Look.SUFFIX:
                    ends.setdefault(where[0], []).append((slice(-where[1], None), drawers))
                case _:
                    self._ranges.append((look, where, sorted(drawers), drawers))
        self._ends = list(ends.items())

    def _bounds(self, place: tuple[Look, Any]) -> list[list[Any]]:
        """Return the bounds of the ranges at a place, in order; nothing for other places."""
        return [bounds for *where, bounds, _ in self._ranges if tuple(where) == place]

    def collect(
        self, event: Event, topics: frozenset[str], values: Values, found: dict[K, None]
    ) -> None:
        """Add the keys of the subscriptions that want an event."""
        opened = self._opened(event, topics, values)
        if len(opened) > OPENED_MANY:
            self._collect_once(opened, event, topics, found)
            return
        for drawer in opened:
            for (wanted, predicate), keys in drawer.items():
                if (not wanted or not wanted.isdisjoint(topics)) and predicate(event):
                    found.update(keys)

    def _collect_once(
        self,
        opened: Iterable[Drawer[K]],
        event: Event,
        topics: frozenset[str],
        found: dict[K, None],
    ) -> None:
        """Do the same, but evaluate what is found by several keys of the event only once."""
        verdicts: dict[Condition, bool] = {}
        for drawer in opened:
            for condition, keys in drawer.items():
                verdict = verdicts.get(condition)
                if verdict is None:
                    wanted, predicate = condition
                    verdict = not wanted or not wanted.isdisjoint(topics)
                    verdict = verdicts[condition] = verdict and predicate(event)
                if verdict:
                    found.update(keys)

    def _opened(  # noqa: C901, PLR0912 - the innermost loop, where a call more is 5 % of it
        self, event: Event, topics: frozenset[str], values: Values
    ) -> list[Drawer[K]]:
        """Return the drawers that the event's own keys open."""
        opened = [self._rest]
        for name, drawers in self._attributes:
            value = event.get(name)
            if value is not None:
                drawer = drawers.get(value if value.__class__ is str else text_of(value))
                if drawer is not None:
                    opened.append(drawer)
        for name, cuts in self._ends:
            value = event.get(name)
            if value is not None:
                text = value if value.__class__ is str else text_of(value)
                for cut, drawers in cuts:
                    drawer = drawers.get(text[cut])
                    if drawer is not None:
                        opened.append(drawer)
        for path, drawers in self._payload:
            known = values.get(path)
            if known is None:
                known = values[path] = _values_at(event.get("data"), path)
            for value in known:
                drawer = drawers.get(value)
                if drawer is not None:
                    opened.append(drawer)
        if self._topics:
            opened += [self._topics[one] for one in topics if one in self._topics]
        for look, where, bounds, drawers in self._ranges:
            numbers = _numbers(look, where, event, values)
            if numbers:
                if look in _ABOVE:
                    met = bounds[: bisect_right(bounds, max(numbers))]
                else:
                    met = bounds[bisect_left(bounds, min(numbers)) :]
                opened += [drawers[bound] for bound in met]
        return opened


def _is_type(key: Key) -> bool:
    return key.look is Look.ATTRIBUTE and key.place == "type"


def _place(key: Key) -> tuple[Look, Any]:
    if key.look in _ENDS:
        return key.look, (key.place, len(key.value))
    return key.look, key.place


def _numbers(look: Look, where: Any, event: Event, values: Values) -> Collection[Any]:
    """Return the numbers of an event that ranges at a place speak of."""
    if look is Look.PAYLOAD_ABOVE or look is Look.PAYLOAD_BELOW:
        if where not in values:
            values[where] = _values_at(event.get("data"), where)
        return [value for value in values[where] if value.__class__ is not str]
    value = event.get(where)
    if value.__class__ is int:
        return (value,)
    number = None if value is None else to_integer(primitive(value))
    return () if number is None or isinstance(number, Failure) else (number,)


def _drop(drawer: Drawer[K], condition: Condition, key: K) -> None:
    keys = drawer[condition]
    del keys[key]
    if not keys:
        del drawer[condition]


def _values_at(value: Any, path: Path) -> Collection[Any]:
    """Return the different plain values of the payload at a path, through arrays on the way."""
    for depth, name in enumerate(path):
        if value.__class__ is not dict:
            return set(_gathered(value, path, depth)) if value.__class__ is list else ()
        value = value.get(name)
    if value.__class__ in _PLAIN:
        return (value,)
    return set(_gathered(value, path, len(path))) if value.__class__ is list else ()


def _gathered(array: Any, path: Path, depth: int) -> list[Any]:
    """Return the plain values below an array that is reached by so many names of a path."""
    name = path[depth] if depth < len(path) else None
    is_last = depth + 1 == len(path)
    gathered = list[Any]()
    for one in array:
        kind = one.__class__
        if kind is dict:
            inner = None if name is None else one.get(name)
            if inner.__class__ in _PLAIN and is_last:
                gathered.append(inner)
            elif inner is not None:
                gathered += _values_at(inner, path[depth + 1 :])
        elif kind is list:
            gathered += _gathered(one, path, depth)
        elif name is None and kind in _PLAIN:
            gathered.append(one)
    return gathered
