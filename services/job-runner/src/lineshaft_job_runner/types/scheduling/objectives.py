"""What a schedule is worth: each objective in ticks, smaller is better."""

from itertools import pairwise

from lineshaft_contracts.scheduling import Direction, Objective, ScheduleParameters

from lineshaft_job_runner.types.scheduling.problem import Problem, Schedule


def asked(parameters: ScheduleParameters) -> tuple[Objective, ...]:
    """Return the objectives in order; a plan from the back ends with the lead time."""
    backward = parameters.direction is Direction.BACKWARD
    last = Objective.LEAD_TIME if backward else Objective.MAKESPAN
    objectives = parameters.objectives or (Objective.WEIGHTED_TARDINESS, last)
    if backward and Objective.LEAD_TIME not in objectives:
        return (*objectives, Objective.LEAD_TIME)
    return objectives


def values(problem: Problem, schedule: Schedule) -> tuple[int, ...]:
    """Return the objectives that were asked for; tuples compare lexicographically."""
    return tuple(value(problem, schedule, one) for one in asked(problem.parameters))


def value(problem: Problem, schedule: Schedule, objective: Objective) -> int:
    """Return one objective in ticks; tardiness and lead time are in weighted ticks."""
    match objective:
        case Objective.MAKESPAN:
            return max(0, *(placement.end for placement in schedule))
        case Objective.WEIGHTED_TARDINESS:
            return sum(
                order.weight * max(0, completion(problem, schedule, index) - order.due)
                for index, order in enumerate(problem.orders)
                if order.due is not None
            )
        case Objective.SETUP:
            return _setup(problem, schedule)
        case Objective.LEAD_TIME:
            return sum(
                max(order.due or 0, completion(problem, schedule, index))
                - min(schedule[i].start for i in order.operations)
                for index, order in enumerate(problem.orders)
            )


def completion(problem: Problem, schedule: Schedule, order: int) -> int:
    """Return the tick at which an order is finished."""
    return max(schedule[index].end for index in problem.lasts[order])


def _setup(problem: Problem, schedule: Schedule) -> int:
    own = sum(
        operation.modes[schedule[operation.index].mode].setup
        for operation in problem.operations
        if operation.fixed is None
    )
    between = 0
    for resource, sequence in problem.sequences(schedule).items():
        for before, after in pairwise([None, *sequence]):
            if after is not None:
                between += problem.changeover(resource, before, after)
    return own + between
