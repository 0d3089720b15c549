"""Refuses subscriptions that could never work, or would do what nobody may."""

from collections.abc import Iterator

from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from lineshaft_contracts.subscriptions import (
    Protocol,
    SetSubscription,
    Subscription,
    SubscriptionView,
)
from yarl import URL

from lineshaft_event_router.filters.checking import check_filters, check_topics, check_types
from lineshaft_event_router.subscriptions.addresses import AddressGuard, AddressRefusedError
from lineshaft_event_router.subscriptions.signing import BadSecretError, key_of

OWN_HEADERS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)


def check(command: SetSubscription, guard: AddressGuard) -> None:
    """Raise ProblemError for a subscription that is not valid."""
    wanted = command.subscription
    problems = [
        *check_types(wanted.types),
        *check_topics(wanted.topics),
        *check_filters(wanted.filters, types=wanted.types),
        *_headers(wanted),
        *_sink(wanted, guard),
        *_secrets(command),
    ]
    if problems:
        raise ProblemError(
            Problem(
                code="invalid_subscription",
                title="The subscription is not valid",
                detail=f"{len(problems)} part(s) need attention",
                status=422,
                errors=tuple(problems[:50]),
            )
        )


def check_change(before: SubscriptionView, after: Subscription) -> None:
    """Raise ProblemError for what cannot be changed of an existing subscription."""
    old = before.subscription
    if old.protocol is not after.protocol:
        raise ProblemError(
            Problem(
                code="protocol_is_fixed",
                title="The protocol of a subscription cannot be changed",
                detail="Delete it and make it again.",
                status=409,
            )
        )
    mine, wanted = old.protocolsettings, after.protocolsettings
    limits = (mine.length_max, mine.message_ttl_seconds)
    if old.protocol is Protocol.AMQP and limits != (
        wanted.length_max,
        wanted.message_ttl_seconds,
    ):
        raise ProblemError(
            Problem(
                code="queue_settings_are_fixed",
                title="The limits of a queue cannot be changed",
                detail="length_max and message_ttl_seconds stay: delete it and make it again.",
                status=409,
            )
        )


def _headers(wanted: Subscription) -> Iterator[FieldProblem]:
    for name in wanted.protocolsettings.headers:
        lowered = name.lower()
        if lowered in OWN_HEADERS or lowered.startswith(("webhook-", "proxy-")):
            yield FieldProblem(
                pointer=f"/protocolsettings/headers/{name}",
                code="header_not_allowed",
                message="is written by the router itself",
            )


def _sink(wanted: Subscription, guard: AddressGuard) -> Iterator[FieldProblem]:
    if wanted.sink is None:
        return
    message = None
    try:
        url = URL(wanted.sink)
        if not url.host or url.port is None:
            message = "has no host"
        elif url.user is not None or url.password is not None or url.fragment:
            message = "may have no user, password or fragment"
        else:
            guard.check_url(url)
    except AddressRefusedError as error:
        message = str(error)
    except ValueError:
        message = "is no URL"
    if message is not None:
        yield FieldProblem(pointer="/sink", code="sink_not_allowed", message=message)


def _secrets(command: SetSubscription) -> Iterator[FieldProblem]:
    if command.sinkcredential is None:
        return
    if command.subscription.protocol is not Protocol.HTTP:
        yield FieldProblem(
            pointer="/sinkcredential", code="no_credential", message="only HTTP is signed"
        )
    for index, secret in enumerate(command.sinkcredential.secrets):
        try:
            key_of(secret)
        except BadSecretError as error:
            yield FieldProblem(
                pointer=f"/sinkcredential/secrets/{index}", code="bad_secret", message=str(error)
            )
