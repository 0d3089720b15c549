"""HTTP services of the sources file: where a job may send requests, and with which secrets."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lineshaft_job_runner.job_data import Endpoint
from lineshaft_job_runner.secret_references import SecretReference
from lineshaft_job_runner.source_errors import SourceError
from lineshaft_job_runner.source_tables import Name

PATH_CHARACTERS_MAX = 4_096

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
HeaderText = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,1024}$")]
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
"""RFC 3986, without the fragment; anything else is percent-encoded by who asks."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ServiceAccess(_Entry):
    """How one tenant reaches the service."""

    base_url: str | None = None
    """The source's when absent."""
    headers: dict[HeaderName, HeaderText | SecretReference] | None = None
    """Instead of the source's: nobody's secret goes to somebody else's service."""


class HttpEntry(_Entry):
    """An HTTP service."""

    kind: Literal["http"]
    base_url: str | None = None
    allowed_path: Annotated[str, StringConstraints(pattern=r"^/")] | None = None
    """Requests stay below it; the path of `base_url` when absent."""
    headers: dict[HeaderName, HeaderText | SecretReference] = Field(
        default_factory=dict, max_length=32
    )
    """Sent with each request; secrets by reference: {env: ERP_TOKEN, prefix: "Bearer "}."""
    tenants: dict[Name, ServiceAccess] | None = None
    """Who may use it; every tenant when absent."""
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10
    response_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    """For one whole answer."""
    response_bytes_max: Annotated[int, Field(ge=1, le=2**31)] = 64 * 1024**2

    @model_validator(mode="after")
    def _has_addresses(self) -> Self:
        tenants = self.tenants or {}
        if self.base_url is None and (
            not tenants or any(one.base_url is None for one in tenants.values())
        ):
            raise ValueError("base_url is needed here, or at each of the tenants")
        for url in filter(None, [self.base_url, *(one.base_url for one in tenants.values())]):
            _check_base(url)
        return self

    def endpoint(self, name: str, tenant: str, environment: Mapping[str, str]) -> Endpoint:
        """Return the service as the tenant reaches it; raises SourceError without a secret."""
        access = (self.tenants or {}).get(tenant) or ServiceAccess()
        base, given = access.base_url or self.base_url or "", access.headers
        if given is None:
            # The secrets of the source are for its own service alone.
            given = self.headers if access.base_url in {None, self.base_url} else {}
        headers = {header: _filled(value, name, environment) for header, value in given.items()}
        allowed = self.allowed_path or urlsplit(base).path
        return Endpoint(
            base_url=base,
            headers=headers,
            connect_timeout_seconds=self.connect_timeout_seconds,
            response_timeout_seconds=self.response_timeout_seconds,
            response_bytes_max=self.response_bytes_max,
            resolve=lambda path: _resolved(path, name=name, base=base, allowed=allowed),
        )


def _check_base(url: str) -> None:
    parts = urlsplit(url)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.username is not None
        or parts.query
        or parts.fragment
        or not _PATH.fullmatch(parts.path)
    ):
        raise ValueError("base_url is http(s)://host[:port]/path, without a login or a query")


def _filled(value: "str | SecretReference", name: str, environment: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return value
    secret = value.resolve(name, environment)
    if not _HEADER_VALUE.fullmatch(secret):
        raise SourceError(
            "source_not_configured",
            f"a secret of data source {name!r} has characters that no HTTP header may have",
        )
    return secret


def _resolved(path: str, *, name: str, base: str, allowed: str) -> str:
    parts = urlsplit(base)
    asked, question, query = path.partition("?")
    if not asked.startswith("/"):
        asked = parts.path.rstrip("/") + "/" + asked
    inside = asked == allowed or asked.startswith(allowed.rstrip("/") + "/")
    if (
        len(path) > PATH_CHARACTERS_MAX
        or not _PATH.fullmatch(path)
        or asked.startswith("//")
        or "://" in asked
        or not inside
        or not _is_plain(asked)
    ):
        raise SourceError(
            "source_path_refused",
            f"{path[:200]!r} does not stay below {allowed!r} of data source {name!r}",
        )
    return f"{parts.scheme}://{parts.netloc}{asked}{question}{query}"


def _is_plain(path: str) -> bool:
    """Whether no segment leads upward, however often a server decodes it."""
    for _ in range(3):
        segments = re.split(r"[/\\]", path)
        if any(segment.split(";")[0] in {".", ".."} for segment in segments):
            return False
        path = unquote(path)
    return "%" not in path or unquote(path) == path
