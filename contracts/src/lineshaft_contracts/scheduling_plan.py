"""The whole input of production.schedule in one value; what it names is there, once."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from lineshaft_contracts.scheduling_plant import (
    OPERATIONS_MAX,
    ORDERS_MAX,
    Calendar,
    ChangeoverMatrix,
    ExistingAssignment,
    Order,
    PlantValue,
    Resource,
    Routing,
)


class Plan(PlantValue):
    """Everything that is planned with."""

    orders: Annotated[tuple[Order, ...], Field(min_length=1, max_length=ORDERS_MAX)]
    routings: Annotated[tuple[Routing, ...], Field(min_length=1, max_length=ORDERS_MAX)]
    resources: Annotated[tuple[Resource, ...], Field(min_length=1, max_length=1_000)]
    calendars: Annotated[tuple[Calendar, ...], Field(max_length=200)] = ()
    changeovers: Annotated[tuple[ChangeoverMatrix, ...], Field(max_length=200)] = ()
    assignments: Annotated[tuple[ExistingAssignment, ...], Field(max_length=OPERATIONS_MAX)] = ()
    """The plan in force: what is frozen or locked stays, the rest is a first guess."""

    @model_validator(mode="after")
    def _names_what_is_there(self) -> Self:
        findings = [*_twice(self), *_resources(self), *_operations(self), *_orders(self)]
        operations = sum(len(routing) for routing in _routing_of_each(self))
        if operations > OPERATIONS_MAX:
            findings.append(f"{operations} operations; {OPERATIONS_MAX} can be planned at once")
        if findings:
            more = f"; and {len(findings) - 10} more" if len(findings) > 10 else ""
            raise ValueError("; ".join(findings[:10]) + more)
        return self


def _routing_of_each(plan: Plan) -> Iterator[tuple[str, ...]]:
    routings = {routing.id: tuple(o.id for o in routing.operations) for routing in plan.routings}
    return (routings.get(order.routing, ()) for order in plan.orders)


def _twice(plan: Plan) -> Iterator[str]:
    named: dict[str, Iterable[object]] = {
        "order": (order.id for order in plan.orders),
        "routing": (routing.id for routing in plan.routings),
        "resource": (resource.id for resource in plan.resources),
        "calendar": (calendar.id for calendar in plan.calendars),
        "changeover matrix": (matrix.id for matrix in plan.changeovers),
        "assignment": ((given.order, given.operation) for given in plan.assignments),
    }
    for kind, names in named.items():
        yield from (f"{kind} {x!r} is there twice" for x, n in Counter(names).items() if n > 1)


def _resources(plan: Plan) -> Iterator[str]:
    calendars = {calendar.id for calendar in plan.calendars}
    matrices = {matrix.id for matrix in plan.changeovers}
    for resource in plan.resources:
        if resource.calendar is not None and resource.calendar not in calendars:
            yield f"resource {resource.id!r} names the unknown calendar {resource.calendar!r}"
        if resource.changeover is not None and resource.changeover not in matrices:
            yield f"resource {resource.id!r} names the unknown matrix {resource.changeover!r}"


def _operations(plan: Plan) -> Iterator[str]:
    known = {resource.id for resource in plan.resources}
    for routing in plan.routings:
        for operation in routing.operations:
            for way in operation.alternatives:
                for name in (way.resource, *(need.resource for need in way.requirements)):
                    if name not in known:
                        where = f"operation {operation.id!r} of routing {routing.id!r}"
                        yield f"{where} names the unknown resource {name!r}"


def _orders(plan: Plan) -> Iterator[str]:
    known = {resource.id for resource in plan.resources}
    steps = dict(zip((order.id for order in plan.orders), _routing_of_each(plan), strict=True))
    for order in plan.orders:
        if not steps[order.id]:
            yield f"order {order.id!r} names the unknown routing {order.routing!r}"
        for material in order.materials:
            if material.operation is not None and material.operation not in steps[order.id]:
                yield f"order {order.id!r} has no operation {material.operation!r}"
    for given in plan.assignments:
        if given.operation not in steps.get(given.order, ()):
            yield (
                f"an assignment names operation {given.operation!r} of order {given.order!r}, "
                "which is not planned"
            )
        if given.resource not in known:
            yield f"an assignment names the unknown resource {given.resource!r}"
