"""The one list of message types: who owns each, where it travels and how urgently."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias, TypeVar

from pydantic import TypeAdapter

from lineshaft_contracts.envelope import Asking, Envelope, Message, Unregistered
from lineshaft_contracts.topology import Exchange

M = TypeVar("M", bound=Message)
Model: TypeAlias = type[Message]

MODULES = (
    "alerts",
    "cdn",
    "dead_letters",
    "edges",
    "inventory",
    "job_catalogue",
    "job_control",
    "job_events",
    "job_schedules",
    "job_statistics",
    "job_work",
    "jobs",
    "monitoring",
    "plant_views",
    "problems",
    "production",
    "quality",
    "resource",
    "routing",
    "subscription_reports",
    "subscriptions",
    "telemetry",
)


class Kind(StrEnum):
    """What a message is for: a fact, an order, a question, or the answer to one."""

    EVENT = "event"
    COMMAND = "command"
    QUERY = "query"
    REPLY = "reply"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What everybody may rely on about one message type."""

    type: str
    kind: Kind
    model: Model
    owner: str
    """The service that alone publishes it (events, replies) or answers it (commands, queries)."""
    exchange: Exchange | None
    since: str
    external: bool
    """Whether writers outside the platform may send it, through the ingress."""
    time_to_live: timedelta | None
    durable: bool


class UnknownTypeError(LookupError):
    """No message of this type is registered."""


_CONTRACTS: dict[str, Contract] = {}


def message(
    type_: str,
    *,
    kind: Kind,
    owner: str,
    exchange: Exchange | None = None,
    since: str = "0.1",
    external: bool = False,
    time_to_live: timedelta | None = None,
    durable: bool = True,
) -> Callable[[type[M]], type[M]]:
    """Register the decorated model as the data of messages of `type_`."""

    def register(model: type[M]) -> type[M]:
        if type_ in _CONTRACTS:
            raise ValueError(f"{type_} is registered twice")
        model.type = type_
        asking: Any = model
        if issubclass(asking, Asking):
            _name_reply(asking)
        _CONTRACTS[type_] = Contract(
            type=type_,
            kind=kind,
            model=model,
            owner=owner,
            exchange=exchange,
            since=since,
            external=external,
            time_to_live=time_to_live,
            durable=durable,
        )
        return model

    return register


def _name_reply(asking: Any) -> None:
    for parent in asking.__mro__:
        metadata = getattr(parent, "__pydantic_generic_metadata__", None)
        if metadata and metadata["origin"] is Asking:
            asking.reply = metadata["args"][0]
            return
    raise TypeError(f"{asking.__name__} must name its reply: Asking[ItsReply]")


@cache
def contracts() -> Mapping[str, Contract]:
    """Every contract by type, in order."""
    for name in MODULES:
        import_module(f"lineshaft_contracts.{name}")
    return dict(sorted(_CONTRACTS.items()))


def contract_of(model: type[Message]) -> Contract:
    """Look up the contract of a model."""
    return _CONTRACTS[model.type]


def find(type_: str) -> Contract:
    """Look up a contract by its type, or raise UnknownTypeError.

    A process that deals with few messages has loaded few models; the rest only for the unknown.
    """
    contract = _CONTRACTS.get(type_) or contracts().get(type_)
    if contract is None:
        raise UnknownTypeError(f"no message type {type_!r} is known")
    return contract


@cache
def envelope_adapter(model: type[Message]) -> TypeAdapter[Envelope[Any]]:
    """Return the parser of a whole message whose data is `model`; built once per type."""
    generic: Any = Envelope
    return TypeAdapter(generic[model])


def read(type_: str, body: bytes) -> Envelope[Any]:
    """Parse a message as a consumer: fields added by a newer publisher are ignored.

    Raises UnknownTypeError or pydantic.ValidationError.
    """
    return envelope_adapter(find(type_).model).validate_json(body)


def read_any(body: bytes) -> Envelope[Unregistered]:
    """Parse the envelope alone and keep the data as it is; raises pydantic.ValidationError."""
    return envelope_adapter(Unregistered).validate_json(body)
