"""A real SMTP server in the test's loop that answers as its test says and counts what it took."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

OK = "250 OK"


@dataclass
class Taken:
    """One message that was handed over."""

    sender: str
    recipients: list[str]
    content: bytes
    answered: bool = True

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.content, policy=default)
        assert isinstance(message, EmailMessage)
        return message


@dataclass
class SmtpServer:
    """What it answers, and what came; the handler of aiosmtpd."""

    port: int = 0
    taken: list[Taken] = field(default_factory=list[Taken])
    recipient_answers: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Answers to RCPT by address; the last one stays."""
    sender_answer: str = OK
    data_answers: list[str] = field(default_factory=list[str])
    """Answers to DATA, OK when they are used up; `drop` takes the mail and hangs up."""
    _greeted: int = 0
    on_taken: Callable[[Taken], None] | None = None
    connections: int = 0
    connections_max: int = 1_000
    """Any more are closed without a word."""

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name.
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        self._greeted += 1
        if self._greeted > self.connections_max:
            transport: Any = server.transport
            transport.abort()
        return responses

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name.
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if self.sender_answer == OK:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return self.sender_answer

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name.
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        answers = self.recipient_answers.get(address, [OK])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name.
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        answer = self.data_answers.pop(0) if self.data_answers else OK
        if answer != "drop" and not answer.startswith("2"):
            return answer
        assert isinstance(envelope.content, bytes)
        taken = Taken(
            str(envelope.mail_from), list(envelope.rcpt_tos), envelope.content, answer != "drop"
        )
        self.taken.append(taken)
        if self.on_taken is not None:
            self.on_taken(taken)
        if answer == "drop":
            transport: Any = server.transport
            transport.abort()
        return answer

    @property
    def by_recipient(self) -> Counter[str]:
        """How many messages each address was handed."""
        return Counter(address for taken in self.taken for address in taken.recipients)


@asynccontextmanager
async def smtp_server(**options: Any) -> AsyncGenerator[SmtpServer]:
    """Listen on a free port while the block is open."""
    handler = SmtpServer()
    options = {"enable_SMTPUTF8": True, "hostname": "mail.test", **options}

    def protocol() -> SMTP:
        handler.connections += 1
        return SMTP(handler, loop=asyncio.get_running_loop(), **options)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    handler.port = server.sockets[0].getsockname()[1]
    try:
        yield handler
    finally:
        server.close()
        await server.wait_closed()
