"""The run of email.send: recipients and templates in, one outcome for each recipient out."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from lineshaft_contracts.email import (
    DeliveryState,
    EmailParameters,
    EmailResult,
    RecipientOutcome,
)
from lineshaft_contracts.job_parameters import ERRORS_MAX, Counts, Engine
from lineshaft_contracts.jobs import JobError

from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.mailing import addressing, capture, enclosures
from lineshaft_job_runner.types.mailing.addressing import Addressee, Addressees
from lineshaft_job_runner.types.mailing.composing import Composer
from lineshaft_job_runner.types.mailing.outbox import Outbox
from lineshaft_job_runner.types.mailing.sending import Clock, Sending
from lineshaft_job_runner.types.mailing.settings import MailSettings

SHOWN_MAX = 100
FAILED = (DeliveryState.UNKNOWN, DeliveryState.REFUSED, DeliveryState.GIVEN_UP)


async def run(
    context: JobContext,
    parameters: EmailParameters,
    *,
    now: Clock = lambda: datetime.now(UTC),
) -> EmailResult:
    """Send what earlier attempts did not; fail when nobody gets anything."""
    settings = MailSettings.read()
    sender = parameters.sender or settings.default_sender
    settings.check_sender(sender)
    digest = InputDigest(parameters)
    everybody = await addressing.gather(context, parameters)
    digest.add_rows((a.envelope, dict(a.variables)) for a in everybody.found)
    allowed = [a for a in everybody.found if settings.allows_recipient(a.envelope)]
    files = await enclosures.fetch(
        context, parameters, digest, bytes_max=settings.mail_attachment_bytes_max
    )
    composer = Composer(parameters, job_id=context.job_id, sender=sender, enclosures=files)
    outbox = await Outbox.open(context, parameters, now=now())
    composer.check(a for a in allowed if outbox.is_due(a, now=now()))
    if allowed and not parameters.dry_run:
        split = addressing.split(allowed, parameters.delivery)
        mails = [composer.mail(addressees) for addressees in split]

        async def send(server: MailSettings) -> None:
            sending = Sending(
                context, parameters, settings=server, composer=composer, outbox=outbox, now=now
            )
            await sending.send(mails)

        if settings.captures:
            async with capture.captured(context, settings) as sink:
                await send(sink)
        else:
            await send(settings)
    outcomes = _outcomes(everybody, allowed, outbox, dry_run=parameters.dry_run)
    _check_outcomes(outcomes)
    if not parameters.dry_run:
        await _write(context, outcomes)
    return _result(context, settings, outcomes, digest)


def _outcomes(
    everybody: Addressees, allowed: Sequence[Addressee], outbox: Outbox, *, dry_run: bool
) -> list[RecipientOutcome]:
    outcomes = [
        RecipientOutcome(address=address, state=DeliveryState.REFUSED, reply=why)
        for address, why in everybody.invalid
    ]
    outcomes += [
        RecipientOutcome(address=address, state=DeliveryState.DUPLICATE)
        for address in everybody.repeated
    ]
    keys = {addressee.key for addressee in allowed}
    for addressee in everybody.found:
        entry = outbox.get(addressee)
        if addressee.key not in keys:
            outcome = RecipientOutcome(
                address=addressee.address,
                state=DeliveryState.REFUSED,
                reply="the operator allows no mail to this domain",
            )
        elif dry_run or entry is None:
            outcome = RecipientOutcome(address=addressee.address, state=DeliveryState.CHECKED)
        else:
            outcome = RecipientOutcome(
                address=addressee.address,
                state=DeliveryState(entry.state.value),
                code=entry.code,
                reply=entry.reply,
                message_id=entry.message_id,
            )
        outcomes.append(outcome)
    return outcomes


def _check_outcomes(outcomes: Sequence[RecipientOutcome]) -> None:
    """Fail a job that reached nobody: it would look like a success."""
    states = Counter(outcome.state for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.state in FAILED]
    if not failed or states[DeliveryState.SENT] or states[DeliveryState.CHECKED]:
        return
    first = failed[0]
    words = f"{first.address}: {first.code or ''} {first.reply}".replace("  ", " ")
    if states[DeliveryState.UNKNOWN]:
        raise PermanentError(
            "outcome_unknown",
            f"{states[DeliveryState.UNKNOWN]} mails were handed over without an answer and may "
            f"have arrived; ask the readers before sending a new job. {words}",
        )
    raise PermanentError("email_refused", f"none of {len(outcomes)} mails was taken. {words}")


async def _write(context: JobContext, outcomes: Sequence[RecipientOutcome]) -> None:
    async with context.artifact(
        "deliveries.ndjson", media_type="application/x-ndjson"
    ) as artifact:
        lines = [json.dumps(o.model_dump(mode="json"), ensure_ascii=False) for o in outcomes]
        artifact.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        artifact.rows = len(lines)


def _result(
    context: JobContext,
    settings: MailSettings,
    outcomes: Sequence[RecipientOutcome],
    digest: InputDigest,
) -> EmailResult:
    states = Counter(outcome.state for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.state in FAILED]
    rest = [outcome for outcome in outcomes if outcome.state not in FAILED]
    sent = states[DeliveryState.SENT]
    return EmailResult(
        counts=Counts(
            requested=len(outcomes),
            ok=sent,
            failed=len(failed),
            skipped=len(outcomes) - sent - len(failed),
        ),
        artifacts=context.artifacts(),
        warnings=_warnings(states, captured=settings.captures),
        errors=tuple(
            JobError(
                code=f"mail_{outcome.state}",
                message=f"{outcome.address}: {outcome.code or ''} {outcome.reply}".strip(),
                retryable=False,
            )
            for outcome in failed[:ERRORS_MAX]
        ),
        engine=Engine(name="aiosmtplib", version=version("aiosmtplib")),
        input_digest=digest.hexadecimal(),
        sent=sent,
        refused=states[DeliveryState.REFUSED],
        given_up=states[DeliveryState.GIVEN_UP],
        unknown=states[DeliveryState.UNKNOWN],
        captured=settings.captures,
        deliveries=tuple([*failed, *rest][:SHOWN_MAX]),
    )


def _warnings(states: Counter[DeliveryState], *, captured: bool) -> tuple[str, ...]:
    found: list[str] = []
    if captured:
        found.append(
            "no mail server is configured: the mails are in mails.mbox, and no reader gets them"
        )
    if states[DeliveryState.DUPLICATE]:
        found.append(f"{states[DeliveryState.DUPLICATE]} addresses came again: one mail each")
    if states[DeliveryState.UNKNOWN]:
        found.append(
            f"{states[DeliveryState.UNKNOWN]} mails were handed over without an answer: they may "
            "have arrived and are not sent again"
        )
    return tuple(found)
