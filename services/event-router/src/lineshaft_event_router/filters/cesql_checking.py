"""Refuses CloudEvents SQL that is not valid, or that can be true of no event."""

from collections.abc import Iterator

from lineshaft_contracts.problems import FieldProblem, pointer

from lineshaft_event_router.filters import cesql_syntax as syntax
from lineshaft_event_router.filters.attribute_checking import unknown_attribute
from lineshaft_event_router.filters.cesql_functions import FUNCTIONS, function
from lineshaft_event_router.filters.cesql_grammar import COMPARISONS, parse
from lineshaft_event_router.filters.cesql_tokens import CesqlSyntaxError
from lineshaft_event_router.filters.patterns import Location


def check_expression(expression: str, at: Location) -> Iterator[FieldProblem]:
    """Give what is wrong with an expression; its parts are named by their first character."""
    where = pointer(at)
    try:
        tree = parse(expression)
    except CesqlSyntaxError as error:
        yield FieldProblem(pointer=where, code=error.code, message=str(error))
        return
    if not _may_be_boolean(tree):
        yield FieldProblem(
            pointer=where,
            code="cesql_not_boolean",
            message="the expression is never TRUE or FALSE",
        )
    for node in syntax.walk(tree):
        place = f" (at character {node.start + 1})"
        match node:
            case syntax.Attribute() | syntax.Exists():
                reason = unknown_attribute(node.name)
                if reason:
                    yield FieldProblem(
                        pointer=where, code="unknown_attribute", message=reason + place
                    )
            case syntax.Call() if function(node.name, len(node.arguments)) is None:
                message = f"no {node.name[:40]} of {len(node.arguments)} arguments{place}"
                if node.name not in FUNCTIONS:
                    message += f"; there are {', '.join(FUNCTIONS)}"
                yield FieldProblem(pointer=where, code="unknown_function", message=message)
            case syntax.Unary(operator="not", operand=syntax.Attribute() as operand):
                message = f"NOT {operand.name}: NOT binds tighter than LIKE, IN and =;"
                message += f" write NOT (...) or {operand.name} NOT LIKE{place}"
                yield FieldProblem(pointer=where, code="cesql_not_of_text", message=message)
            case _:
                pass


def _may_be_boolean(node: syntax.Node) -> bool:
    match node:
        case syntax.Literal():
            return isinstance(node.value, bool)
        case syntax.Attribute():
            return False
        case syntax.Unary():
            return node.operator == "not"
        case syntax.Binary():
            return node.operator in COMPARISONS
        case syntax.Call():
            found = function(node.name, len(node.arguments))
            return found is None or found.returns is bool
        case _:
            return True
