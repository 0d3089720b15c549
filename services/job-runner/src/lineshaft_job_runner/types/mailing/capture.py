"""Without a mail server mails go to a sink in the job's own process, and into an artifact."""

import asyncio
import mailbox
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.mailing.settings import MailSettings, Security

ARTIFACT = "mails.mbox"
KEPT_BYTES_MAX = 100 * 1024 * 1024
LOOPBACK = "127.0.0.1"


class Sink:
    """Takes every mail and appends it to a file that mail programs open (mbox, RFC 4155)."""

    def __init__(self, path: Path) -> None:
        self._box = mailbox.mbox(path)
        self._bytes = 0
        self.taken = 0

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name.
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Keep a mail, with its envelope: that alone tells who got it as Bcc."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        head = f"X-Envelope-From: {envelope.mail_from}\r\n"
        head += "".join(f"X-Envelope-To: {address}\r\n" for address in envelope.rcpt_tos)
        self.taken += 1
        self._bytes += len(content)
        if self._bytes <= KEPT_BYTES_MAX:
            self._box.add(head.encode() + content)
        return "250 captured"

    def close(self) -> None:
        """Write what is left to the file."""
        self._box.close()


@asynccontextmanager
async def captured(context: JobContext, settings: MailSettings) -> AsyncGenerator[MailSettings]:
    """Run a sink; gives the settings to reach it, and makes the artifact when the block ends."""
    async with context.artifact(ARTIFACT, media_type="application/mbox") as file:
        sink = Sink(file.path)
        loop = asyncio.get_running_loop()

        def protocol() -> SMTP:
            return SMTP(sink, hostname="localhost", enable_SMTPUTF8=True, loop=loop)

        server = await loop.create_server(protocol, LOOPBACK, 0)
        try:
            port = server.sockets[0].getsockname()[1]
            here = {
                "mail_host": LOOPBACK,
                "mail_port": port,
                "mail_security": Security.NONE,
                "mail_user": None,
            }
            yield settings.model_copy(update=here)
        finally:
            server.close()
            sink.close()
        file.rows = sink.taken
