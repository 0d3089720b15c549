"""The sequence on one machine with changeovers: who follows whom, and the time between."""

from dataclasses import dataclass, field
from itertools import pairwise

from ortools.sat.python.cp_model import CpModel, IntVar, LinearExpr

from lineshaft_job_runner.types.scheduling.problem import Problem, Schedule
from lineshaft_job_runner.types.scheduling.windows import Span, Windows


@dataclass(frozen=True, kw_only=True)
class Node:
    """An operation that may be on the machine."""

    operation: int
    start: IntVar
    end: IntVar
    present: IntVar
    """A literal; None of the nodes of a frozen operation is absent."""
    earliest: Span
    """Earliest start and earliest end."""
    latest: Span
    fixed: Span | None


@dataclass(kw_only=True)
class _Coordinate:
    """A start or an end as working time of the machine, and in which window it is."""

    worked: IntVar
    literals: dict[int, IntVar]


@dataclass(kw_only=True)
class Sequence:
    """The arcs of one machine; the depot, -1, is before the first and after the last."""

    problem: Problem
    machine: int
    nodes: list[Node]
    arcs: dict[tuple[int, int], IntVar] = field(default_factory=dict[tuple[int, int], IntVar])
    _coordinates: dict[tuple[int, bool], _Coordinate] = field(
        default_factory=dict[tuple[int, bool], _Coordinate]
    )
    _empty: IntVar | None = None

    @property
    def windows(self) -> Windows:
        """Working time of the machine."""
        return self.problem.machines[self.machine].windows

    def add_to(self, model: CpModel) -> None:
        """Add a circuit through the operations that are present."""
        circuit: list[tuple[int, int, IntVar | bool]] = []
        numbers = {node.operation: i for i, node in enumerate(self.nodes, start=1)}
        for before, after in self._possible():
            literal = model.new_bool_var("")
            self.arcs[before, after] = literal
            circuit.append((numbers.get(before, 0), numbers.get(after, 0), literal))
        self._empty = empty = model.new_bool_var("")
        circuit.append((0, 0, empty))
        for number, node in enumerate(self.nodes, start=1):
            circuit.append((number, number, ~node.present))  # pyright: ignore[reportArgumentType]
            model.add_implication(node.present, ~empty)
        model.add_circuit(circuit)
        self._keep_apart(model)

    def changeovers(self) -> list[LinearExpr]:
        """Return the ticks of changeover as terms of a sum."""
        return [
            literal * ticks
            for (before, after), literal in self.arcs.items()
            if (ticks := self._ticks(before, after))
        ]

    def hint(self, model: CpModel, schedule: Schedule) -> None:
        """Hint the arcs and the windows of a schedule."""
        sequence = [-1, *self.problem.sequences(schedule)[self.machine], -1]
        taken = set(pairwise(sequence)) if len(sequence) > 2 else set[tuple[int, int]]()
        for arc, literal in self.arcs.items():
            model.add_hint(literal, arc in taken)
        if self._empty is not None:
            model.add_hint(self._empty, len(sequence) == 2)
        present = set(sequence)
        for (operation, is_end), coordinate in self._coordinates.items():
            tick = schedule[operation].end if is_end else schedule[operation].start
            if coordinate.literals:
                there = operation in present
                model.add_hint(coordinate.worked, self.windows.worked(tick) if there else 0)
                for index, literal in coordinate.literals.items():
                    span = self.windows.spans[index]
                    model.add_hint(literal, there and _holds(span, tick, is_end=is_end))

    def _ticks(self, before: int, after: int) -> int:
        if after < 0:
            return 0
        return self.problem.changeover(self.machine, None if before < 0 else before, after)

    def _possible(self) -> list[tuple[int, int]]:
        """Return the arcs that time does not forbid; frozen operations keep their order."""
        frozen = sorted((n for n in self.nodes if n.fixed is not None), key=lambda n: n.earliest)
        neighbours = {(a.operation, b.operation) for a, b in pairwise(frozen)}
        first, last = (frozen[0], frozen[-1]) if frozen else (None, None)
        found: list[tuple[int, int]] = []
        for node in self.nodes:
            if node.fixed is None or node is first:
                found.append((-1, node.operation))
            if node.fixed is None or node is last:
                found.append((node.operation, -1))
            for other in self.nodes:
                arc = (node.operation, other.operation)
                if node.fixed is not None and other.fixed is not None:
                    if arc in neighbours:
                        found.append(arc)
                elif node is not other and self._in_time(node, other):
                    found.append(arc)
        return found

    def _in_time(self, before: Node, after: Node) -> bool:
        ticks = self._ticks(before.operation, after.operation)
        ready = self.windows.after(before.earliest.end, ticks)
        return ready is not None and ready <= after.latest.start

    def _keep_apart(self, model: CpModel) -> None:
        nodes = {node.operation: node for node in self.nodes}
        for (before, after), literal in self.arcs.items():
            ticks = self._ticks(before, after)
            if after < 0 or (before < 0 and not ticks):
                continue
            node = nodes[after]
            if before < 0:
                ready = self.windows.after(0, ticks)
                if node.fixed is None and ready is not None:
                    model.add(node.start >= ready).only_enforce_if(literal)
                elif node.fixed is None:
                    model.add(literal == 0)
            elif nodes[before].fixed is None or node.fixed is None:
                self._keep_pair_apart(model, nodes[before], node, literal, ticks)

    def _keep_pair_apart(
        self, model: CpModel, before: Node, after: Node, literal: IntVar, ticks: int
    ) -> None:
        movable = before.fixed is None and after.fixed is None
        if not ticks or (movable and len(self.windows.spans) <= 1):
            model.add(after.start >= before.end + ticks).only_enforce_if(literal)
            return
        end = self._coordinate(model, before, is_end=True)
        start = self._coordinate(model, after, is_end=False)
        model.add(start.worked >= end.worked + ticks).only_enforce_if(literal)

    def _coordinate(self, model: CpModel, node: Node, *, is_end: bool) -> _Coordinate:
        key = (node.operation, is_end)
        if key not in self._coordinates:
            self._coordinates[key] = self._new_coordinate(model, node, is_end=is_end)
        return self._coordinates[key]

    def _new_coordinate(self, model: CpModel, node: Node, *, is_end: bool) -> _Coordinate:
        """Translate a time into the working time of the machine before it.

        In each window the two differ by the time that was closed before it.
        """
        if node.fixed is not None:
            tick = node.fixed.end if is_end else node.fixed.start
            return _Coordinate(worked=model.new_constant(self.windows.worked(tick)), literals={})
        total = self.windows.worked(self.problem.horizon)
        worked, literals = model.new_int_var(0, total, ""), dict[int, IntVar]()
        low = node.earliest.end if is_end else node.earliest.start
        high = node.latest.end if is_end else node.latest.start
        for index, span in enumerate(self.windows.spans):
            first, last = (span.start + 1, span.end) if is_end else (span.start, span.end - 1)
            if last < low or first > high:
                continue
            literal = literals[index] = model.new_bool_var("")
            time = node.end if is_end else node.start
            closed = span.start - self.windows.worked(span.start)
            model.add_linear_constraint(time, first, last).only_enforce_if(literal)
            model.add(worked == time - closed).only_enforce_if(literal)
        model.add_exactly_one([*literals.values(), ~node.present])  # pyright: ignore[reportArgumentType]
        return _Coordinate(worked=worked, literals=literals)


def _holds(span: Span, tick: int, *, is_end: bool) -> bool:
    return span.start < tick <= span.end if is_end else span.start <= tick < span.end
