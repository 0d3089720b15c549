"""Parameters and result of email.send: who is written to, what, and what became of each mail."""

import re
import unicodedata
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from lineshaft_contracts.envelope import Value
from lineshaft_contracts.job_parameters import JobParameters, JobResult, Name, SourceQuery
from lineshaft_contracts.jobs import ArtifactName

LOCAL_PART_BYTES_MAX = 64
ADDRESS_BYTES_MAX = 254
RECIPIENTS_MAX = 10_000

_ATOM = re.compile(r"[^\s\x00-\x1f\x7f()<>@,;:\\\"\[\]]+")
_LABEL = re.compile(r"(?!-)[^\W_]([\w-]*[^\W_])?", re.UNICODE)


def _mailbox(text: str) -> str:
    """Check an address of RFC 5321 and RFC 6531, without quoted strings and address literals."""
    local, at, domain = unicodedata.normalize("NFC", text).rpartition("@")
    labels = domain.split(".")
    fits = (
        at == "@"
        and len(local.encode()) <= LOCAL_PART_BYTES_MAX
        and len(text.encode()) <= ADDRESS_BYTES_MAX
        and all(_ATOM.fullmatch(atom) for atom in local.split("."))
        and all(len(label) <= 63 and _LABEL.fullmatch(label) for label in labels)
        and not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in text)
    )
    if not fits:
        raise ValueError(f"{text[:80]!r} is not an e-mail address, such as anna@example.org")
    return f"{local}@{domain.lower()}"


def _one_line(text: str) -> str:
    if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in text):
        raise ValueError("control characters and line breaks are not allowed here")
    return text


MailAddress = Annotated[str, StringConstraints(max_length=254), AfterValidator(_mailbox)]
"""local@domain; either part may be in any script (RFC 6531)."""
OneLine = Annotated[str, AfterValidator(_one_line)]
DisplayName = Annotated[OneLine, StringConstraints(max_length=100)]
Template = Annotated[str, StringConstraints(min_length=1, max_length=32_768)]
Clock = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
"""Hours and minutes of the day, such as 22:00."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Mailbox(_Part):
    """An address with the name that is shown for it."""

    address: MailAddress
    name: DisplayName = ""


class Recipient(Mailbox):
    """Who gets a mail."""

    variables: dict[Name, JsonValue] = Field(default_factory=dict, max_length=100)
    """For the templates, on top of the mail's own; only with delivery `separate`."""


class RecipientQuery(SourceQuery):
    """Recipients from a data source; every column is a variable of its recipient's mail."""

    address_column: Name = "address"
    name_column: Name | None = None


class Attachment(_Part):
    """An artifact of an earlier job of the same tenant."""

    job_id: UUID
    """The job that made it and succeeded; name it in `after` of this job to wait for it."""
    artifact: ArtifactName
    file_name: (
        Annotated[OneLine, StringConstraints(min_length=1, max_length=128, pattern=r"^[^/\\]+$")]
        | None
    ) = None
    """Shown to the reader; the artifact's name when absent."""


class QuietHours(_Part):
    """A part of each day, in `timezone`, in which no mail is sent: the job waits for its end."""

    start: Clock
    """From this minute on; later than `end` when the night lies between."""
    end: Clock
    """Mails are sent again from this minute on."""

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end must differ: there would be no time to send")
        return self


class BuiltInTemplate(StrEnum):
    """Texts and layouts that come with the platform."""

    NOTICE = "notice"
    """Variables: headline, paragraphs (list), facts (object), link {url, label}."""
    ALERT = "alert"
    """Variables: headline, severity, where, since, facts (object), link {url, label}."""


class Delivery(StrEnum):
    """Who sees whom."""

    SEPARATE = "separate"
    """A mail of its own for each recipient, who sees nobody else."""
    TOGETHER = "together"
    """One mail to all; To and Cc are seen by everybody, Bcc by nobody."""


class Repeat(StrEnum):
    """What happens to a mail whose outcome nobody knows.

    The connection or the process broke between handing it over and the server's answer.
    """

    AT_MOST_ONCE = "at_most_once"
    """It is reported as `unknown` and never sent again."""
    AT_LEAST_ONCE = "at_least_once"
    """It is sent again under the same Message-ID; the reader may get it twice."""


class EmailParameters(JobParameters):
    """Send mails from templates; no mail is sent twice, whatever is retried."""

    to: Annotated[tuple[Recipient, ...], Field(max_length=1_000)] = ()
    """Recipients given here."""
    recipients: RecipientQuery | None = None
    """Or read from a data source, up to 10,000; only with delivery `separate`."""
    cc: Annotated[tuple[Mailbox, ...], Field(max_length=100)] = ()
    """Only with delivery `together`."""
    bcc: Annotated[tuple[Mailbox, ...], Field(max_length=100)] = ()
    """Only with delivery `together`; no header names them."""
    delivery: Delivery = Delivery.SEPARATE
    sender: Mailbox | None = None
    """From; the operator's own when absent, and only of domains that the operator allows."""
    reply_to: Mailbox | None = None
    subject: Annotated[OneLine, StringConstraints(min_length=1, max_length=500)]
    """A template (Jinja) of one line."""
    template: BuiltInTemplate | None = None
    """A built-in body, instead of `text` and `html`."""
    text: Template | None = None
    """Template (Jinja) of the plain text; made from `html` when absent."""
    html: Template | None = None
    """Template (Jinja) of the HTML: variables are escaped, <style> is moved into the elements."""
    variables: dict[Name, JsonValue] = Field(default_factory=dict, max_length=100)
    """For the templates; `recipient` {address, name} is always there."""
    attachments: Annotated[tuple[Attachment, ...], Field(max_length=20)] = ()
    list_unsubscribe: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^(https://|mailto:)[!-~]{1,500}$")], ...],
        Field(max_length=2),
    ] = ()
    """https: and mailto: addresses by which a reader ends such mails (RFC 2369, RFC 8058)."""
    per_minute_max: Annotated[int, Field(ge=1, le=60_000)] | None = None
    """Mails in a minute; the operator's own limit holds as well."""
    quiet_hours: QuietHours | None = None
    repeat: Repeat = Repeat.AT_MOST_ONCE
    retry_first_seconds: Annotated[float, Field(ge=1, le=3_600)] = 60.0
    """Wait after a temporary refusal (4xx); it doubles, up to an hour."""
    retry_seconds_max: Annotated[float, Field(ge=0, le=5 * 86_400)] = 14_400.0
    """How long after its first try a mail that is refused temporarily is given up."""

    @model_validator(mode="after")
    def _has_recipients(self) -> Self:
        if bool(self.to) == (self.recipients is not None):
            raise ValueError("give exactly one of `to` and `recipients`")
        if self.delivery is Delivery.TOGETHER:
            if self.recipients is not None or any(r.variables for r in self.to):
                raise ValueError(
                    "delivery `together` is one mail: it takes no `recipients` from a source and "
                    "no variables of single recipients"
                )
        elif self.cc or self.bcc:
            raise ValueError("`cc` and `bcc` need delivery `together`")
        return self

    @model_validator(mode="after")
    def _has_a_body(self) -> Self:
        if (self.template is None) == (self.text is None and self.html is None):
            raise ValueError("give either `template`, or `text`, `html` or both")
        return self


class DeliveryState(StrEnum):
    """What is known about one recipient's mail."""

    SENT = "sent"
    """The server took it (250)."""
    REFUSED = "refused"
    """The server refused it for good (5xx), or it could not be written."""
    GIVEN_UP = "given_up"
    """The server refused it temporarily (4xx) for longer than `retry_seconds_max`."""
    UNKNOWN = "unknown"
    """It was handed over, but no answer came; it may have arrived."""
    DUPLICATE = "duplicate"
    """The same address again: it gets one mail."""
    CHECKED = "checked"
    """A dry run wrote the mail, but sent nothing."""


class RecipientOutcome(Value):
    """What became of one recipient."""

    address: str
    state: DeliveryState
    code: int | None = None
    """The server's reply code, such as 250 or 550."""
    reply: str = ""
    """The server's words."""
    message_id: str = ""


class EmailResult(JobResult):
    """How many mails were taken; the artifact `deliveries.ndjson` has every recipient.

    `ok` are `sent`; `failed` are `refused`, `given_up` and `unknown`; `skipped` the rest.
    """

    sent: int
    refused: int
    given_up: int
    unknown: int
    captured: bool
    """The mails are in the artifact `mails.mbox`, for looking at them; no reader gets them."""
    deliveries: Annotated[tuple[RecipientOutcome, ...], Field(max_length=100)] = ()
    """The first ones, those that failed before the others."""
