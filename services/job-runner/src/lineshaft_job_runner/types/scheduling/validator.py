"""Checks a finished schedule against the plan; it shares no code with what made the schedule."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise

from lineshaft_contracts.scheduling import Assignment, ScheduleParameters
from lineshaft_contracts.scheduling_plan import Plan
from lineshaft_contracts.scheduling_plant import (
    Alternative,
    ChangeoverMatrix,
    ExistingAssignment,
    Order,
    Resource,
    RoutingOperation,
)

from lineshaft_job_runner.types.scheduling.wall_clock import OpeningHours, minutes_of


class Validator:
    """Every rule of a plan, each checked in the plainest way there is."""

    def __init__(self, plan: Plan, parameters: ScheduleParameters) -> None:
        self._parameters = parameters
        self._plan = plan
        self._tick = timedelta(seconds=parameters.tick_seconds)
        self._resources = {resource.id: resource for resource in plan.resources}
        self._orders = {order.id: order for order in plan.orders}
        self._given = {(given.order, given.operation): given for given in plan.assignments}
        routings = {routing.id: routing.operations for routing in plan.routings}
        self._steps = {order.id: routings[order.routing] for order in plan.orders}
        calendars = {calendar.id: calendar for calendar in plan.calendars}
        self._hours = {
            r.id: OpeningHours(r, calendars.get(r.calendar or ""), parameters.timezone)
            for r in plan.resources
        }
        self._matrices = {matrix.id: matrix for matrix in plan.changeovers}

    def violations(self, assignments: Sequence[Assignment]) -> list[str]:
        """Return every broken rule in words; an empty list is a valid schedule."""
        found = list(self._completeness(assignments))
        if found:
            return found
        at = {(one.order, one.operation): one for one in assignments}
        for one in assignments:
            found += self._of_one(one)
        for order in self._plan.orders:
            found += self._precedence(order, at)
        for resource in self._plan.resources:
            found += self._capacity(resource, assignments)
            if resource.changeover is not None:
                matrix = self._matrices[resource.changeover]
                found += self._changeovers(resource, matrix, assignments)
        return found

    def _completeness(self, assignments: Sequence[Assignment]) -> Iterator[str]:
        wanted = {(o.id, step.id) for o in self._plan.orders for step in self._steps[o.id]}
        counts = Counter((one.order, one.operation) for one in assignments)
        yield from (f"{name} is not planned" for name in sorted(wanted - counts.keys()))
        yield from (f"{name} is unknown" for name in sorted(counts.keys() - wanted))
        yield from (f"{name} is there {n} times" for name, n in counts.items() if n > 1)

    def _is_frozen(self, given: ExistingAssignment | None) -> bool:
        until = self._parameters.frozen_until
        return given is not None and (given.locked or (until is not None and given.start < until))

    def _of_one(self, one: Assignment) -> Iterator[str]:
        name = f"operation {one.operation!r} of order {one.order!r}"
        given = self._given.get((one.order, one.operation))
        if given is not None and self._is_frozen(given):
            there = (given.resource, given.start, given.end)
            if (one.resource, one.start, one.end) != there or not one.frozen:
                yield f"{name} is frozen, but was moved"
            return
        if one.frozen:
            yield f"{name} is not frozen"
        step = self._step(one)
        way = next((way for way in step.alternatives if way.resource == one.resource), None)
        if way is None:
            yield f"{name} cannot be done on {one.resource!r}"
            return
        yield from (f"{name} {finding}" for finding in self._times(one, step))
        yield from (f"{name} {finding}" for finding in self._segments(one, step, way))

    def _step(self, one: Assignment) -> RoutingOperation:
        return next(step for step in self._steps[one.order] if step.id == one.operation)

    def _times(self, one: Assignment, step: RoutingOperation) -> Iterator[str]:
        order, parameters = self._orders[one.order], self._parameters
        if not parameters.horizon_start <= one.start < one.end <= parameters.ends_at:
            yield "is outside of the horizon"
        if (one.start - parameters.horizon_start) % self._tick:
            yield "does not start at a tick"
        if parameters.frozen_until is not None and one.start < parameters.frozen_until:
            yield "starts in the frozen zone"
        if order.release_at is not None and one.start < order.release_at:
            yield "starts before the release of its order"
        first = self._steps[one.order][0].id
        for material in order.materials:
            if (material.operation or first) == step.id and one.start < material.available_at:
                yield f"starts before {material.material!r} is available"

    def _segments(
        self, one: Assignment, step: RoutingOperation, way: Alternative
    ) -> Iterator[str]:
        parts, needed = one.segments, [way.resource, *(n.resource for n in way.requirements)]
        if not parts or parts[0].start != one.start or parts[-1].end != one.end:
            yield "has segments that are not its span"
            return
        if len(parts) > 1 and not step.interruptible:
            yield "is interrupted, but must not be"
        for part in parts:
            if part.start >= part.end or not self._all_open(needed, part.start, part.end):
                yield f"works outside of the calendar between {part.start} and {part.end}"
        for before, after in pairwise(parts):
            if before.end >= after.start or self._some_open(needed, before.end, after.start):
                yield f"rests in working time between {before.end} and {after.start}"
        worked = sum((part.end - part.start for part in parts), timedelta())
        expected = self._duration(self._orders[one.order], way)
        if worked != expected:
            yield f"is worked on for {worked}, but takes {expected}"

    def _all_open(self, needed: list[str], start: datetime, end: datetime) -> bool:
        minutes = list(minutes_of(start, end))
        return all(self._hours[name].open_at(minute) for name in needed for minute in minutes)

    def _some_open(self, needed: list[str], start: datetime, end: datetime) -> bool:
        return any(
            all(self._hours[name].open_at(minute) for name in needed)
            for minute in minutes_of(start, end)
        )

    def _duration(self, order: Order, way: Alternative) -> timedelta:
        """Return set-up and run time, rounded up to ticks."""
        with localcontext(prec=100):
            run = Decimal(str(way.run_seconds_per_unit)) * Decimal(str(order.quantity))
            efficiency = Decimal(str(way.efficiency)) * Decimal(
                str(self._resources[way.resource].efficiency)
            )
            # Multiplied by the efficiency, everything is exact: 1 / 0.3 is not.
            scaled = Decimal(str(way.setup_minutes)) * 60 * efficiency + run
            unit = self._tick.seconds * efficiency
            ticks = int(scaled // unit) + (1 if scaled % unit else 0)
        return max(1, ticks) * self._tick

    def _precedence(self, order: Order, at: dict[tuple[str, str], Assignment]) -> Iterator[str]:
        steps = self._steps[order.id]
        for number, step in enumerate(steps):
            befores = step.after if step.after is not None else [s.id for s in steps[:number]][-1:]
            later = at[order.id, step.id]
            for name in befores:
                earlier = at[order.id, name]
                lag = timedelta(minutes=step.lag_minutes)
                if later.start < earlier.end + lag and not (earlier.frozen and later.frozen):
                    yield (
                        f"operation {step.id!r} of order {order.id!r} starts before {name!r} "
                        "is done"
                    )

    def _needs(self, one: Assignment) -> dict[str, int]:
        for way in self._step(one).alternatives:
            if way.resource == one.resource:
                return {one.resource: 1, **{n.resource: n.quantity for n in way.requirements}}
        return {one.resource: 1}

    def _capacity(self, resource: Resource, assignments: Sequence[Assignment]) -> Iterator[str]:
        steps: dict[datetime, int] = defaultdict(int)
        for one in assignments:
            quantity = self._needs(one).get(resource.id, 0)
            steps[one.start] += quantity
            steps[one.end] -= quantity
        used = 0
        for moment in sorted(steps):
            used += steps[moment]
            if used > resource.capacity:
                yield (
                    f"{used} of {resource.capacity} slots of {resource.id!r} in use at {moment}"
                )

    def _changeovers(
        self, resource: Resource, matrix: ChangeoverMatrix, assignments: Sequence[Assignment]
    ) -> Iterator[str]:
        there = [one for one in assignments if one.resource == resource.id]
        group, ready, frozen = resource.initial_group, self._parameters.horizon_start, True
        for one in sorted(there, key=lambda one: one.start):
            after = self._step(one).changeover_group
            needed = _changeover_minutes(matrix, group, after) * 60
            free = self._hours[resource.id].open_seconds(ready, max(ready, one.start))
            if free < needed - 1e-6 and not (frozen and one.frozen):
                yield (
                    f"{resource.id!r} has {free / 60:g} min to change over from {group!r} to "
                    f"{after!r} before {one.start}, and needs {needed / 60:g}"
                )
            group, ready, frozen = after, one.end, one.frozen


def _changeover_minutes(matrix: ChangeoverMatrix, before: str | None, after: str | None) -> float:
    if before is None or after is None:
        return 0.0
    for one in matrix.times:
        if (one.from_group, one.to_group) == (before, after):
            return one.minutes
    return 0.0 if before == after else matrix.default_minutes
