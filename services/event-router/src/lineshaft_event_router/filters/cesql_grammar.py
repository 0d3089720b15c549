"""Reads a CloudEvents SQL expression into its tree (version 1.0, sections 2 and 3.6).

Precedence from tightest: functions; NOT and -; LIKE; EXISTS; IN; * / %; + -; comparisons; AND, OR
and XOR, which are on one level. The prose of the specification evaluates that level from the
left, its grammar from the right, and everybody else knows AND to bind tighter: so a chain that
mixes them without parentheses is refused.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from lineshaft_event_router.filters.cesql_syntax import (
    Attribute,
    Binary,
    Call,
    Exists,
    In,
    Like,
    Literal,
    Logic,
    Node,
    Unary,
)
from lineshaft_event_router.filters.cesql_tokens import CesqlSyntaxError, Kind, Token, tokens
from lineshaft_event_router.filters.cesql_values import INTEGER_MAX, INTEGER_MIN

TOKENS_MAX = 512
DEPTH_MAX = 24
"""Parentheses, function calls and unary operators inside each other."""

COMPARISONS = ("=", "!=", "<>", "<", "<=", ">", ">=")


@lru_cache(maxsize=256)
def parse(expression: str) -> Node:
    """Read an expression; raises CesqlSyntaxError and nothing else."""
    return _Parser(expression).whole()


class _Parser:
    """Recursive descent with one token of lookahead, bounded in depth and length."""

    def __init__(self, expression: str) -> None:
        self._tokens = list[Token]()
        for token in tokens(expression):
            if len(self._tokens) >= TOKENS_MAX:
                raise CesqlSyntaxError(
                    f"more than {TOKENS_MAX} words", position=token.start, code="cesql_too_large"
                )
            self._tokens.append(token)
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._logic()
        if self._peek().kind is not Kind.END:
            raise self._unexpected("an operator or the end")
        return node

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += token.kind is not Kind.END
        return token

    def _expect(self, sign: str) -> Token:
        if not self._peek().is_any(sign):
            raise self._unexpected(repr(sign))
        return self._take()

    def _unexpected(self, wanted: str) -> CesqlSyntaxError:
        token = self._peek()
        met = repr(token.value[:40]) if token.kind is not Kind.END else "the end"
        return CesqlSyntaxError(f"{wanted} is expected, not {met}", position=token.start)

    def _logic(self) -> Node:
        operands = [self._comparison()]
        operator = self._peek()
        while self._peek().is_any("and", "or", "xor"):
            token = self._take()
            if token.value != operator.value:
                raise CesqlSyntaxError(
                    f"{operator.value.upper()} and {token.value.upper()} need parentheses",
                    position=token.start,
                    code="cesql_mixed_logic",
                )
            operands.append(self._comparison())
        if len(operands) == 1:
            return operands[0]
        return Logic(
            operator=operator.value,
            operands=tuple(operands),
            start=operands[0].start,
            end=operands[-1].end,
        )

    def _comparison(self) -> Node:
        return self._chain(COMPARISONS, self._sum)

    def _sum(self) -> Node:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._chain(("*", "/", "%"), self._membership)

    def _chain(self, operators: tuple[str, ...], operand: Callable[[], Node]) -> Node:
        left = operand()
        while self._peek().is_any(*operators):
            operator = self._take().value.replace("<>", "!=")
            right = operand()
            left = Binary(
                operator=operator, left=left, right=right, start=left.start, end=right.end
            )
        return left

    def _membership(self) -> Node:
        node = self._unary()
        while True:
            negated = self._peek().is_any("not")
            after = self._tokens[min(self._next + negated, len(self._tokens) - 1)]
            if not after.is_any("like", "in"):
                return node
            self._next += negated + 1
            node = self._like(node, negated) if after.value == "like" else self._in(node, negated)

    def _like(self, operand: Node, negated: bool) -> Node:
        if self._peek().kind is not Kind.TEXT:
            raise self._unexpected("a text literal after LIKE")
        pattern = self._take()
        return Like(
            operand=operand,
            pattern=pattern.value,
            negated=negated,
            start=operand.start,
            end=pattern.end,
        )

    def _in(self, operand: Node, negated: bool) -> Node:
        self._expect("(")
        elements, end = self._list(self._nested(self._logic))
        return In(
            operand=operand, elements=elements, negated=negated, start=operand.start, end=end
        )

    def _list(self, first: Node) -> tuple[tuple[Node, ...], int]:
        elements = [first]
        while self._peek().is_any(","):
            self._take()
            elements.append(self._nested(self._logic))
        return tuple(elements), self._expect(")").end

    def _nested(self, rule: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise CesqlSyntaxError(
                f"more than {DEPTH_MAX} levels",
                position=self._peek().start,
                code="cesql_too_deep",
            )
        node = rule()
        self._depth -= 1
        return node

    def _unary(self) -> Node:
        token = self._peek()
        if not token.is_any("not", "-", "+"):
            return self._primary()
        self._take()
        after = self._peek()
        if token.value != "not" and after.kind is Kind.INTEGER and after.start == token.end:
            return self._integer(self._take(), sign=token)
        if token.value == "+":
            raise CesqlSyntaxError("+ has no place here", position=token.start)
        operand = self._nested(self._unary)
        return Unary(operator=token.value, operand=operand, start=token.start, end=operand.end)

    def _integer(self, token: Token, *, sign: Token | None = None) -> Node:
        digits = token.value.lstrip("0") or "0"
        number = int(digits) if len(digits) <= 10 else INTEGER_MAX + 2
        if sign is not None and sign.value == "-":
            number = -number
        if not INTEGER_MIN <= number <= INTEGER_MAX:
            raise CesqlSyntaxError("an integer has 32 bits", position=token.start)
        return Literal(value=number, start=(sign or token).start, end=token.end)

    def _primary(self) -> Node:  # noqa: PLR0911 - one for each kind of primary
        token = self._peek()
        if token.is_any("("):
            self._take()
            node = self._nested(self._logic)
            return replace(node, start=token.start, end=self._expect(")").end)
        if token.is_any("true", "false"):
            self._take()
            return Literal(value=token.value == "true", start=token.start, end=token.end)
        if token.is_any("exists"):
            self._take()
            name = self._attribute(self._peek())
            return Exists(name=name.name, start=token.start, end=name.end)
        if token.kind is Kind.INTEGER:
            return self._integer(self._take())
        if token.kind is Kind.TEXT:
            self._take()
            return Literal(value=token.value, start=token.start, end=token.end)
        if token.kind is Kind.NAME and self._tokens[self._next + 1].is_any("("):
            return self._call(self._take())
        return self._attribute(token)

    def _attribute(self, token: Token) -> Attribute:
        if token.kind is not Kind.NAME or "_" in token.value:
            raise self._unexpected("a value")
        self._take()
        return Attribute(name=token.value.lower(), start=token.start, end=token.end)

    def _call(self, name: Token) -> Node:
        if not name.value.replace("_", "a").isalpha() or name.value.startswith("_"):
            raise CesqlSyntaxError(
                f"{name.value[:40]!r} cannot be a function", position=name.start
            )
        self._expect("(")
        if self._peek().is_any(")"):
            arguments, end = (), self._take().end
        else:
            arguments, end = self._list(self._nested(self._logic))
        return Call(name=name.value.upper(), arguments=arguments, start=name.start, end=end)
