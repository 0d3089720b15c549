"""Sends what is due, one mail after the other, each recorded before and after."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from lineshaft_contracts.email import EmailParameters

from lineshaft_job_runner.job_type import JobContext, RetryableError, SnoozeError
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.mailing.addressing import Addressee
from lineshaft_job_runner.types.mailing.composing import Composer, Mail
from lineshaft_job_runner.types.mailing.outbox import FINAL, Answer, Outbox, State
from lineshaft_job_runner.types.mailing.pacing import Pace, quiet_until
from lineshaft_job_runner.types.mailing.settings import MailSettings
from lineshaft_job_runner.types.mailing.transport import Transport

SLICE_SECONDS = 300.0
"""A job that sends for longer goes on in another attempt, so that none runs out of time."""

Clock = Callable[[], datetime]


class Sending:
    """One attempt's work on the mails of a job."""

    def __init__(
        self,
        context: JobContext,
        parameters: EmailParameters,
        *,
        settings: MailSettings,
        composer: Composer,
        outbox: Outbox,
        now: Clock,
    ) -> None:
        self._context = context
        self._parameters = parameters
        self._composer = composer
        self._outbox = outbox
        self._now = now
        self._settings = settings
        per_minute = parameters.per_minute_max or settings.mail_per_minute_max
        self._pace = Pace(min(per_minute, settings.mail_per_minute_max))
        self._ends = time.monotonic() + SLICE_SECONDS
        self._stopping = False

    async def send(self, mails: Sequence[Mail]) -> None:
        """Send all; SnoozeError when some have to wait."""
        everybody = [addressee for mail in mails for addressee in mail.addressees]
        self._total = len(everybody)
        self._counts = self._outbox.count(everybody)
        self._report()
        waiting = deque(mails)
        ends = await asyncio.gather(
            *(self._send_next(waiting) for _ in range(self._settings.mail_connections_max)),
            return_exceptions=True,
        )
        errors = [end for end in ends if end is not None]
        for error in sorted(errors, key=_is_no_connection):
            if waiting or not _is_no_connection(error):
                raise error
        next_due = self._outbox.next_due(everybody)
        if next_due is not None:
            wait = max(0.0, (next_due - self._now()).total_seconds())
            raise SnoozeError(wait, "some mails were refused for now and are tried again")

    async def _send_next(self, waiting: deque[Mail]) -> None:
        """Send over a connection of its own until nothing waits, or somebody cannot go on.

        Nobody is interrupted between handing a mail over and the answer: it would be unknown. A
        server that takes fewer connections than we want is content with those that it takes.
        """
        async with Transport(self._settings) as transport:
            while waiting and not self._stopping:
                mail = waiting.popleft()
                due = [a for a in mail.addressees if self._outbox.is_due(a, now=self._now())]
                if not due:
                    continue
                try:
                    await self._before_each()
                    await self._send(transport, mail, due)
                except BaseException as error:
                    waiting.appendleft(mail)
                    self._stopping = self._stopping or not _is_no_connection(error)
                    raise
                self._report()

    async def _before_each(self) -> None:
        """Wait for this mail's turn, or snooze until it may be sent."""
        stop_if_cancelled(self._context)
        quiet = self._parameters.quiet_hours
        until = quiet_until(quiet, ZoneInfo(self._parameters.timezone), self._now())
        if until is not None:
            wait = max(0.0, (until - self._now()).total_seconds())
            raise SnoozeError(wait, f"quiet hours until {until:%Y-%m-%d %H:%M %Z}")
        if time.monotonic() > self._ends:
            raise SnoozeError(0, "goes on at once, in another attempt")
        await self._pace.wait(self._context)

    async def _send(self, transport: Transport, mail: Mail, due: Sequence[Addressee]) -> None:
        answers: dict[str, Answer] = {}
        left = list(due)
        if any(addressee.needs_utf8 for addressee in mail.addressees):
            mail, left, answers = _without_utf8(mail, left, utf8=await transport.takes_utf8())
        if left:
            message = self._composer.compose(mail)
            answers |= await transport.send(
                message,
                sender=self._composer.envelope_sender,
                recipients=left,
                before_data=partial(self._sending, mail.message_id),
            )
        self._counts -= self._outbox.count(due)
        await self._outbox.settle(answers, now=self._now(), message_id=mail.message_id)
        self._counts += self._outbox.count(due)

    async def _sending(self, message_id: str, keys: Sequence[str]) -> None:
        await self._outbox.sending(keys, message_id, now=self._now())

    def _report(self) -> None:
        done = sum(self._counts[state] for state in FINAL)
        self._context.progress(done, self._total, f"{self._counts[State.SENT]} sent")


def _is_no_connection(error: BaseException) -> bool:
    return isinstance(error, RetryableError) and error.code == "smtp_unavailable"


def _without_utf8(
    mail: Mail, due: list[Addressee], *, utf8: bool
) -> tuple[Mail, list[Addressee], dict[str, Answer]]:
    """Leave out who the server cannot take: the others get the mail all the same."""
    if utf8:
        return mail, due, {}
    words = "the mail server does not take addresses in other scripts (no SMTPUTF8)"
    answer = Answer(state=State.REFUSED, reply=words)
    kept = tuple(a for a in mail.addressees if not a.needs_utf8)
    return (
        Mail(addressees=kept, message_id=mail.message_id),
        [a for a in due if not a.needs_utf8],
        {a.key: answer for a in due if a.needs_utf8},
    )
