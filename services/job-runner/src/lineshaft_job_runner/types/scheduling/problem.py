"""The plan as the solver sees it: operations with modes in ticks, and what they need when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from lineshaft_contracts.scheduling import ScheduleParameters
from lineshaft_contracts.scheduling_plant import ExistingAssignment

from lineshaft_job_runner.types.scheduling.calendars import Clock
from lineshaft_job_runner.types.scheduling.windows import Span, Variant, Windows


class Need(NamedTuple):
    """So many slots of a resource."""

    resource: int
    quantity: int


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way to do an operation; `work` is in working ticks of everything that it needs."""

    needs: tuple[Need, ...]
    """The machine first."""
    work: int
    setup: int
    """Ticks of the work that are set-up."""
    windows: Windows
    """When all that it needs is at work."""
    interruptible: bool
    allowed: tuple[Variant, ...] | None = None
    """Where it may start, if that is not what its windows say."""

    @property
    def resource(self) -> int:
        """Index of the machine."""
        return self.needs[0].resource

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Starts by elapsed time."""
        if self.allowed is not None:
            return self.allowed
        return self.windows.variants(self.work, interruptible=self.interruptible)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Where a frozen operation is: its span is rounded outwards to ticks."""

    needs: tuple[Need, ...]
    span: Span
    given: ExistingAssignment


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One step of an order."""

    index: int
    order: int
    id: str
    modes: tuple[Mode, ...]
    before: tuple[int, ...]
    """Operations that end before it starts, by index; always lower ones."""
    lag: int
    """Elapsed ticks after their ends."""
    release: int
    """First tick at which it may start: release, materials and frozen zone."""
    group: str | None
    fixed: Fixed | None
    given: ExistingAssignment | None
    """Where the plan in force has it."""


@dataclass(frozen=True, kw_only=True)
class PlannedOrder:
    """An order and its operations."""

    id: str
    weight: int
    due: int | None
    """Last tick at which it may end in time."""
    operations: range


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A resource with its calendar and its changeovers."""

    id: str
    capacity: int
    windows: Windows
    changeovers: "Changeovers | None"
    initial_group: str | None


@dataclass(frozen=True, kw_only=True)
class Changeovers:
    """Working ticks between groups."""

    ticks: Mapping[tuple[str, str], int]
    default: int

    def between(self, before: str | None, after: str | None) -> int:
        """Return the ticks from one group to another; none without a group."""
        if before is None or after is None:
            return 0
        default = 0 if before == after else self.default
        return self.ticks.get((before, after), default)


class Placement(NamedTuple):
    """Where an operation is; `mode` is -1 for a frozen one."""

    mode: int
    start: int
    end: int


Schedule = Sequence[Placement]
"""By index of the operation."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything in ticks since the start of the horizon."""

    parameters: ScheduleParameters
    clock: Clock
    horizon: int
    orders: tuple[PlannedOrder, ...]
    operations: tuple[Operation, ...]
    machines: tuple[Machine, ...]

    def needs(self, operation: Operation, placement: Placement) -> tuple[Need, ...]:
        """Return what an operation holds where it is placed."""
        if operation.fixed is not None:
            return operation.fixed.needs
        return operation.modes[placement.mode].needs

    @cached_property
    def after(self) -> tuple[tuple[int, ...], ...]:
        """Operations that wait for each one."""
        found: list[list[int]] = [[] for _ in self.operations]
        for operation in self.operations:
            for before in operation.before:
                found[before].append(operation.index)
        return tuple(tuple(waiting) for waiting in found)

    @cached_property
    def lasts(self) -> tuple[tuple[int, ...], ...]:
        """Operations of each order that nothing waits for."""
        return tuple(
            tuple(i for i in order.operations if not self.after[i]) for order in self.orders
        )

    def fixed_use(self, resource: int) -> list[tuple[Span, int]]:
        """Return the slots that frozen operations hold, as disjoint spans.

        Never more than there are: operations that follow each other within a tick would
        otherwise seem to overlap.
        """
        steps: dict[int, int] = {}
        for operation in self.operations:
            if operation.fixed is not None:
                for need in operation.fixed.needs:
                    if need.resource == resource:
                        start, end = operation.fixed.span
                        steps[start] = steps.get(start, 0) + need.quantity
                        steps[end] = steps.get(end, 0) - need.quantity
        capacity, level = self.machines[resource].capacity, 0
        spans: list[tuple[Span, int]] = []
        moments = sorted(steps)
        for start, end in pairwise(moments):
            level += steps[start]
            if level > 0:
                spans.append((Span(start, end), min(level, capacity)))
        return spans

    def sequences(self, schedule: Schedule) -> dict[int, list[int]]:
        """Return the operations on each machine with changeovers, in order of time."""
        found: dict[int, list[int]] = {
            index: [] for index, machine in enumerate(self.machines) if machine.changeovers
        }
        for operation in self.operations:
            needs = self.needs(operation, schedule[operation.index])
            if needs[0].resource in found:
                found[needs[0].resource].append(operation.index)
        for sequence in found.values():
            sequence.sort(key=lambda index: (schedule[index].start, schedule[index].end))
        return found

    def changeover(self, resource: int, before: int | None, after: int) -> int:
        """Return the working ticks between two operations; before None is the beginning."""
        machine = self.machines[resource]
        if machine.changeovers is None:
            return 0
        group = machine.initial_group if before is None else self.operations[before].group
        return machine.changeovers.between(group, self.operations[after].group)
