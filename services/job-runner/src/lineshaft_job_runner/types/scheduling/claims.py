"""Measures a finished schedule anew, for the validator: what it claims to reach, it reaches."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from lineshaft_contracts.scheduling import Assignment, Objective, ScheduleParameters
from lineshaft_contracts.scheduling_plan import Plan
from lineshaft_contracts.scheduling_plant import RoutingOperation


def wrong_claims(
    plan: Plan,
    parameters: ScheduleParameters,
    assignments: Sequence[Assignment],
    claims: Mapping[Objective, float],
) -> list[str]:
    """Compare claimed objectives, in minutes, with the schedule; rounding is allowed for."""
    tick = parameters.tick_seconds / 60
    weights = sum(order.weight for order in plan.orders)
    allowed = {
        Objective.MAKESPAN: tick,
        Objective.WEIGHTED_TARDINESS: tick * weights,
        Objective.SETUP: 2 * tick * len(assignments),
        Objective.LEAD_TIME: 2 * tick * len(plan.orders),
    }
    measured = _Measurement(plan, parameters, assignments)
    return [
        f"claims a {name} of {claim:g} min, but has {found:g}"
        for name, claim in claims.items()
        if abs((found := measured.of(name)) - claim) > allowed[name] + 1e-6
    ]


class _Measurement:
    def __init__(
        self, plan: Plan, parameters: ScheduleParameters, assignments: Sequence[Assignment]
    ) -> None:
        self._plan = plan
        self._start = parameters.horizon_start
        self._assignments = assignments
        routings = {routing.id: routing.operations for routing in plan.routings}
        self._steps = {
            (order.id, step.id): step for order in plan.orders for step in routings[order.routing]
        }

    def of(self, objective: Objective) -> float:
        match objective:
            case Objective.MAKESPAN:
                return max([0.0, *(self._minutes(one.end) for one in self._assignments)])
            case Objective.WEIGHTED_TARDINESS:
                return sum(self._tardiness())
            case Objective.SETUP:
                return sum(self._setups()) + sum(self._changeovers())
            case Objective.LEAD_TIME:
                return sum(self._lead_times())

    def _minutes(self, moment: datetime) -> float:
        return (moment - self._start) / timedelta(minutes=1)

    def _ends(self) -> dict[str, datetime]:
        ends: dict[str, datetime] = {}
        for one in self._assignments:
            ends[one.order] = max(one.end, ends.get(one.order, one.end))
        return ends

    def _tardiness(self) -> Iterator[float]:
        ends = self._ends()
        for order in self._plan.orders:
            if order.due_at is not None and ends[order.id] > order.due_at:
                yield order.weight * ((ends[order.id] - order.due_at) / timedelta(minutes=1))

    def _setups(self) -> Iterator[float]:
        for one in self._assignments:
            for way in self._steps[one.order, one.operation].alternatives:
                if way.resource == one.resource and not one.frozen:
                    yield way.setup_minutes

    def _changeovers(self) -> Iterator[float]:
        matrices = {matrix.id: matrix for matrix in self._plan.changeovers}
        for resource in self._plan.resources:
            if resource.changeover is None:
                continue
            matrix = matrices[resource.changeover]
            times = {(one.from_group, one.to_group): one.minutes for one in matrix.times}
            group = resource.initial_group
            there = [one for one in self._assignments if one.resource == resource.id]
            for one in sorted(there, key=lambda one: one.start):
                after = self._group(one)
                if group is not None and after is not None:
                    usual = 0.0 if group == after else matrix.default_minutes
                    yield times.get((group, after), usual)
                group = after

    def _group(self, one: Assignment) -> str | None:
        step: RoutingOperation = self._steps[one.order, one.operation]
        return step.changeover_group

    def _lead_times(self) -> Iterator[float]:
        ends, starts = self._ends(), dict[str, datetime]()
        for one in self._assignments:
            starts[one.order] = min(one.start, starts.get(one.order, one.start))
        for order in self._plan.orders:
            due = order.due_at or self._start
            yield (max(due, ends[order.id]) - starts[order.id]) / timedelta(minutes=1)
