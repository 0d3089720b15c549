"""Parameters and result of production.schedule: a feasible plan and how good it can be at all."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from lineshaft_contracts.envelope import Moment, Value
from lineshaft_contracts.job_parameters import (
    FileStem,
    JobParameters,
    JobResult,
    Name,
    Title,
)
from lineshaft_contracts.scheduling_plan import Plan
from lineshaft_contracts.scheduling_plant import Identifier

HORIZON_DAYS_MAX = 400
SHOWN_MAX = 30
"""Rows of a list in the result; the JSON artifact has all of them."""


class PlanQueries(BaseModel):
    """Saved queries that give the plan as rows; see the page of the type for their columns."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: Name
    """Name of the data source."""
    orders: Name = "schedule_orders"
    operations: Name = "schedule_operations"
    resources: Name = "schedule_resources"
    shifts: Name | None = "schedule_shifts"
    """None: always at work."""
    exceptions: Name | None = None
    requirements: Name | None = None
    """Secondary resources of operations."""
    closures: Name | None = None
    changeovers: Name | None = None
    materials: Name | None = None
    assignments: Name | None = None
    query_parameters: dict[Name, dict[Name, JsonValue]] = Field(
        default_factory=dict, max_length=16
    )
    """By query; a timestamp is ISO 8601 text with its zone."""


class Direction(StrEnum):
    """Whether operations are done as early or as late as they can be."""

    FORWARD = "forward"
    BACKWARD = "backward"


class Objective(StrEnum):
    """What is made as small as possible."""

    MAKESPAN = "makespan"
    """Minutes from the beginning to the end of the last operation."""
    WEIGHTED_TARDINESS = "weighted_tardiness"
    """Sum over orders: weight times minutes of lateness."""
    SETUP = "setup"
    """Minutes of set-up and changeover."""
    LEAD_TIME = "lead_time"
    """Sum over orders: minutes from its first start to its due date, or to its end when later."""


class ScheduleParameters(JobParameters):
    """Plan orders on resources: when and where each operation is done."""

    horizon_start: Moment
    """First instant that can be planned, a whole minute; most often now."""
    horizon_end: Moment | None = None
    """Everything ends by then; 28 days after the start when absent."""
    frozen_until: Moment | None = None
    """Assignments that start earlier stay, and nothing else starts before."""
    plan: Plan | None = None
    """Give everything here,"""
    queries: PlanQueries | None = None
    """or read it from a data source."""
    direction: Direction = Direction.FORWARD
    """backward: as late as the due dates allow; lead_time is then added to the objectives."""
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=4)] | None = None
    """The first counts before the second, and so on. When absent: weighted_tardiness, then
    makespan; from the back weighted_tardiness, then lead_time."""
    tick_seconds: Literal[1, 5, 10, 15, 30, 60] = 60
    """Everything starts at a multiple of it, and durations are rounded up to it."""
    solve_seconds_max: Annotated[float, Field(ge=0.1, le=3_600)] = 60.0
    """Search ends then with the best that was found; sooner when that is proven to be optimal."""
    gap_ratio_max: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Good enough: (value - bound) / value at which an objective is left, 0 for the optimum."""
    workers: Annotated[int, Field(ge=1, le=32)] = 8
    """Strategies at once; more than there are processors is sensible, each looks elsewhere."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    title: Title = "Production schedule"
    """Headline of the chart."""
    file_name: FileStem = "schedule"
    """Name of the artifacts without suffix."""

    @property
    def ends_at(self) -> datetime:
        """First instant after the horizon."""
        return self.horizon_end or self.horizon_start + timedelta(days=28)

    @model_validator(mode="after")
    def _is_a_task(self) -> Self:
        if (self.plan is None) == (self.queries is None):
            raise ValueError("give either plan or queries")
        if self.horizon_start.timestamp() % 60:
            raise ValueError("horizon_start must be a whole minute")
        days = (self.ends_at - self.horizon_start).total_seconds() / 86_400
        if not 0 < days <= HORIZON_DAYS_MAX:
            raise ValueError(
                f"horizon_end must be after horizon_start, by {HORIZON_DAYS_MAX} days at most"
            )
        objectives = self.objectives or ()
        if len(set(objectives)) != len(objectives):
            raise ValueError("each objective can be given once")
        return self


class ScheduleStatus(StrEnum):
    """What is known about the schedule."""

    OPTIMAL = "optimal"
    """No schedule is better."""
    FEASIBLE = "feasible"
    """It keeps every rule; a better one may exist, but none beyond the bound."""
    INFEASIBLE = "infeasible"
    """No schedule can exist; `reasons` say why."""
    UNKNOWN = "unknown"
    """None was found in the time that was given."""
    CHECKED = "checked"
    """dry_run: the input is sound, nothing was searched."""


class ObjectiveValue(Value):
    """One objective: what was reached, and what nothing can be below."""

    objective: Objective
    value: float
    bound: float
    gap_ratio: float
    """(value - bound) / value; 0 when it is proven to be the optimum."""
    proven: bool
    """With the objectives before it at the values that were reached."""
    dispatched: float | None
    """The best dispatching rule alone; None when none found a place for everything."""


class Segment(Value):
    """Work without interruption, from `start` up to `end`."""

    start: Moment
    end: Moment


class Assignment(Value):
    """Where and when an operation is done."""

    order: Identifier
    operation: Identifier
    resource: Identifier
    start: Moment
    end: Moment
    segments: tuple[Segment, ...]
    """Several when it stops at a break or the end of a shift."""
    frozen: bool = False
    """It was given and stays."""


class LateOrder(Value):
    """An order that ends after its due date."""

    order: Identifier
    due_at: Moment
    finished_at: Moment
    late_minutes: float
    weight: int


class Utilisation(Value):
    """How much of its working time a resource is in use, from the start to the last end."""

    resource: Identifier
    busy_minutes: float
    """Working time times slots in use."""
    open_minutes: float
    """Working time times capacity."""
    ratio: float | None
    """busy / open; None when it is never open."""


class ScheduleResult(JobResult):
    """A proposal: nothing is changed anywhere until a planner takes it over."""

    status: ScheduleStatus
    reasons: tuple[str, ...] = ()
    """Why there is no schedule, in words."""
    objectives: tuple[ObjectiveValue, ...] = ()
    """In the order of the parameters, as far as they were reached."""
    operations: int
    assignments: Annotated[tuple[Assignment, ...], Field(max_length=SHOWN_MAX)] = ()
    """The first ones by start."""
    late_count: int = 0
    late: Annotated[tuple[LateOrder, ...], Field(max_length=SHOWN_MAX)] = ()
    """The latest ones."""
    utilisation: Annotated[tuple[Utilisation, ...], Field(max_length=SHOWN_MAX)] = ()
    """The most used ones."""
    frozen_count: int = 0
    moved_count: int = 0
    """Existing assignments that are elsewhere or at another time in the proposal."""
    solutions: int = 0
    """Schedules that were found on the way, each better than the one before."""
    dispatching_rule: str | None = None
    """Rule that made the first one."""
    solve_seconds: float = 0.0
