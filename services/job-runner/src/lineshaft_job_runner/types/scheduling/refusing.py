"""Reasons, in words, for which no schedule can exist; found without searching."""

from collections import defaultdict
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from lineshaft_contracts.scheduling_plant import ExistingAssignment

from lineshaft_job_runner.types.scheduling.bounds import NEVER, Bounds, bounds
from lineshaft_job_runner.types.scheduling.problem import Mode, Operation, Problem


def obstacles(problem: Problem) -> list[str]:
    """Return what makes the problem impossible whatever the search would do; empty most often."""
    return _Inspection(problem).obstacles()


def named(problem: Problem, operation: Operation) -> str:
    """Return how people call an operation."""
    return f"operation {operation.id} of order {problem.orders[operation.order].id}"


def indispensable(operation: Operation) -> set[int]:
    """Return the resources that every mode of an operation needs."""
    common: set[int] | None = None
    for mode in operation.modes:
        mine = {need.resource for need in mode.needs}
        common = mine if common is None else common & mine
    return common or set()


class _Inspection:
    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._zone = ZoneInfo(problem.parameters.timezone)

    def obstacles(self) -> list[str]:
        free = [o for o in self._problem.operations if o.fixed is None]
        found = [reason for operation in free for reason in self._homeless(operation)]
        found += self._frozen_conflicts()
        if not found:
            limits = bounds(self._problem)
            found += self._out_of_order(limits)
            found += self._too_late(limits)
        return found or list(self._overloads())

    def _homeless(self, operation: Operation) -> Iterator[str]:
        """Say why an operation has no place even on an empty shop floor."""
        whys = [self._why_not(mode) for mode in operation.modes]
        if all(whys):
            reasons = "; ".join(sorted({why for why in whys if why is not None}))
            yield f"{named(self._problem, operation)} cannot be done: {reasons}"

    def _why_not(self, mode: Mode) -> str | None:
        for need in mode.needs:
            machine = self._problem.machines[need.resource]
            if need.quantity > machine.capacity:
                return f"it needs {need.quantity} of {machine.id}, which has {machine.capacity}"
        names = " with ".join(self._problem.machines[need.resource].id for need in mode.needs)
        work = self._minutes(mode.work)
        if not mode.interruptible and mode.work > mode.windows.longest:
            longest = self._minutes(mode.windows.longest)
            return (
                f"it takes {work} min without interruption on {names}, whose longest working "
                f"time within the horizon is {longest} min"
            )
        total = mode.windows.worked(self._problem.horizon)
        if mode.work > total:
            return (
                f"it takes {work} min on {names}, which works {self._minutes(total)} min within "
                "the horizon"
            )
        return None

    def _frozen_conflicts(self) -> Iterator[str]:
        """Say which frozen operations use more of a resource than there is; the first of each."""
        uses: dict[int, list[tuple[ExistingAssignment, int]]] = defaultdict(list)
        for operation in self._problem.operations:
            if operation.fixed is not None:
                for need in operation.fixed.needs:
                    uses[need.resource].append((operation.fixed.given, need.quantity))
        for index, there in sorted(uses.items()):
            machine = self._problem.machines[index]
            active: list[tuple[ExistingAssignment, int]] = []
            for given, quantity in sorted(there, key=lambda use: use[0].start):
                active = [use for use in active if use[0].end > given.start]
                active.append((given, quantity))
                if sum(slots for _, slots in active) > machine.capacity:
                    names = " and ".join(f"{g.operation} of order {g.order}" for g, _ in active)
                    yield (
                        f"operations {names} are frozen on {machine.id} at the same time, which "
                        f"has a capacity of {machine.capacity}"
                    )
                    break

    def _out_of_order(self, limits: Bounds) -> Iterator[str]:
        """Say which operations cannot be done before a frozen one that they come before."""
        for operation in self._problem.operations:
            if operation.fixed is None:
                continue
            for index in operation.before:
                before = self._problem.operations[index]
                if before.fixed is None and limits.ends[index] > operation.fixed.span.start:
                    yield (
                        f"{named(self._problem, operation)} is frozen at "
                        f"{self._shown(operation.fixed.span.start)}, but operation {before.id} "
                        f"before it cannot end before {self._shown(limits.ends[index])}: give it "
                        "as an existing assignment too if it is done"
                    )

    def _too_late(self, limits: Bounds) -> Iterator[str]:
        """Say which orders cannot end within the horizon even if they were alone."""
        end = self._shown(self._problem.horizon)
        for order in self._problem.orders:
            for index in order.operations:
                operation = self._problem.operations[index]
                if operation.fixed is not None or limits.possible(index):
                    continue
                told = f"order {order.id} cannot be finished within the horizon even if it were "
                told += f"alone: operation {operation.id} can "
                if limits.ends[index] >= NEVER:
                    work = self._minutes(min(mode.work for mode in operation.modes))
                    ready = self._shown(self._ready(operation, limits))
                    yield (
                        f"{told}start at {ready} at the earliest and takes {work} min; the "
                        f"horizon ends at {end}"
                    )
                else:
                    yield (
                        f"{told}end at {self._shown(limits.ends[index])} at the earliest, which "
                        f"leaves too little time for what is after it until {end}"
                    )
                break

    @staticmethod
    def _ready(operation: Operation, limits: Bounds) -> int:
        ends = [limits.ends[index] + operation.lag for index in operation.before]
        return max([operation.release, *ends])

    def _overloads(self) -> Iterator[str]:
        """Say which resources have less working time than must be done on them."""
        work: dict[int, int] = defaultdict(int)
        for operation in self._problem.operations:
            if operation.fixed is not None:
                continue
            for index in indispensable(operation):
                work[index] += min(
                    mode.work * need.quantity
                    for mode in operation.modes
                    for need in mode.needs
                    if need.resource == index
                )
        for index, ticks in sorted(work.items()):
            machine = self._problem.machines[index]
            there = machine.windows.worked(self._problem.horizon) * machine.capacity
            if ticks > there:
                yield (
                    f"{machine.id} has {self._minutes(there)} min of working time within the "
                    f"horizon, but {self._minutes(ticks)} min have to be done on it"
                )

    def _minutes(self, ticks: int) -> str:
        return f"{ticks * self._problem.clock.tick_seconds / 60:g}"

    def _shown(self, tick: int) -> str:
        return f"{self._problem.clock.moment(tick).astimezone(self._zone):%Y-%m-%d %H:%M %Z}"
