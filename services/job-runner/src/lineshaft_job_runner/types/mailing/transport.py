"""One SMTP connection, and what the server's answers mean for each recipient."""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

import aiosmtplib
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from lineshaft_job_runner.job_type import PermanentError, RetryableError
from lineshaft_job_runner.types.mailing.addressing import Addressee
from lineshaft_job_runner.types.mailing.outbox import Answer, State
from lineshaft_job_runner.types.mailing.settings import MailSettings, Security

BROKEN = (SMTPServerDisconnected, SMTPTimeoutError, OSError)
SERVICE_CLOSES = 421
TOO_LARGE = 552

BeforeData = Callable[[Sequence[str]], Awaitable[None]]
"""Called with the keys of those whom the server took, before anything is handed over for them."""


class Transport:
    """Connects when there is something to send, and again after the connection broke."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._server: aiosmtplib.SMTP | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        server, self._server = self._server, None
        if server is not None and server.is_connected:
            try:
                await server.quit(timeout=2)
            except (SMTPException, OSError):
                server.close()

    async def takes_utf8(self) -> bool:
        """Whether the server takes addresses with other characters than ASCII."""
        return (await self._connected()).supports_extension("smtputf8")

    async def send(
        self,
        message: bytes,
        *,
        sender: str,
        recipients: Sequence[Addressee],
        before_data: BeforeData,
    ) -> dict[str, Answer]:
        """Hand a message over; returns one answer for each recipient, by its key.

        UNKNOWN is what was handed over without an answer. Whatever breaks before that is DEFERRED.
        """
        server = await self._connected()
        keys = [addressee.key for addressee in recipients]
        limit = server.esmtp_extensions.get("size", "")
        if limit.isdigit() and 0 < int(limit) < len(message):
            words = f"the mail has {len(message)} bytes, the server takes {limit}"
            return dict.fromkeys(keys, _refused(TOO_LARGE, words))
        try:
            answers = await self._envelope(server, message, sender, recipients)
        except BROKEN as error:
            self._drop()
            return dict.fromkeys(keys, Answer(state=State.DEFERRED, reply=_words(error)))
        taken = [key for key in keys if key not in answers]
        if taken:
            await before_data(taken)
            answers |= dict.fromkeys(taken, await self._data(server, message))
        return answers

    async def _envelope(
        self,
        server: aiosmtplib.SMTP,
        message: bytes,
        sender: str,
        recipients: Sequence[Addressee],
    ) -> dict[str, Answer]:
        """Name sender and recipients; returns what was refused."""
        utf8 = not (sender.isascii() and all(a.envelope.isascii() for a in recipients))
        utf8 = utf8 or not message.isascii()
        options = ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else []
        encoding = "utf-8" if utf8 else "ascii"
        answers: dict[str, Answer] = {}
        try:
            await server.mail(sender, options=options, encoding=encoding)
        except SMTPResponseException as error:
            await self._reset(server, error.code)
            return {a.key: _refused(error.code, error.message) for a in recipients}
        for addressee in recipients:
            try:
                await server.rcpt(addressee.envelope, encoding=encoding)
            except SMTPRecipientRefused as error:
                answers[addressee.key] = _refused(error.code, error.message)
        if len(answers) == len(recipients):
            await self._reset(server, next(iter(answers.values())).code)
        return answers

    async def _data(self, server: aiosmtplib.SMTP, message: bytes) -> Answer:
        try:
            response = await server.data(message)
        except SMTPDataError as error:
            await self._reset(server, error.code)
            return _refused(error.code, error.message)
        except (*BROKEN, SMTPException) as error:
            self._drop()
            return Answer(state=State.UNKNOWN, reply=_words(error))
        return Answer(state=State.SENT, code=response.code, reply=response.message)

    async def _reset(self, server: aiosmtplib.SMTP, code: int | None) -> None:
        """Begin anew after a refusal; a server that closes is left."""
        if code == SERVICE_CLOSES:
            self._drop()
            return
        try:
            await server.rset()
        except (SMTPException, OSError):
            self._drop()

    def _drop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._server is not None and self._server.is_connected:
            return self._server
        self._drop()
        settings = self._settings
        server = _client(settings)
        try:
            await server.connect()
            await server.ehlo()
            secret = settings.secret()
            if settings.mail_user and secret is not None:
                await server.login(settings.mail_user, secret)
        except SMTPAuthenticationError as error:
            server.close()
            raise _no_login(error) from error
        except ssl.SSLError as error:
            server.close()
            raise RetryableError("smtp_tls_failed", f"TLS with the server: {error}") from error
        except (SMTPException, OSError, ValueError) as error:
            server.close()
            raise RetryableError(
                "smtp_unavailable", f"the mail server does not answer as it should: {error}"
            ) from error
        self._server = server
        return server


def _client(settings: MailSettings) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=settings.mail_host,
        port=settings.mail_port,
        timeout=settings.mail_timeout_seconds,
        use_tls=settings.mail_security is Security.TLS,
        start_tls=settings.mail_security is Security.STARTTLS,
        cert_bundle=None if settings.mail_ca_file is None else str(settings.mail_ca_file),
    )


def _no_login(error: SMTPAuthenticationError) -> Exception:
    words = f"the mail server refuses the login: {error.code} {error.message}"
    if 400 <= error.code < 500:
        return RetryableError("smtp_login_refused", words)
    return PermanentError("smtp_login_refused", words)


def _refused(code: int, message: str) -> Answer:
    """Tell a refusal that may pass (4xx) from one that stands (5xx); an odd code is unknown."""
    if 400 <= code < 500:
        state = State.DEFERRED
    elif 500 <= code < 600:
        state = State.REFUSED
    else:
        state = State.UNKNOWN
    return Answer(state=state, code=code, reply=" ".join(message.split()))


def _words(error: BaseException) -> str:
    return f"the connection broke: {error or type(error).__name__}"
