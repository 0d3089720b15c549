"""Which waiting jobs to start: limits, then equal shares for tenants, then rank."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID


class Group(NamedTuple):
    """Jobs that the same limits hold for."""

    tenant: str
    job_type: str
    limit_key: str
    """Empty for none."""


class Candidate(NamedTuple):
    """A job that could start."""

    rank: float
    number: int
    job_id: UUID


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How many jobs of the groups that it matches may run, or start now."""

    tenant: str
    """Empty for all tenants together."""
    name: str
    job_type: str | None = None
    limit_key: str | None = None
    running_max: int | None = None
    starts_left: float | None = None
    """None without a rate."""
    paused: bool = False

    def matches(self, group: Group) -> bool:
        """Whether it holds for the jobs of a group."""
        return (
            self.tenant in ("", group.tenant)
            and self.job_type in (None, group.job_type)
            and self.limit_key in (None, group.limit_key)
        )

    def running(self, running: Mapping[Group, int]) -> int:
        """Count what runs under it."""
        return sum(number for group, number in running.items() if self.matches(group))

    def room(self, running: int) -> int | None:
        """How many more may start now beside so many that run; None without bound."""
        if self.paused:
            return 0
        rooms: list[int] = []
        if self.running_max is not None:
            rooms.append(self.running_max - running)
        if self.starts_left is not None:
            rooms.append(int(self.starts_left))
        return max(0, min(rooms)) if rooms else None


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """What to start, and how many starts each limit pays for."""

    job_ids: tuple[UUID, ...]
    starts: Mapping[tuple[str, str], int]
    """By (tenant, name) of the limits with a rate."""


class _Tenant:
    """The waiting groups of one tenant, the one with the earliest job first."""

    def __init__(self) -> None:
        self._heads: list[tuple[Candidate, int, Group]] = []

    def add(self, group: Group, candidate: Candidate, position: int) -> None:
        heapq.heappush(self._heads, (candidate, position, group))

    def pop(self) -> tuple[Candidate, int, Group]:
        return heapq.heappop(self._heads)

    @property
    def first(self) -> Candidate | None:
        return self._heads[0][0] if self._heads else None


class _Limits:
    """Finds the limits of a group among thousands."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self.all = list(limits)
        self._by_key: defaultdict[tuple[str, str | None], list[Limit]] = defaultdict(list)
        for limit in self.all:
            self._by_key[limit.tenant, limit.limit_key].append(limit)

    def of(self, group: Group) -> list[Limit]:
        """Return those that hold for the jobs of a group."""
        return [
            limit
            for tenant in ("", group.tenant)
            for key in (None, group.limit_key)
            for limit in self._by_key.get((tenant, key), ())
            if limit.matches(group)
        ]

    def count(self, running: Mapping[Group, int]) -> Counter[int]:
        """Count what runs under each limit, by its identity."""
        counts: Counter[int] = Counter()
        for group, number in running.items():
            for limit in self.of(group):
                counts[id(limit)] += number
        return counts


class _Rooms:
    """What the limits still let start."""

    def __init__(
        self, limits: Iterable[Limit], groups: Iterable[Group], running: Mapping[Group, int]
    ) -> None:
        known = _Limits(limits)
        runs = known.count(running)
        self._left = {
            id(limit): room
            for limit in known.all
            if (room := limit.room(runs[id(limit)])) is not None
        }
        self._of = {g: [lim for lim in known.of(g) if id(lim) in self._left] for g in groups}
        self.starts: Counter[tuple[str, str]] = Counter()

    def take(self, group: Group) -> bool:
        """Pay for one start; False when a limit has no room."""
        limits = self._of[group]
        if any(self._left[id(limit)] <= 0 for limit in limits):
            return False
        for limit in limits:
            self._left[id(limit)] -= 1
            if limit.starts_left is not None:
                self.starts[limit.tenant, limit.name] += 1
        return True


def allocate(
    waiting: Mapping[Group, Sequence[Candidate]],
    running: Mapping[Group, int],
    limits: Iterable[Limit],
    *,
    places: int,
) -> Allocation:
    """Fill the places one by one.

    Each goes to the tenant that holds the fewest places now, as far as it has a job that all
    limits let start; of its jobs the one with the earliest rank. So a tenant with one job waits
    for one place, whatever the others have queued, and no tenant gains by marking all it has as
    urgent. The jobs of a group have to be in order.
    """
    rooms = _Rooms(limits, waiting, running)
    held: Counter[str] = Counter()
    for group, number in running.items():
        held[group.tenant] += number
    tenants: defaultdict[str, _Tenant] = defaultdict(_Tenant)
    for group, candidates in waiting.items():
        tenants[group.tenant].add(group, candidates[0], 0)
    turns = [(held[name], tenant.first, name) for name, tenant in tenants.items()]
    heapq.heapify(turns)
    chosen: list[UUID] = []
    while turns and len(chosen) < places:
        _, _, name = heapq.heappop(turns)
        tenant = tenants[name]
        candidate, position, group = tenant.pop()
        if rooms.take(group):  # Otherwise nothing of the group may start, now.
            chosen.append(candidate.job_id)
            held[name] += 1
            if position + 1 < len(waiting[group]):
                tenant.add(group, waiting[group][position + 1], position + 1)
        if tenant.first is not None:
            heapq.heappush(turns, (held[name], tenant.first, name))
    return Allocation(job_ids=tuple(chosen), starts=rooms.starts)
