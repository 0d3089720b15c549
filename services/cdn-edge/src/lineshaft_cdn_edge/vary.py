"""Which of several responses to one URL answers a request (RFC 9111 section 4.1)."""

from functools import lru_cache
from typing import TypeAlias

from lineshaft_cdn_edge.fields import Fields, combined, members

VariantKey: TypeAlias = tuple[tuple[str, str | None], ...]
"""Selecting fields, sorted by lower-case name, with their normalised values."""

CODINGS = ("br", "gzip")
"""Content codings that the edge knows, best first."""


def selecting_names(fields: Fields) -> frozenset[str] | None:
    """Lower-case names that Vary lists; None for `*`, which no later request ever matches.

    Accept-Encoding is not among them: the edge asks every origin for the plain form and does
    the encoding itself, so the client's wish never reached the origin.
    """
    names = frozenset(name.lower() for name in members(fields.getall("vary", [])))
    return None if "*" in names else names - {"accept-encoding"}


def variant_key(names: frozenset[str], request: Fields) -> VariantKey:
    """Make the secondary key of a request, so that equal meaning gives an equal key."""
    return tuple((name, normal_value(name, combined(request, name))) for name in sorted(names))


def normal_value(name: str, value: str | None) -> str | None:
    """Normalise a selecting field's value; None stays apart from an empty one."""
    if value is None:
        return None
    if name == "accept-language":
        return _normal_languages(value)
    return ",".join(part.strip() for part in value.split(","))


@lru_cache(maxsize=512)
def accepted_codings(value: str | None) -> tuple[str, ...]:
    """Of the codings that the edge knows those that Accept-Encoding allows, best first."""
    weights = _weights(value or "")
    anything = weights.get("*", 0.0)
    allowed = [
        coding
        for coding in CODINGS
        if weights.get(coding, weights.get(f"x-{coding}", anything)) > 0
    ]
    return tuple(sorted(allowed, key=lambda coding: -weights.get(coding, anything)))


def _normal_languages(value: str) -> str:
    weights = _weights(value)
    return ",".join(
        f"{language};q={weight:g}"
        for language, weight in sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def _weights(value: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for member in members([value]):
        token, *parameters = [part.strip().lower() for part in member.split(";")]
        weights.setdefault(token, _weight(parameters))
    return weights


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(text.strip())
            except ValueError:
                return 0.0
            return weight if 0.0 <= weight <= 1.0 else 0.0
    return 1.0
