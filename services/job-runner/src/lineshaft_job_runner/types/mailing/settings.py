"""Where mails go, as the operator says it: a server, or nowhere but into an artifact."""

from email.headerregistry import Address
from email.utils import parseaddr
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from lineshaft_contracts.email import Mailbox
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lineshaft_job_runner.job_type import PermanentError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Security(StrEnum):
    """How the connection is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


class MailSettings(BaseSettings):
    """What the environment says about mail; without a host mails are captured, not sent."""

    model_config = SettingsConfigDict(
        env_prefix="LINESHAFT_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    mail_host: str | None = None
    """SMTP server; None captures every mail in an artifact of its job."""
    mail_port: Annotated[int, Field(ge=1, le=65_535)] = 587
    """Usual ones are 587, 465 and 25."""
    mail_security: Security = Security.STARTTLS
    """starttls (587), tls (465) or none (25)."""
    mail_user: str | None = None
    """None sends without a login."""
    mail_password: SecretStr | None = None
    """Seen by every job type; better in a file."""
    mail_password_file: Path | None = None
    """Instead of the password itself."""
    mail_ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    mail_sender: str = "Lineshaft <lineshaft@localhost>"
    """From, when a job names none."""
    mail_sender_domains: str = ""
    """Domains that jobs may send from, separated by commas; the sender's own when empty."""
    mail_recipient_domains: str = ""
    """Domains that jobs may write to, separated by commas; all when empty."""
    mail_per_minute_max: Annotated[int, Field(ge=1)] = 600
    """Mails of one job in a minute."""
    mail_connections_max: Annotated[int, Field(ge=1, le=50)] = 4
    """Of one job at once; as many mails may be `unknown` when its process is killed."""
    mail_attachment_bytes_max: Annotated[int, Field(ge=0)] = 10 * 1024 * 1024
    """Of all attachments of a mail together."""
    mail_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60.0
    """For one answer of the server."""

    @model_validator(mode="after")
    def _keeps_the_password(self) -> Self:
        secret = self.mail_password is not None or self.mail_password_file is not None
        open_network = self.mail_security is Security.NONE and self.mail_host not in LOOPBACK
        if self.mail_host is not None and secret and open_network:
            raise ValueError("a password needs LINESHAFT_MAIL_SECURITY=starttls or tls")
        return self

    @classmethod
    def read(cls) -> Self:
        """Read the environment; PermanentError `mail_not_configured` names what is wrong."""
        try:
            return cls.model_validate({})
        except ValidationError as error:
            found = "; ".join(
                f"LINESHAFT_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}"
                for e in error.errors(include_input=False)
            )
            raise PermanentError("mail_not_configured", found) from None

    @property
    def captures(self) -> bool:
        """Whether mails go into an artifact."""
        return self.mail_host is None

    @property
    def default_sender(self) -> Mailbox:
        """From, when a job names none."""
        name, address = parseaddr(self.mail_sender)
        return Mailbox(address=address, name=name)

    def secret(self) -> str | None:
        """Return the password."""
        if self.mail_password_file is not None:
            try:
                return self.mail_password_file.read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as error:
                raise PermanentError(
                    "mail_not_configured", f"LINESHAFT_MAIL_PASSWORD_FILE: {error.strerror}"
                ) from error
        return None if self.mail_password is None else self.mail_password.get_secret_value()

    def check_sender(self, sender: Mailbox) -> None:
        """Raise PermanentError `sender_not_allowed`."""
        allowed = _domains(self.mail_sender_domains) or {_domain(self.default_sender.address)}
        if _domain(sender.address) not in allowed:
            raise PermanentError(
                "sender_not_allowed",
                f"mails are sent from {', '.join(sorted(allowed))} only: leave `sender` out, or "
                "let the operator add the domain to LINESHAFT_MAIL_SENDER_DOMAINS",
            )

    def allows_recipient(self, address: str) -> bool:
        """Whether jobs may write to this address."""
        allowed = _domains(self.mail_recipient_domains)
        return not allowed or _domain(address) in allowed


def _domains(text: str) -> set[str]:
    return {domain.strip().lower() for domain in text.split(",") if domain.strip()}


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def as_header(mailbox: Mailbox, ascii_address: str) -> Address:
    """Return a mailbox for a header."""
    local, _, domain = ascii_address.rpartition("@")
    return Address(display_name=mailbox.name, username=local, domain=domain)
