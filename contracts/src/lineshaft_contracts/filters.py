"""Filters of subscriptions, in the shape of the CloudEvents Subscriptions API.

A list of objects, all of which have to be true of an event; each object has exactly one key, its
dialect. `exact`, `prefix`, `suffix`, `all`, `any`, `not` and `sql` are those of the specification
(section 3.2.4); `data` is a pattern of the payload in the manner of Amazon EventBridge.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lineshaft_contracts.envelope import Value

FILTERS_MAX = 32
"""In one list."""
JSON_DEPTH_MAX = 24
"""Objects and arrays inside each other, over all filters of a subscription."""
JSON_NODES_MAX = 1_024
"""Values, over all filters of a subscription."""
CHARACTERS_MAX = 16_384
"""Of all names and texts of a subscription's filters together."""
EXPRESSION_LENGTH_MAX = 2_048
ATTRIBUTES_MAX = 16
ATTRIBUTE_TEXT_MAX = 255

AttributeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,20}$")]
"""A context attribute; CloudEvents allows lower-case letters and digits."""
AttributeText = Annotated[str, StringConstraints(min_length=1, max_length=ATTRIBUTE_TEXT_MAX)]
Attributes = Annotated[
    dict[AttributeName, AttributeText], Field(min_length=1, max_length=ATTRIBUTES_MAX)
]
FilterList = Annotated[tuple["Filter", ...], Field(min_length=1, max_length=FILTERS_MAX)]


class Filter(BaseModel):
    """One condition on an event; exactly one field is given."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    exact: Attributes | None = None
    """Every attribute equals its text."""
    prefix: Attributes | None = None
    """Every attribute begins with its text."""
    suffix: Attributes | None = None
    """Every attribute ends with its text."""
    all: FilterList | None = None
    """Every one of these filters is true."""
    any: FilterList | None = None
    """At least one of these filters is true."""
    not_: Annotated["Filter | None", Field(alias="not")] = None
    """This filter is not true."""
    sql: (
        Annotated[str, StringConstraints(min_length=1, max_length=EXPRESSION_LENGTH_MAX)] | None
    ) = None
    """A CloudEvents SQL expression over the attributes; true when it is TRUE without errors."""
    data: Annotated[dict[str, JsonValue], Field(min_length=1, max_length=64)] | None = None
    """A pattern of the payload: by field, a list of the values and conditions that may hold."""

    @model_validator(mode="after")
    def _one_dialect(self) -> Self:
        if len(self.model_fields_set) != 1 or self.value is None:
            raise PydanticCustomError(
                "one_dialect", "a filter is an object with exactly one of {dialects}", _DIALECTS
            )
        return self

    @model_serializer
    def _write(self) -> dict[str, Any]:
        return {self.dialect: self.value}

    @property
    def dialect(self) -> str:
        """The key it is written with."""
        return next(iter(self.model_fields_set)).removesuffix("_")

    @property
    def value(self) -> Any:
        """What its dialect says."""
        return getattr(self, next(iter(self.model_fields_set), ""), None)


DIALECTS: tuple[str, ...] = tuple(name.removesuffix("_") for name in Filter.model_fields)
_DIALECTS = {"dialects": ", ".join(DIALECTS)}


def _bounded(filters: Any) -> Any:
    """Measure without recursion what comes from outside, before anything recurses into it."""
    characters = 0
    for nodes, (depth, value) in enumerate(_walk(filters), 1):
        characters += len(value) if isinstance(value, str) else 0
        if depth > JSON_DEPTH_MAX:
            raise PydanticCustomError(
                "filters_too_deep", "at most {levels} levels", {"levels": JSON_DEPTH_MAX}
            )
        if nodes > JSON_NODES_MAX or characters > CHARACTERS_MAX:
            raise PydanticCustomError(
                "filters_too_large",
                "at most {values} values and {characters} characters in all",
                {"values": JSON_NODES_MAX, "characters": CHARACTERS_MAX},
            )
    return filters


def _walk(root: Any) -> Iterator[tuple[int, Any]]:
    waiting: list[tuple[int, Any]] = [(1, root)]
    while waiting:
        depth, value = waiting.pop()
        yield depth, value
        if isinstance(value, Mapping):
            for name, inner in cast("Mapping[Any, Any]", value).items():
                yield depth, name
                waiting.append((depth + 1, inner))
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            waiting.extend((depth + 1, inner) for inner in cast("Sequence[Any]", value))
        elif isinstance(value, Filter):
            waiting.append((depth, {value.dialect: value.value}))


Filters = Annotated[tuple[Filter, ...], BeforeValidator(_bounded), Field(max_length=FILTERS_MAX)]
"""The filters of one subscription; none means every event."""

FILTERS = TypeAdapter[tuple[Filter, ...]](Filters)
"""Reads them; raises pydantic.ValidationError."""


class Clause(Value):
    """What became of one part of a filter for one event: the answer of a dry run."""

    pointer: str
    """JSON Pointer to the part, from the root of the subscription."""
    asked: str
    """The part in words."""
    matched: bool
    reason: str
    """What the event has instead, or why it matched."""
    clauses: tuple["Clause", ...] = ()
    """Its own parts, if it has any."""
