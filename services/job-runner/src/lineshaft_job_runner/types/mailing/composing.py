"""Makes the bytes of a mail: headers that nobody can add to, and parts in the usual order."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime

from lineshaft_contracts.email import Delivery, EmailParameters, Mailbox

from lineshaft_job_runner.types.mailing.addressing import Addressee, Role, envelope_address
from lineshaft_job_runner.types.mailing.settings import as_header
from lineshaft_job_runner.types.mailing.writing import Writer


@dataclass(frozen=True, kw_only=True)
class Enclosure:
    """A file that goes along."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One message and everybody who is to get it."""

    addressees: tuple[Addressee, ...]
    message_id: str
    """The same at every attempt, so that a reader's program knows a repetition."""


class Composer:
    """Makes the mails of one job."""

    def __init__(
        self,
        parameters: EmailParameters,
        *,
        job_id: str,
        sender: Mailbox,
        enclosures: Sequence[Enclosure],
    ) -> None:
        self._parameters = parameters
        self._job_id = job_id
        self._sender = sender
        self.envelope_sender = envelope_address(sender.address)
        self._enclosures = enclosures
        self._writer = Writer(parameters)

    def check(self, addressees: Iterable[Addressee]) -> None:
        """Render every mail, so that a template that fails does so before the first is sent."""
        for addressee in addressees:
            self._writer.check(addressee)

    def mail(self, addressees: tuple[Addressee, ...]) -> Mail:
        """Name a mail after its job and, unless it is one for all, its recipient."""
        together = self._parameters.delivery is Delivery.TOGETHER
        whose = "" if together else addressees[0].key
        digest = hashlib.sha256(f"{self._job_id}:{whose}".encode()).hexdigest()[:40]
        domain = self.envelope_sender.rpartition("@")[2]
        return Mail(addressees=addressees, message_id=f"<{digest}@{domain}>")

    def compose(self, mail: Mail) -> bytes:
        """Return the message with its headers; only Bcc names are left out of them."""
        written = self._writer.write(mail.addressees[0])
        utf8 = any(a.needs_utf8 for a in mail.addressees if a.role is not Role.BCC)
        utf8 = utf8 or not self.envelope_sender.isascii()
        policy = SMTPUTF8 if utf8 else SMTP.clone(cte_type="7bit")
        message = EmailMessage(policy=policy)
        message["From"] = as_header(self._sender, self.envelope_sender)
        for role in (Role.TO, Role.CC):
            named = [as_header(a.mailbox, a.envelope) for a in mail.addressees if a.role is role]
            if named:
                message[role.value] = named
        if not any(a.role is not Role.BCC for a in mail.addressees):
            message["To"] = "undisclosed-recipients:;"
        if self._parameters.reply_to is not None:
            reply_to = self._parameters.reply_to
            message["Reply-To"] = as_header(reply_to, envelope_address(reply_to.address))
        message["Subject"] = written.subject
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = mail.message_id
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        message["X-Lineshaft-Job"] = self._job_id
        message.set_content(written.text)
        if written.html is not None:
            message.add_alternative(written.html, subtype="html")
        for enclosure in self._enclosures:
            kind, _, subtype = enclosure.media_type.partition("/")
            message.add_attachment(
                enclosure.content, maintype=kind, subtype=subtype, filename=enclosure.name
            )
        return self._list_headers() + message.as_bytes()

    def _list_headers(self) -> bytes:
        """Write what email.policy would fold in the middle of an address."""
        targets = self._parameters.list_unsubscribe
        if not targets:
            return b""
        lines = "List-Unsubscribe: " + ",\r\n ".join(f"<{target}>" for target in targets) + "\r\n"
        if any(target.startswith("https:") for target in targets):
            lines += "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        return lines.encode("ascii")
