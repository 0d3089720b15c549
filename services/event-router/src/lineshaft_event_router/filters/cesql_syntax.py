"""The tree of a CloudEvents SQL expression."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from lineshaft_event_router.filters.cesql_values import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a part of the expression stands: characters `start` to before `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal(Span):
    """A constant."""

    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute(Span):
    """The value of an attribute; its name is in lower case."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exists(Span):
    """Whether the event has an attribute."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary(Span):
    """`NOT x` or `-x`; the operator in lower case."""

    operator: str
    operand: "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary(Span):
    """Arithmetic or a comparison; `<>` is read as `!=`."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logic(Span):
    """A chain of one of `and`, `or`, `xor`."""

    operator: str
    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Like(Span):
    """`x [NOT] LIKE 'pattern'`."""

    operand: "Node"
    pattern: str
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class In(Span):
    """`x [NOT] IN (a, b)`."""

    operand: "Node"
    elements: tuple["Node", ...]
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Span):
    """A function invocation; its name is in upper case."""

    name: str
    arguments: tuple["Node", ...]


Node: TypeAlias = Literal | Attribute | Exists | Unary | Binary | Logic | Like | In | Call


def children(node: Node) -> tuple[Node, ...]:  # noqa: PLR0911 - one for each kind
    """Return the parts of a node that are nodes."""
    match node:
        case Unary():
            return (node.operand,)
        case Binary():
            return node.left, node.right
        case Logic():
            return node.operands
        case Like():
            return (node.operand,)
        case In():
            return node.operand, *node.elements
        case Call():
            return node.arguments
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Give the node and all below it."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(children(one))
