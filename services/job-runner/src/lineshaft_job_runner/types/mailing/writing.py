"""Templates that a request may bring: rendered in a sandbox, within limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import css_inline
from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2 import Template as Compiled
from jinja2.sandbox import ImmutableSandboxedEnvironment
from lineshaft_contracts.email import EmailParameters

from lineshaft_job_runner.job_type import PermanentError
from lineshaft_job_runner.types.mailing.addressing import Addressee

OUTPUT_CHARACTERS_MAX = 500_000
REPEATED_MAX = 100_000
SUBJECT_CHARACTERS_MAX = 500
BLOCKS = frozenset(
    {"p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "table", "ul", "ol", "section"}
)
UNSEEN = frozenset({"style", "script", "head", "title"})


@dataclass(frozen=True, kw_only=True)
class Written:
    """A mail's words."""

    subject: str
    text: str
    html: str | None


class _Environment(ImmutableSandboxedEnvironment):
    """Refuses what makes something huge of something small."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise TemplateError("powers are not allowed in templates")
        for some, times in ((left, right), (right, left)):
            if isinstance(times, int) and _length(some) * times > REPEATED_MAX:
                raise TemplateError(f"a text is repeated to at most {REPEATED_MAX} characters")
        return super().call_binop(context, operator, left, right)


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") and not isinstance(value, dict) else 0


class Writer:
    """Writes the mails of one job; a template that cannot be used is a PermanentError."""

    def __init__(self, parameters: EmailParameters) -> None:
        self._parameters = parameters
        plain = _environment(parameters.timezone, escapes=False)
        rich = _environment(parameters.timezone, escapes=True)
        text, html = parameters.text, parameters.html
        if parameters.template is not None:
            folder = files("lineshaft_job_runner.types.mailing").joinpath("templates")
            text = folder.joinpath(f"{parameters.template}.txt.j2").read_text(encoding="utf-8")
            html = folder.joinpath(f"{parameters.template}.html.j2").read_text(encoding="utf-8")
        self._subject = _compile(plain, "subject", parameters.subject)
        self._text = None if text is None else _compile(plain, "text", text)
        self._html = None if html is None else _compile(rich, "html", html)
        self._inliner = css_inline.CSSInliner(load_remote_stylesheets=False)

    def check(self, addressee: Addressee) -> None:
        """Render everything for one recipient, without the costly styles."""
        self._render(addressee)

    def write(self, addressee: Addressee) -> Written:
        """Write the mail for one recipient; raises PermanentError `template_failed`."""
        subject, text, html = self._render(addressee)
        if html is not None:
            try:
                html = self._inliner.inline(html)
            except ValueError as error:  # css_inline's own errors are of this kind.
                raise PermanentError("template_failed", f"html: {error}") from error
        return Written(subject=subject, text=text or _readable(html or ""), html=html)

    def _render(self, addressee: Addressee) -> tuple[str, str | None, str | None]:
        values = {
            **self._parameters.variables,
            **addressee.variables,
            "recipient": {"address": addressee.address, "name": addressee.mailbox.name},
        }
        subject = _render("subject", self._subject, values).strip()
        if not subject.isprintable() or not 1 <= len(subject) <= SUBJECT_CHARACTERS_MAX:
            raise PermanentError(
                "subject_refused",
                "the subject must be one line of 1 to 500 characters without control characters; "
                f"for {addressee.address} it is {subject[:80]!r}",
            )
        return (
            subject,
            None if self._text is None else _render("text", self._text, values),
            None if self._html is None else _render("html", self._html, values),
        )


def _environment(zone: str, *, escapes: bool) -> _Environment:
    environment = _Environment(
        autoescape=escapes, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["local_time"] = _local_time(ZoneInfo(zone))
    environment.filters["web_address"] = _web_address
    return environment


def _local_time(zone: ZoneInfo) -> Any:
    def shown(moment: Any) -> str:
        """Show an instant in the job's zone."""
        instant = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        return f"{instant.astimezone(zone):%Y-%m-%d %H:%M %Z}"

    return shown


def _web_address(address: Any) -> str:
    """Let only addresses through that a browser opens as a page."""
    if not str(address).startswith(("https://", "http://")):
        raise TemplateError("a link must begin with https:// or http://")
    return str(address)


def _compile(environment: _Environment, name: str, source: str) -> Compiled:
    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise PermanentError(
            "template_failed", f"{name}, line {error.lineno}: {error.message}"
        ) from error


def _render(name: str, template: Compiled, values: Mapping[str, Any]) -> str:
    parts: list[str] = []
    size = 0
    try:
        for part in template.generate(values):
            size += len(part)
            if size > OUTPUT_CHARACTERS_MAX:
                raise TemplateError(  # noqa: TRY301 - told like all others.
                    f"it makes more than {OUTPUT_CHARACTERS_MAX} characters"
                )
            parts.append(part)
    except MemoryError:
        raise
    except Exception as error:
        raise PermanentError(
            "template_failed", f"{name}: {type(error).__name__}: {error}"[:500]
        ) from error
    return "".join(parts)


class _Reader(HTMLParser):
    """Collects what a reader without HTML is to see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0
        self._links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.parts.append("\n")
        elif tag in UNSEEN:
            self._unseen += 1
        elif tag == "a":
            self._links.append(dict(attrs).get("href") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag == "a" and self._links:
            self.parts.append(f" <{self._links.pop()}>")
        elif tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(" ".join(data.split()) + " " if data.strip() else "")


def _readable(html: str) -> str:
    reader = _Reader()
    reader.feed(html)
    lines = [" ".join(line.split()) for line in "".join(reader.parts).splitlines()]
    return "\n".join(line for line in lines if line) + "\n"
