"""How much of each resource is taken when, while operations are placed one after the other."""

from bisect import bisect_left, bisect_right, insort

from lineshaft_job_runner.types.scheduling.problem import Mode, Need, Operation, Problem
from lineshaft_job_runner.types.scheduling.windows import Span

BEGINNING = -(2**62)


class Timeline:
    """The slots in use of one resource, as a step function."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._times = [BEGINNING]
        self._levels = [0]

    def take(self, span: Span, quantity: int) -> None:
        """Use slots throughout a span."""
        first, last = self._split(span.start), self._split(span.end)
        for index in range(first, last):
            self._levels[index] += quantity

    def blocked_until(self, span: Span, quantity: int) -> int | None:
        """Return the end of the last stretch in the span without enough slots; None if free."""
        for index in range(bisect_left(self._times, span.end) - 1, -1, -1):
            if self._levels[index] + quantity > self._capacity:
                return self._times[index + 1]
            if self._times[index] <= span.start:
                return None
        return None

    def blocked_from(self, span: Span, quantity: int) -> int | None:
        """Return the start of the first such stretch; None if free."""
        for index in range(bisect_right(self._times, span.start) - 1, len(self._times)):
            if self._times[index] >= span.end:
                return None
            if self._levels[index] + quantity > self._capacity:
                return self._times[index]
        return None

    def _split(self, tick: int) -> int:
        index = bisect_left(self._times, tick)
        if index == len(self._times) or self._times[index] != tick:
            self._times.insert(index, tick)
            self._levels.insert(index, self._levels[index - 1])
        return index


class Workshop:
    """All resources of a problem with what is placed on them; frozen operations are from start."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._timelines = [Timeline(machine.capacity) for machine in problem.machines]
        self._sequences: dict[int, list[tuple[int, int, int]]] = {
            index: [] for index, machine in enumerate(problem.machines) if machine.changeovers
        }
        for index in range(len(problem.machines)):
            for span, level in problem.fixed_use(index):
                self._timelines[index].take(span, level)
        for operation in problem.operations:
            if operation.fixed is not None:
                self._line_up(operation.fixed.needs[0].resource, operation.fixed.span, operation)

    def place(self, operation: Operation, mode: Mode, span: Span) -> None:
        """Take what an operation needs."""
        for need in mode.needs:
            self._timelines[need.resource].take(span, need.quantity)
        self._line_up(mode.resource, span, operation)

    def earliest(self, operation: Operation, mode: Mode, tick: int) -> Span | None:
        """Return the first free place at or after a tick, also between what is placed."""
        while True:
            span = mode.windows.earliest(tick, mode.work, interruptible=mode.interruptible)
            if span is None:
                return None
            blocked = self._blocked_until(operation, mode, span)
            if blocked is None:
                return span
            tick = blocked

    def latest(self, mode: Mode, tick: int) -> Span | None:
        """Return the last free place that ends at or before a tick, without changeovers."""
        while True:
            span = mode.windows.latest(tick, mode.work, interruptible=mode.interruptible)
            if span is None:
                return None
            starts = [self._from(need, span) for need in mode.needs]
            blocked = [start for start in starts if start is not None]
            if not blocked:
                return span
            tick = min(blocked)

    def _from(self, need: Need, span: Span) -> int | None:
        return self._timelines[need.resource].blocked_from(span, need.quantity)

    def last_on(self, resource: int) -> int:
        """Return the end of the last operation on a machine with changeovers."""
        sequence = self._sequences[resource]
        return sequence[-1][1] if sequence else BEGINNING

    def _blocked_until(self, operation: Operation, mode: Mode, span: Span) -> int | None:
        latest: int | None = None
        for need in mode.needs:
            until = self._timelines[need.resource].blocked_until(span, need.quantity)
            if until is not None and (latest is None or until > latest):
                latest = until
        if latest is None and mode.resource in self._sequences:
            return self._changing_over_until(operation, mode, span)
        return latest

    def _changing_over_until(self, operation: Operation, mode: Mode, span: Span) -> int | None:
        """Return when another start can be tried, if a changeover before or after is too short."""
        sequence, resource = self._sequences[mode.resource], mode.resource
        windows = self._problem.machines[resource].windows
        position = bisect_left(sequence, (span.start, span.end, operation.index))
        before = sequence[position - 1] if position else None
        ticks = self._problem.changeover(resource, before and before[2], operation.index)
        ready = windows.after(before[1] if before else 0, ticks)
        if ready is None:
            return self._problem.horizon
        if ready > span.start:
            return ready
        if position < len(sequence):
            start, end, index = sequence[position]
            ticks = self._problem.changeover(resource, operation.index, index)
            ready = windows.after(span.end, ticks)
            if ready is None or ready > start:
                return end
        return None

    def _line_up(self, resource: int, span: Span, operation: Operation) -> None:
        if resource in self._sequences:
            insort(self._sequences[resource], (span.start, span.end, operation.index))
