"""Finds the subscriptions that want an event without asking each of them.

Subscriptions are kept by tenant and event type, and there by the rarest thing that must be true
of an event before their filters can be: an attribute's text, its beginning or end, a value of
the payload, the pattern of the routing key. What is found that way is then evaluated, equal
filters once. Filters of which nothing can be looked up (only ranges, `not`, `exists`) are
evaluated for every event of their type.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from lineshaft_contracts.filters import FILTERS, Filter

from lineshaft_event_router.filters.compiling import compile_filters
from lineshaft_event_router.filters.covers import Cover, Key, Look, covers, types_of
from lineshaft_event_router.filters.events import Event, Predicate
from lineshaft_event_router.filters.shelf import Shelf, Values
from lineshaft_event_router.filters.topics import TopicTrie, words_of

K = TypeVar("K", bound=Hashable)
NO_TOPICS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which events a subscription wants: those of which all of this is true."""

    tenant: str | None = None
    """None for those of every tenant."""
    types: frozenset[str] = frozenset()
    """Empty for every type."""
    source: str | None = None
    """None for every source."""
    topics: frozenset[str] = frozenset()
    """Patterns of the routing key, one of which has to match; empty for every key."""
    filters: tuple[Filter, ...] = ()


class _Place(NamedTuple):
    """Where a subscription is kept: on the shelf of a type, under each key of a cover."""

    type_: str | None
    cover: Cover


class _Entry(NamedTuple):
    selection: Selection
    predicate: Predicate
    places: tuple[_Place, ...]


class _Scope(Generic[K]):
    """The subscriptions of one tenant, or those of every tenant."""

    def __init__(self) -> None:
        self.shelves: dict[str | None, Shelf[K]] = {}
        self.topics = TopicTrie[str]()
        self.uses: dict[str, int] = {}
        """How many subscriptions have each pattern."""

    def use_topic(self, pattern: str) -> None:
        self.uses[pattern] = self.uses.get(pattern, 0) + 1
        if self.uses[pattern] == 1:
            self.topics.add(pattern, pattern)

    def drop_topic(self, pattern: str) -> None:
        self.uses[pattern] -= 1
        if not self.uses[pattern]:
            del self.uses[pattern]
            self.topics.remove(pattern, pattern)


class SubscriptionIndex(Generic[K]):
    """Subscriptions by their keys; `match` gives the keys of those that want an event."""

    def __init__(self) -> None:
        self._scopes: dict[str | None, _Scope[K]] = {}
        self._entries: dict[K, _Entry] = {}
        self._predicates = WeakValueDictionary[bytes, Predicate]()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def add(self, key: K, selection: Selection) -> None:
        """Add a subscription, or replace the one of this key.

        Raises CesqlSyntaxError or PatternError, and changes nothing, for filters that `checking`
        would have refused.
        """
        filters = selection.filters
        if selection.source is not None:
            filters = (Filter(exact={"source": selection.source}), *filters)
        predicate, found = self._predicate(filters), covers(filters)
        self.remove(key)
        scope = self._scopes.setdefault(selection.tenant, _Scope())
        for pattern in selection.topics:
            scope.use_topic(pattern)
        if selection.topics:
            found.append(frozenset(Key(Look.TOPIC, None, one) for one in selection.topics))
        places = list[_Place]()
        for type_ in selection.types or types_of(found) or (None,):
            shelf = scope.shelves.setdefault(type_, Shelf())
            cover = shelf.choose(found)
            shelf.put(cover, (selection.topics, predicate), key)
            places.append(_Place(type_, cover))
        self._entries[key] = _Entry(selection, predicate, tuple(places))

    def remove(self, key: K) -> None:
        """Forget a subscription, if it is known."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        selection = entry.selection
        scope = self._scopes[selection.tenant]
        for type_, cover in entry.places:
            shelf = scope.shelves[type_]
            shelf.take_away(cover, (selection.topics, entry.predicate), key)
            if shelf.is_empty():
                del scope.shelves[type_]
        for pattern in selection.topics:
            scope.drop_topic(pattern)
        if not scope.shelves:
            del self._scopes[selection.tenant]

    def match(self, event: Event, routing_key: str = "") -> list[K]:
        """Return the keys of the subscriptions that want an event, each once."""
        found: dict[K, None] = {}
        values: Values = {}
        type_ = event.get("type")
        tenant = event.get("tenant")
        for whose in (None,) if tenant is None else (tenant, None):
            scope = self._scopes.get(whose)
            if scope is None:
                continue
            topics = NO_TOPICS
            if scope.uses:
                topics = frozenset(scope.topics.find(words_of(routing_key)))
            shelf = scope.shelves.get(type_)
            if shelf is not None:
                shelf.collect(event, topics, values, found)
            shelf = scope.shelves.get(None)
            if shelf is not None and type_ is not None:
                shelf.collect(event, topics, values, found)
        return list(found)

    def _predicate(self, filters: Sequence[Filter]) -> Predicate:
        """Compile filters, or find the function that equal filters have already."""
        written = FILTERS.dump_json(tuple(filters))
        predicate = self._predicates.get(written)
        if predicate is None:
            predicate = compile_filters(filters)
            self._predicates[written] = predicate
        return predicate
