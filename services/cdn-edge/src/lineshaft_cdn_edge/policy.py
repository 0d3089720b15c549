"""The operator's rules for what the origin leaves open, read from a YAML file."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from lineshaft_cdn_edge.cache_key import QueryRule
from lineshaft_cdn_edge.directives import SECONDS_MAX
from lineshaft_cdn_edge.fields import Fields

OTHER = "other"
"""Asset class of what fits none."""

CREDENTIAL_FIELDS = (
    "api-key",
    "apikey",
    "cf-access-jwt-assertion",
    "dpop",
    "ocp-apim-subscription-key",
    "private-token",
    "proxy-authorization",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-api-token",
    "x-apikey",
    "x-auth-request-access-token",
    "x-auth-token",
    "x-csrf-token",
    "x-forwarded-access-token",
    "x-functions-key",
    "x-goog-api-key",
    "x-goog-iap-jwt-assertion",
    "x-id-token",
    "x-session-id",
    "x-session-token",
    "x-shopify-access-token",
    "x-user-token",
    "x-vault-token",
    "x-xsrf-token",
)
"""Request fields in which credentials travel besides Authorization and Cookie."""

Seconds = Annotated[float, Field(ge=0, le=SECONDS_MAX)]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Heuristic(_Rule):
    """Bounds of the guess from Last-Modified; a fraction of 0 never guesses."""

    fraction: Annotated[float, Field(ge=0, le=1)]
    seconds_max: Seconds


class Query(_Rule):
    """See `cache_key.QueryRule`."""

    strip: tuple[str, ...] = ()
    sort: bool = False


class AssetClass(_Rule):
    """A kind of asset, recognised by suffix and media type together."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,31}$")]
    suffixes: tuple[str, ...]
    types: tuple[str, ...]
    static: bool = False
    """Whether the visitor's cookies are kept from the origin."""
    seconds: Seconds
    fingerprinted_seconds: Seconds | None = None
    stale_while_revalidate_seconds: Seconds = 0


class Override(_Rule):
    """A lifetime for paths that match a pattern; more exact than a class."""

    path: str
    types: tuple[str, ...]
    seconds: Seconds
    stale_while_revalidate_seconds: Seconds = 0


class Compression(_Rule):
    """What is worth compressing; sizes in bytes."""

    bytes_min: Annotated[int, Field(ge=0)] = 512
    bytes_max: Annotated[int, Field(ge=0)] = 16 * 1024**2
    first_bytes_max: Annotated[int, Field(ge=0)] = 1024**2
    types: tuple[str, ...] = ()

    def applies(self, media_type: str, body_bytes: int) -> bool:
        """Whether a body of this type and length is served compressed to who accepts it."""
        return self.bytes_min <= body_bytes <= self.bytes_max and matches(media_type, self.types)


class Grant(_Rule):
    """What the policy gives a response of which the origin says nothing."""

    seconds: Seconds
    stale_while_revalidate_seconds: Seconds = 0
    immutable: bool = False

    @property
    def cache_control(self) -> str:
        """The field that tells browsers the same."""
        if not self.seconds:
            return "public, no-cache"
        immutable = ", immutable" if self.immutable else ""
        return f"public, max-age={int(self.seconds)}{immutable}"


class Policy(_Rule):
    """All rules; see policy.yaml for what each is for."""

    heuristic: Heuristic
    negative_seconds: dict[int, Seconds] = {}
    grace_seconds: Seconds = 0
    hit_for_miss_seconds: Seconds = 30
    store_set_cookie: bool = False
    methods: tuple[str, ...] = ()
    """The methods that are served; all but TRACE and CONNECT when there are none."""
    invalid_age: Literal["ignore", "stale"] = "ignore"
    query: Query = Query()
    strip_request_fields: tuple[str, ...] = ()
    credential_request_fields: tuple[str, ...] = CREDENTIAL_FIELDS
    """Besides Authorization and Cookie; a file that does not name any has the usual ones."""
    fingerprint: str = "(?!)"
    classes: tuple[AssetClass, ...] = ()
    overrides: tuple[Override, ...] = ()
    compression: Compression = Compression()

    @field_validator("fingerprint")
    @classmethod
    def _is_expression(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return pattern

    @cached_property
    def query_rule(self) -> QueryRule:
        """The query part of the key's normalisation."""
        return QueryRule(strip=self.query.strip, sort=self.query.sort)

    @cached_property
    def _credential_names(self) -> frozenset[str]:
        return frozenset(name.lower() for name in self.credential_request_fields)

    def carries_credentials(self, request: Fields) -> bool:
        """Whether a request says who asks, other than by Authorization or Cookie."""
        return any(name.lower() in self._credential_names for name in request)

    def class_name(self, path: str, media_type: str) -> str:
        """Name the class to count under: by media type, which the suffix may make exact.

        Without a media type the suffix decides alone.
        """
        suffix = _suffix(path)
        likely = [rule for rule in self.classes if matches(media_type, rule.types)]
        for rule in likely if media_type else self.classes:
            if suffix in rule.suffixes:
                return rule.name
        return likely[0].name if len(likely) == 1 else OTHER

    def keeps_cookies_back(self, path: str) -> bool:
        """Whether the origin is asked for this path without the visitor's cookies."""
        suffix = _suffix(path)
        return any(rule.static and suffix in rule.suffixes for rule in self.classes)

    def grant(self, path: str, media_type: str) -> Grant | None:
        """Say what a 200 of this path and type gets when the origin is silent, if anything."""
        for override in self.overrides:
            if fnmatchcase(path, override.path) and matches(media_type, override.types):
                return Grant(
                    seconds=override.seconds,
                    stale_while_revalidate_seconds=override.stale_while_revalidate_seconds,
                )
        suffix = _suffix(path)
        for rule in self.classes:
            if suffix in rule.suffixes and matches(media_type, rule.types):
                return self._class_grant(rule, path)
        return None

    def _class_grant(self, rule: AssetClass, path: str) -> Grant:
        swr = rule.stale_while_revalidate_seconds
        name = PurePosixPath(path).name
        if rule.fingerprinted_seconds is not None and re.search(self.fingerprint, name):
            return Grant(
                seconds=rule.fingerprinted_seconds,
                stale_while_revalidate_seconds=swr,
                immutable=True,
            )
        return Grant(seconds=rule.seconds, stale_while_revalidate_seconds=swr)


def media_type(content_type: str | None) -> str:
    """Return the lower-case type and subtype without parameters; empty when absent."""
    return (content_type or "").partition(";")[0].strip().lower()


def matches(media_type: str, patterns: Iterable[str]) -> bool:
    """Whether a media type fits one of the patterns, such as `image/*`."""
    return any(fnmatchcase(media_type, pattern) for pattern in patterns)


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def load_policy(path: Path | None = None) -> Policy:
    """Read a policy file, or the packaged one; raises pydantic.ValidationError."""
    source = path or files("lineshaft_cdn_edge").joinpath("policy.yaml")
    return Policy.model_validate(yaml.safe_load(source.read_text(encoding="utf-8")))
