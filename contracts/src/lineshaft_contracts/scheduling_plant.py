"""What production.schedule plans with: calendars, resources, routings, orders, a plan in force."""

from datetime import date
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lineshaft_contracts.envelope import Moment
from lineshaft_contracts.job_parameters import TimeZone

Identifier = Annotated[
    str, StringConstraints(pattern=r"^[^\s=+@\x00-\x1f-][^\x00-\x1f]{0,63}$", max_length=64)
]
"""Name of a thing of the plant; it does not begin like a formula of a spreadsheet."""
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""Time of day on the wall clock of the calendar's zone, such as 06:00."""
Minutes = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Weekday = Annotated[int, Field(ge=1, le=7)]
"""ISO 8601: Monday is 1, Sunday is 7."""
Efficiency = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]

DAY_MINUTES = 1_440
ORDERS_MAX = 2_000
OPERATIONS_MAX = 5_000


class PlantValue(BaseModel):
    """A frozen part of the plant; an unknown field is refused, so that a typo is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def minutes_of_day(clock: str) -> int:
    """Return the minutes since midnight of a ClockTime."""
    return int(clock[:2]) * 60 + int(clock[3:])


class Break(PlantValue):
    """A part of a shift in which nobody works, such as lunch."""

    start: ClockTime
    end: ClockTime
    """Of the next day when it is not after `start`."""


class Shift(PlantValue):
    """Working time from `start` up to, not including, `end`."""

    start: ClockTime
    end: ClockTime
    """Of the next day when it is not after `start`: 06:00 to 06:00 is a whole day."""
    breaks: Annotated[tuple[Break, ...], Field(max_length=8)] = ()
    """Inside of the shift; those of a night shift may be after midnight."""

    @model_validator(mode="after")
    def _holds_its_breaks(self) -> Self:
        start = minutes_of_day(self.start)
        length = (minutes_of_day(self.end) - start - 1) % DAY_MINUTES + 1
        for pause in self.breaks:
            first = (minutes_of_day(pause.start) - start) % DAY_MINUTES
            last = first + (minutes_of_day(pause.end) - minutes_of_day(pause.start)) % DAY_MINUTES
            if not first < last <= length:
                raise ValueError(
                    f"the break {pause.start} to {pause.end} is not inside of the shift "
                    f"{self.start} to {self.end}"
                )
        return self


class WeeklyShift(Shift):
    """A shift that begins on the same days of every week."""

    weekdays: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)]
    """Days on which it begins; Monday is 1."""


class DayException(PlantValue):
    """One day that differs from its weekday, a holiday too."""

    date: date
    """Shifts that begin on this day are replaced; one that began the day before goes on."""
    shifts: Annotated[tuple[Shift, ...], Field(max_length=8)] = ()
    """Empty: closed."""


class Calendar(PlantValue):
    """When somebody works: shifts by weekday, holidays, and days of their own."""

    id: Identifier
    timezone: TimeZone | None = None
    """IANA zone of its clock; that of the job when absent."""
    shifts: Annotated[tuple[WeeklyShift, ...], Field(max_length=64)] = ()
    holidays: Annotated[tuple[date, ...], Field(max_length=1_000)] = ()
    """Days on which no shift begins."""
    exceptions: Annotated[tuple[DayException, ...], Field(max_length=1_000)] = ()
    """Count before holidays, and at most one a day."""

    @model_validator(mode="after")
    def _has_one_exception_a_day(self) -> Self:
        days = [exception.date for exception in self.exceptions]
        if len(set(days)) != len(days):
            raise ValueError("at most one exception a day")
        return self


class Closure(PlantValue):
    """A time in which a resource is not there, such as maintenance."""

    start: Moment
    end: Moment
    reason: Annotated[str, StringConstraints(max_length=200)] = ""

    @model_validator(mode="after")
    def _is_a_span_of_whole_minutes(self) -> Self:
        if self.start >= self.end:
            raise ValueError("end must be after start")
        if self.start.timestamp() % 60 or self.end.timestamp() % 60:
            raise ValueError("start and end must be whole minutes")
        return self


class Resource(PlantValue):
    """A machine, a pool of tools or people; anything that is there a limited number of times."""

    id: Identifier
    capacity: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Slots: how much of it can be in use at once."""
    calendar: Identifier | None = None
    """Always at work when absent."""
    efficiency: Efficiency = 1.0
    """Of the run time on it: 0.5 takes twice as long as the routing says."""
    closures: Annotated[tuple[Closure, ...], Field(max_length=1_000)] = ()
    changeover: Identifier | None = None
    """Matrix of its changeovers; needs capacity 1."""
    initial_group: Identifier | None = None
    """Changeover group that it is set up for at the beginning."""

    @model_validator(mode="after")
    def _changes_over_alone(self) -> Self:
        if self.changeover is not None and self.capacity != 1:
            raise ValueError("a resource with a changeover matrix must have capacity 1")
        return self


class ChangeoverTime(PlantValue):
    """How long it takes from one group to another."""

    from_group: Identifier
    to_group: Identifier
    minutes: Minutes


class ChangeoverMatrix(PlantValue):
    """Working time of the resource between two operations, by their changeover groups."""

    id: Identifier
    times: Annotated[tuple[ChangeoverTime, ...], Field(max_length=10_000)] = ()
    default_minutes: Minutes = 0.0
    """Between two different groups that are not listed; a group to itself takes none."""


class Requirement(PlantValue):
    """What an operation needs besides its machine, from its start to its end."""

    resource: Identifier
    quantity: Annotated[int, Field(ge=1, le=1_000)] = 1


class Alternative(PlantValue):
    """One way to do an operation."""

    resource: Identifier
    """The machine; one slot of it is taken."""
    setup_minutes: Minutes = 0.0
    """Before every lot, whatever was made before; efficiency does not change it."""
    run_seconds_per_unit: Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)] = 0.0
    efficiency: Efficiency = 1.0
    """Multiplied with that of the resource."""
    requirements: Annotated[tuple[Requirement, ...], Field(max_length=16)] = ()
    """Secondary resources: operators, tools."""

    @model_validator(mode="after")
    def _takes_time_and_needs_each_once(self) -> Self:
        if not self.setup_minutes and not self.run_seconds_per_unit:
            raise ValueError("an operation takes time: give setup_minutes or run_seconds_per_unit")
        needed = [self.resource, *(need.resource for need in self.requirements)]
        if len(set(needed)) != len(needed):
            raise ValueError("each resource can be needed once")
        return self


class RoutingOperation(PlantValue):
    """One step of a routing."""

    id: Identifier
    alternatives: Annotated[tuple[Alternative, ...], Field(min_length=1, max_length=64)]
    interruptible: bool = True
    """Whether it may stop at a break or the end of a shift, and go on with the next working
    time; it keeps its resources meanwhile."""
    after: Annotated[tuple[Identifier, ...], Field(max_length=64)] | None = None
    """Operations that end before it starts; the one before in the list when absent."""
    lag_minutes: Minutes = 0.0
    """Elapsed time between their end and its start, such as cooling or transport."""
    changeover_group: Identifier | None = None
    """Its group in changeover matrices; without one it needs and causes no changeover."""


class Routing(PlantValue):
    """How a product is made."""

    id: Identifier
    operations: Annotated[tuple[RoutingOperation, ...], Field(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _leads_forward(self) -> Self:
        seen: set[str] = set()
        for operation in self.operations:
            if operation.id in seen:
                raise ValueError(f"operation {operation.id!r} is there twice")
            for before in operation.after or ():
                if before not in seen:
                    raise ValueError(
                        f"operation {operation.id!r} is after {before!r}, which is not before it "
                        "in the list"
                    )
            seen.add(operation.id)
        return self


class Material(PlantValue):
    """Something that has to arrive before an operation can start."""

    material: Identifier
    available_at: Moment
    operation: Identifier | None = None
    """The first of the routing when absent."""


class Order(PlantValue):
    """How much of what is wanted when."""

    id: Identifier
    routing: Identifier
    quantity: Annotated[float, Field(gt=0, le=100_000_000, allow_inf_nan=False)] = 1.0
    due_at: Moment | None = None
    """Never late when absent."""
    release_at: Moment | None = None
    """Nothing of it starts earlier."""
    weight: Annotated[int, Field(ge=0, le=1_000)] = 1
    """Its priority: how many times a minute of lateness counts."""
    materials: Annotated[tuple[Material, ...], Field(max_length=100)] = ()


class ExistingAssignment(PlantValue):
    """An operation of the plan in force."""

    order: Identifier
    operation: Identifier
    resource: Identifier
    start: Moment
    end: Moment
    locked: bool = False
    """It keeps its resource and its times; so does every one that starts before `frozen_until`."""

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.start >= self.end:
            raise ValueError("end must be after start")
        return self
