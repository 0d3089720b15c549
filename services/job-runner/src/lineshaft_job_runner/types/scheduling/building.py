"""Makes the solver's problem from the plan: instants become ticks, quantities durations."""

from collections.abc import Mapping
from fractions import Fraction

from lineshaft_contracts.scheduling import ScheduleParameters
from lineshaft_contracts.scheduling_plan import Plan
from lineshaft_contracts.scheduling_plant import (
    Alternative,
    ChangeoverMatrix,
    ExistingAssignment,
    Order,
    Resource,
    Routing,
    RoutingOperation,
)

from lineshaft_job_runner.types.scheduling.calendars import Clock, working_time
from lineshaft_job_runner.types.scheduling.problem import (
    Changeovers,
    Fixed,
    Machine,
    Mode,
    Need,
    Operation,
    PlannedOrder,
    Problem,
)
from lineshaft_job_runner.types.scheduling.windows import Span, Windows


def build(plan: Plan, parameters: ScheduleParameters) -> Problem:
    """Return the problem of a plan whose names are all known."""
    return _Builder(plan, parameters).problem()


def exact(number: float) -> Fraction:
    """Return the number that somebody wrote: 0.1 is a tenth."""
    return Fraction(repr(number))


class _Builder:
    def __init__(self, plan: Plan, parameters: ScheduleParameters) -> None:
        self._plan = plan
        self._parameters = parameters
        self._clock = Clock(parameters.horizon_start, parameters.tick_seconds)
        self._horizon = self._clock.ticks_down(parameters.ends_at)
        frozen = parameters.frozen_until
        self._floor = 0 if frozen is None else max(0, self._clock.ticks_up(frozen))
        self._indices = {resource.id: i for i, resource in enumerate(plan.resources)}
        self._given = {(one.order, one.operation): one for one in plan.assignments}
        self._windows = self._resource_windows()
        self._shared: dict[frozenset[int], Windows] = {}
        self._modes: dict[tuple[Alternative, float, bool], Mode] = {}

    def problem(self) -> Problem:
        """Return everything in ticks."""
        routings = {routing.id: routing for routing in self._plan.routings}
        operations: list[Operation] = []
        orders: list[PlannedOrder] = []
        for order in self._plan.orders:
            first = len(operations)
            self._add(operations, order, len(orders), routings[order.routing])
            due = None if order.due_at is None else self._clock.ticks_down(order.due_at)
            orders.append(
                PlannedOrder(
                    id=order.id,
                    weight=order.weight,
                    due=due,
                    operations=range(first, len(operations)),
                )
            )
        return Problem(
            parameters=self._parameters,
            clock=self._clock,
            horizon=self._horizon,
            orders=tuple(orders),
            operations=tuple(operations),
            machines=self._machines(),
        )

    def _resource_windows(self) -> list[Windows]:
        always = Windows([Span(0, self._horizon)])
        by_calendar = {
            calendar.id: working_time(
                calendar,
                zone=self._parameters.timezone,
                clock=self._clock,
                horizon=self._horizon,
            )
            for calendar in self._plan.calendars
        }
        found: list[Windows] = []
        for resource in self._plan.resources:
            windows = always if resource.calendar is None else by_calendar[resource.calendar]
            closed = [
                Span(self._clock.ticks_down(c.start), self._clock.ticks_up(c.end))
                for c in resource.closures
            ]
            found.append(windows.without(closed))
        return found

    def _machines(self) -> tuple[Machine, ...]:
        matrices = {m.id: self._changeovers(m) for m in self._plan.changeovers}
        return tuple(
            Machine(
                id=resource.id,
                capacity=resource.capacity,
                windows=windows,
                changeovers=matrices[resource.changeover] if resource.changeover else None,
                initial_group=resource.initial_group,
            )
            for resource, windows in zip(self._plan.resources, self._windows, strict=True)
        )

    def _changeovers(self, matrix: ChangeoverMatrix) -> Changeovers:
        return Changeovers(
            ticks={
                (t.from_group, t.to_group): self._ticks(exact(t.minutes) * 60)
                for t in matrix.times
            },
            default=self._ticks(exact(matrix.default_minutes) * 60),
        )

    def _ticks(self, seconds: Fraction) -> int:
        """Round a duration up."""
        return -int(-seconds // self._parameters.tick_seconds)

    def _add(
        self, operations: list[Operation], order: Order, number: int, routing: Routing
    ) -> None:
        first = len(operations)
        names = {operation.id: first + i for i, operation in enumerate(routing.operations)}
        for position, operation in enumerate(routing.operations):
            index = first + position
            before = (index - 1,) if position else ()
            if operation.after is not None:
                before = tuple(names[name] for name in operation.after)
            given = self._given.get((order.id, operation.id))
            operations.append(
                Operation(
                    index=index,
                    order=number,
                    id=operation.id,
                    modes=tuple(self._mode(order, operation, w) for w in operation.alternatives),
                    before=before,
                    lag=self._ticks(exact(operation.lag_minutes) * 60),
                    release=self._release(order, operation, first=position == 0),
                    group=operation.changeover_group,
                    fixed=self._fixed(given, operation),
                    given=given,
                )
            )

    def _release(self, order: Order, operation: RoutingOperation, *, first: bool) -> int:
        moments = [
            material.available_at
            for material in order.materials
            if material.operation == operation.id or (material.operation is None and first)
        ]
        if order.release_at is not None:
            moments.append(order.release_at)
        return max([self._floor, *(self._clock.ticks_up(moment) for moment in moments)])

    def _mode(self, order: Order, operation: RoutingOperation, way: Alternative) -> Mode:
        key = (way, order.quantity, operation.interruptible)
        if key not in self._modes:
            resource = self._plan.resources[self._indices[way.resource]]
            self._modes[key] = self._made_mode(key, resource)
        return self._modes[key]

    def _made_mode(self, key: tuple[Alternative, float, bool], resource: Resource) -> Mode:
        way, quantity, interruptible = key
        setup = exact(way.setup_minutes) * 60
        efficiency = exact(way.efficiency) * exact(resource.efficiency)
        run = exact(way.run_seconds_per_unit) * exact(quantity) / efficiency
        needs = self._needs(way)
        work = max(1, self._ticks(setup + run))
        return Mode(
            needs=needs,
            work=work,
            setup=min(work, self._ticks(setup)),
            windows=self._together(needs),
            interruptible=interruptible,
        )

    def _needs(self, way: Alternative) -> tuple[Need, ...]:
        return (
            Need(self._indices[way.resource], 1),
            *(Need(self._indices[n.resource], n.quantity) for n in way.requirements),
        )

    def _together(self, needs: tuple[Need, ...]) -> Windows:
        """Return when everything is at work; equal sets share one value."""
        key = frozenset(need.resource for need in needs)
        if key not in self._shared:
            windows = self._windows[needs[0].resource]
            for need in needs[1:]:
                windows = windows.intersect(self._windows[need.resource])
            self._shared[key] = windows
        return self._shared[key]

    def _fixed(
        self, given: ExistingAssignment | None, operation: RoutingOperation
    ) -> Fixed | None:
        frozen = self._parameters.frozen_until
        if given is None or not (given.locked or (frozen is not None and given.start < frozen)):
            return None
        ways: Mapping[str, Alternative] = {way.resource: way for way in operation.alternatives}
        way = ways.get(given.resource)
        needs = (Need(self._indices[given.resource], 1),) if way is None else self._needs(way)
        span = Span(self._clock.ticks_down(given.start), self._clock.ticks_up(given.end))
        return Fixed(needs=needs, span=span, given=given)
