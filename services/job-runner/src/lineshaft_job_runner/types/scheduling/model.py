"""The constraint model: the problem as OR-Tools' CP-SAT takes it."""

from collections import defaultdict
from typing import NamedTuple

from ortools.sat.python import cp_model
from ortools.sat.python.cp_model import Domain, IntervalVar, IntVar, LinearExpr

from lineshaft_job_runner.job_type import PermanentError
from lineshaft_job_runner.types.scheduling.bounds import Bounds, bounds
from lineshaft_job_runner.types.scheduling.problem import Operation, Placement, Problem, Schedule
from lineshaft_job_runner.types.scheduling.sequencing import Node, Sequence
from lineshaft_job_runner.types.scheduling.windows import Span, Variant

CHOICES_MAX = 100_000
STARTS_MAX = 1_500_000
"""Intervals in which the choices may start; so many take 1.4 GB with eight workers."""
ARCS_MAX = 300_000


class _Choice(NamedTuple):
    """A mode at one elapsed time, and whether it is taken."""

    mode: int
    variant: Variant
    taken: IntVar


class ScheduleModel:
    """Variables and constraints of one problem; objectives are variables made on demand.

    A break inside of an operation is modelled as a choice: for each elapsed time that an
    operation can take there is an interval of that size, which may start only where it takes so
    long. So every interval has a fixed size, and calendars cost no further variables.

    With `droppable` an order may be left out, which `kept` tells; without, every operation must
    be possible by its bounds.
    """

    def __init__(self, problem: Problem, *, droppable: bool = False) -> None:
        self.model = cp_model.CpModel()
        self.problem = problem
        self.starts: list[IntVar] = []
        self.ends: list[IntVar] = []
        self.kept = [
            self.model.new_bool_var("") if droppable else self.model.new_constant(1)
            for _ in problem.orders
        ]
        self.sequences: list[Sequence] = []
        self.loads: dict[int, list[LinearExpr]] = defaultdict(list)
        """By resource: slots times ticks of what is not frozen."""
        self.size = 0
        """Intervals of starts of all choices, and possible changeovers."""
        self._droppable = droppable
        self._bounds: Bounds = bounds(problem)
        self._choices: list[list[_Choice]] = []
        self._intervals: dict[int, list[tuple[IntervalVar, int]]] = defaultdict(list)
        self._present: list[tuple[IntVar, int, int]] = []
        self._refuse_when_too_large()
        for operation in problem.operations:
            self._add_operation(operation)
        for index in range(len(problem.machines)):
            self._add_resource(index)

    def range_of_end(self, operation: int) -> tuple[int, int]:
        """Return the earliest and the latest end of an operation."""
        fixed = self.problem.operations[operation].fixed
        if fixed is not None:
            return fixed.span.end, fixed.span.end
        return self._bounds.ends[operation], self._bounds.latest_ends[operation]

    def setup(self) -> list[LinearExpr]:
        """Return the ticks of set-up as terms of a sum."""
        terms = [
            choice.taken * operation.modes[choice.mode].setup
            for operation in self.problem.operations
            for choice in self._choices[operation.index]
        ]
        for sequence in self.sequences:
            terms += sequence.changeovers()
        return terms

    def hint(self, schedule: Schedule) -> None:
        """Tell the search where to begin."""
        for operation in self.problem.operations:
            if operation.fixed is not None:
                continue
            placement = schedule[operation.index]
            self.model.add_hint(self.starts[operation.index], placement.start)
            self.model.add_hint(self.ends[operation.index], placement.end)
            size = placement.end - placement.start
            choices = self._choices[operation.index]
            for choice in choices if len(choices) > 1 else ():
                taken = choice.mode == placement.mode and choice.variant.size == size
                self.model.add_hint(choice.taken, taken)
        for present, index, machine in self._present:
            needs = self.problem.needs(self.problem.operations[index], schedule[index])
            self.model.add_hint(present, needs[0].resource == machine)
        for sequence in self.sequences:
            sequence.hint(self.model, schedule)

    def schedule(self, solver: cp_model.CpSolver) -> Schedule:
        """Read the schedule that was found."""
        found: list[Placement] = []
        for operation in self.problem.operations:
            if operation.fixed is not None:
                found.append(Placement(-1, *operation.fixed.span))
                continue
            start = solver.value(self.starts[operation.index])
            (choice,) = (c for c in self._choices[operation.index] if solver.value(c.taken))
            found.append(Placement(choice.mode, start, start + choice.variant.size))
        return found

    def _refuse_when_too_large(self) -> None:
        variants = [v for o in self.problem.operations for m in o.modes for v in m.variants]
        starts = sum(len(variant.starts) for variant in variants)
        arcs = 0
        for index, machine in enumerate(self.problem.machines):
            if machine.changeovers is not None:
                arcs += sum(self._may_be_on(o, index) for o in self.problem.operations) ** 2
        if len(variants) > CHOICES_MAX or starts > STARTS_MAX or arcs > ARCS_MAX:
            raise PermanentError(
                "schedule_too_large",
                f"{len(variants)} ways to do operations in {starts} stretches of working time, "
                f"and {arcs} possible changeovers; {CHOICES_MAX}, {STARTS_MAX} and {ARCS_MAX} "
                "can be searched: plan fewer orders, a shorter horizon, or fewer alternatives",
            )

    @staticmethod
    def _may_be_on(operation: Operation, machine: int) -> bool:
        if operation.fixed is not None:
            return operation.fixed.needs[0].resource == machine
        return any(mode.resource == machine for mode in operation.modes)

    def _add_operation(self, operation: Operation) -> None:
        index, kept = operation.index, self.kept[operation.order]
        if operation.fixed is not None:
            span = operation.fixed.span
            self.starts.append(self.model.new_constant(span.start))
            self.ends.append(self.model.new_constant(span.end))
            self._choices.append([])
        else:
            low, high = self._bounds.starts[index], self._bounds.latest_starts[index]
            early, late = self._bounds.ends[index], self._bounds.latest_ends[index]
            if not self._bounds.possible(index):
                low, high, early, late = 0, self.problem.horizon, 0, self.problem.horizon
            self.starts.append(self.model.new_int_var(low, high, ""))
            self.ends.append(self.model.new_int_var(early, late, ""))
            self._choices.append(self._add_choices(operation, kept))
        for before in operation.before:
            # What is frozen is a fact, also where it is out of order.
            if operation.fixed is None or self.problem.operations[before].fixed is None:
                ready = self.ends[before] + operation.lag
                after = self.model.add(self.starts[index] >= ready)
                if self._droppable:
                    after.only_enforce_if(kept)

    def _add_choices(self, operation: Operation, kept: IntVar) -> list[_Choice]:
        possible = list(self._possible(operation))
        start, end = self.starts[operation.index], self.ends[operation.index]
        sure = len(possible) == 1 and not self._droppable
        choices: list[_Choice] = []
        for number, variant, domain in possible:
            self.size += len(variant.starts)
            taken = kept if sure else self.model.new_bool_var("")
            choices.append(_Choice(number, variant, taken))
            within = self.model.add_linear_expression_in_domain(start, domain)
            if sure:
                interval = self.model.new_fixed_size_interval_var(start, variant.size, "")
            else:
                within.only_enforce_if(taken)
                interval = self.model.new_optional_fixed_size_interval_var(
                    start, variant.size, taken, ""
                )
            for need in operation.modes[number].needs:
                self._intervals[need.resource].append((interval, need.quantity))
                self.loads[need.resource].append(taken * (variant.size * need.quantity))
        if not sure:
            self.model.add(sum(choice.taken for choice in choices) == kept)
        size = sum(choice.taken * choice.variant.size for choice in choices)
        ended = self.model.add(end == start + size)
        if self._droppable:
            ended.only_enforce_if(kept)
        return choices

    def _possible(self, operation: Operation) -> list[tuple[int, Variant, Domain]]:
        index = operation.index
        low, late = self._bounds.starts[index], self._bounds.latest_ends[index]
        found: list[tuple[int, Variant, Domain]] = []
        for number, mode in enumerate(operation.modes):
            for variant in mode.variants:
                bounds_ = Domain(low, max(low - 1, late - variant.size))
                spans = [[span.start, span.end - 1] for span in variant.starts]
                domain = Domain.from_intervals(spans).intersection_with(bounds_)
                if not domain.is_empty():
                    found.append((number, variant, domain))
        return found

    def _add_resource(self, index: int) -> None:
        machine = self.problem.machines[index]
        intervals = list(self._intervals[index])
        for span, quantity in self.problem.fixed_use(index):
            size = span.end - span.start
            intervals.append(
                (self.model.new_fixed_size_interval_var(span.start, size, ""), quantity)
            )
        if machine.capacity == 1:
            self.model.add_no_overlap([interval for interval, _ in intervals])
        else:
            self.model.add_cumulative(
                [interval for interval, _ in intervals],
                [quantity for _, quantity in intervals],
                machine.capacity,
            )
        if machine.changeovers is not None:
            self._add_sequence(index)

    def _add_sequence(self, index: int) -> None:
        nodes = [
            self._node(operation, index)
            for operation in self.problem.operations
            if self._may_be_on(operation, index)
        ]
        sequence = Sequence(problem=self.problem, machine=index, nodes=nodes)
        sequence.add_to(self.model)
        self.size += len(sequence.arcs)
        self.sequences.append(sequence)

    def _node(self, operation: Operation, machine: int) -> Node:
        index = operation.index
        taken = [
            choice.taken
            for choice in self._choices[index]
            if operation.modes[choice.mode].resource == machine
        ]
        if operation.fixed is not None:
            present = self.model.new_constant(1)
        elif len(taken) == 1:
            present = taken[0]
        else:
            present = self.model.new_bool_var("")
            self.model.add(sum(taken) == present)
            self._present.append((present, index, machine))
        return Node(
            operation=index,
            start=self.starts[index],
            end=self.ends[index],
            present=present,
            earliest=Span(self._bounds.starts[index], self._bounds.ends[index]),
            latest=Span(self._bounds.latest_starts[index], self._bounds.latest_ends[index]),
            fixed=None if operation.fixed is None else operation.fixed.span,
        )
