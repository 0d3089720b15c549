"""email.send against a real SMTP server: who gets what, once, and what is said about it."""

import json
import mailbox
from collections.abc import AsyncGenerator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lineshaft_contracts.email import EmailParameters, EmailResult
from lineshaft_job_runner.job_type import (
    ColumnType,
    JobStoppedError,
    PermanentError,
    RetryableError,
    SnoozeError,
)
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.email_send import EmailSend
from lineshaft_job_runner.types.mailing import sending, work

from .smtp_server import SmtpServer, smtp_server

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
Records = dict[str, dict[str, Any]]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[SmtpServer]:
    async with smtp_server() as server:
        configure(monkeypatch, server)
        yield server


def configure(monkeypatch: pytest.MonkeyPatch, server: SmtpServer, **more: str) -> None:
    values = {
        "HOST": "127.0.0.1",
        "PORT": str(server.port),
        "SECURITY": "none",
        "SENDER": "Plant North <plant@acme.example>",
        "PER_MINUTE_MAX": "60000",
        **more,
    }
    for name, value in values.items():
        monkeypatch.setenv(f"LINESHAFT_MAIL_{name}", value)


def to(*addresses: str) -> list[dict[str, Any]]:
    return [{"address": address} for address in addresses]


PLAIN: dict[str, Any] = {"to": to("anna@acme.example"), "subject": "Hello", "text": "Words.\n"}


async def send(context: FolderContext, *, at: datetime = NOON, **parameters: Any) -> EmailResult:
    return await work.run(
        context, EmailParameters.model_validate({**PLAIN, **parameters}), now=lambda: at
    )


async def test_the_example_sends_a_mail_of_its_own_to_each(
    server: SmtpServer, tmp_path: Path
) -> None:
    parameters = EmailParameters.model_validate(EmailSend.example)
    result = await work.run(FolderContext(tmp_path), parameters, now=lambda: NOON)
    assert (result.sent, result.counts.requested, result.captured) == (2, 2, False)
    first, second = server.taken
    assert first.recipients == ["anna@north-plant.example"]
    assert first.message["Subject"] == "Line 3 stands since 2026-11-24 07:12 CET"
    assert first.message["To"] == "Anna Berg <anna@north-plant.example>"
    assert first.message["Auto-Submitted"] == "auto-generated"
    assert second.recipients == ["jürgen@north-plant.example"]
    assert second.message["Message-ID"] != first.message["Message-ID"]
    html = first.message.get_body(("html",))
    text = first.message.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert 'style="' in html.get_content()
    assert "Reason: no material" in text.get_content()


async def test_each_outcome_is_in_the_artifact(server: SmtpServer, tmp_path: Path) -> None:
    server.recipient_answers["bad@acme.example"] = ["550 5.1.1 no such user"]
    result = await send(
        FolderContext(tmp_path),
        to=to("bad@acme.example", "anna@acme.example", "ANNA@ACME.example"),
    )
    assert (result.sent, result.refused, result.counts.skipped) == (1, 1, 1)
    assert server.by_recipient == {"anna@acme.example": 1}
    lines = (tmp_path / "deliveries.ndjson").read_text(encoding="utf-8").splitlines()
    by_address = {line["address"]: line for line in map(json.loads, lines)}
    assert by_address["bad@acme.example"]["state"] == "refused"
    assert by_address["bad@acme.example"]["code"] == 550
    assert by_address["anna@acme.example"]["state"] == "sent"
    assert result.deliveries[0].address == "bad@acme.example"
    assert "no such user" in result.errors[0].message


async def test_one_mail_for_all_hides_bcc_and_reports_who_was_refused(
    server: SmtpServer, tmp_path: Path
) -> None:
    server.recipient_answers["carl@acme.example"] = ["550 no"]
    result = await send(
        FolderContext(tmp_path),
        to=to("anna@acme.example", "carl@acme.example"),
        cc=to("boss@acme.example"),
        bcc=to("audit@acme.example"),
        delivery="together",
    )
    (taken,) = server.taken
    assert taken.recipients == ["anna@acme.example", "boss@acme.example", "audit@acme.example"]
    assert b"audit@" not in taken.content
    assert taken.message["To"] == "anna@acme.example, carl@acme.example"
    assert taken.message["Cc"] == "boss@acme.example"
    assert (result.sent, result.refused) == (3, 1)


async def test_a_temporary_refusal_is_tried_again_later_and_nobody_else_gets_a_second_mail(
    server: SmtpServer, tmp_path: Path
) -> None:
    server.recipient_answers["slow@acme.example"] = ["451 greylisted", "451 again", "250 OK"]
    records: Records = {}
    people = to("anna@acme.example", "slow@acme.example")
    context = FolderContext(tmp_path, records=records)
    with pytest.raises(SnoozeError) as first:
        await send(context, to=people)
    assert first.value.seconds == 60
    with pytest.raises(SnoozeError) as early:
        await send(context, to=people, at=NOON + timedelta(seconds=30))
    assert early.value.seconds == 30
    with pytest.raises(SnoozeError) as second:
        await send(context, to=people, at=NOON + timedelta(seconds=61))
    assert second.value.seconds == 120
    result = await send(context, to=people, at=NOON + timedelta(seconds=200))
    assert (result.sent, result.counts.ok) == (2, 2)
    assert server.by_recipient == {"anna@acme.example": 1, "slow@acme.example": 1}


async def test_a_partial_temporary_refusal_of_one_mail_keeps_its_message_id(
    server: SmtpServer, tmp_path: Path
) -> None:
    server.recipient_answers["slow@acme.example"] = ["451 greylisted", "250 OK"]
    context = FolderContext(tmp_path, records={})
    people: dict[str, Any] = {
        "to": to("anna@acme.example", "slow@acme.example"),
        "delivery": "together",
    }
    with pytest.raises(SnoozeError):
        await send(context, **people)
    await send(context, at=NOON + timedelta(minutes=2), **people)
    first, second = server.taken
    assert first.message["Message-ID"] == second.message["Message-ID"]
    assert first.message["To"] == second.message["To"]
    assert (first.recipients, second.recipients) == (
        ["anna@acme.example"],
        ["slow@acme.example"],
    )


async def test_a_temporary_refusal_is_given_up_in_the_end(
    server: SmtpServer, tmp_path: Path
) -> None:
    server.recipient_answers["slow@acme.example"] = ["451 greylisted"]
    result = await send(
        FolderContext(tmp_path),
        to=to("anna@acme.example", "slow@acme.example"),
        retry_seconds_max=30,
    )
    assert (result.sent, result.given_up, result.counts.failed) == (1, 1, 1)


@pytest.mark.parametrize(("answer", "state"), [("451 later", "deferred"), ("554 spam", "refused")])
async def test_a_mail_refused_after_data_is_refused_not_unknown(
    server: SmtpServer, tmp_path: Path, answer: str, state: str
) -> None:
    server.data_answers = [answer]
    context = FolderContext(tmp_path, records={})
    with pytest.raises((SnoozeError, PermanentError)):
        await send(context)
    assert context.records["anna@acme.example"]["state"] == state


async def test_a_job_that_reached_nobody_has_failed(server: SmtpServer, tmp_path: Path) -> None:
    server.sender_answer = "553 not from here"
    with pytest.raises(PermanentError, match="not from here") as failed:
        await send(FolderContext(tmp_path))
    assert failed.value.code == "email_refused"


async def test_a_mail_without_an_answer_is_unknown_and_never_sent_again(
    server: SmtpServer, tmp_path: Path
) -> None:
    server.data_answers = ["drop"]
    context = FolderContext(tmp_path, records={})
    people = to("anna@acme.example", "carl@acme.example")
    await send(context, to=people)
    result = await send(context, to=people)
    assert (result.sent, result.unknown) == (1, 1)
    assert server.by_recipient == {"anna@acme.example": 1, "carl@acme.example": 1}
    assert any("may have arrived" in warning for warning in result.warnings)


async def test_at_least_once_sends_it_again_under_the_same_message_id(
    server: SmtpServer, tmp_path: Path
) -> None:
    server.data_answers = ["drop"]
    context = FolderContext(tmp_path, records={})
    with pytest.raises(SnoozeError):
        await send(context, repeat="at_least_once")
    result = await send(context, repeat="at_least_once", at=NOON + timedelta(minutes=2))
    assert (result.sent, result.unknown) == (1, 0)
    first, second = server.taken
    assert first.message["Message-ID"] == second.message["Message-ID"]


async def test_what_is_handed_over_was_recorded_before(server: SmtpServer, tmp_path: Path) -> None:
    context = FolderContext(tmp_path, records={})
    seen: list[Any] = []
    server.on_taken = lambda taken: seen.append(context.records[taken.recipients[0]]["state"])
    await send(context, to=to("anna@acme.example", "carl@acme.example"))
    assert seen == ["sending", "sending"]
    assert {r["state"] for r in context.records.values()} == {"sent"}


async def test_what_a_dead_attempt_left_open_is_unknown(
    server: SmtpServer, tmp_path: Path
) -> None:
    context = FolderContext(tmp_path, records={})
    await send(context)
    context.records["anna@acme.example"]["state"] = "sending"
    with pytest.raises(PermanentError, match="may have arrived") as unknown:
        await send(context)
    assert unknown.value.code == "outcome_unknown"
    assert len(server.taken) == 1


async def test_a_server_that_is_away_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with smtp_server() as server:
        configure(monkeypatch, server)
    with pytest.raises(RetryableError) as away:
        await send(FolderContext(tmp_path))
    assert away.value.code == "smtp_unavailable"


async def test_a_cancelled_job_stops_between_two_mails(server: SmtpServer, tmp_path: Path) -> None:
    context = FolderContext(tmp_path, cancel_after=3)
    with pytest.raises(JobStoppedError):
        await send(context, to=to(*(f"p{n}@acme.example" for n in range(20))))
    assert 1 <= len(server.taken) < 20
    assert context.progressed[-1][:2] == (len(server.taken), 20)


async def test_quiet_hours_are_waited_out(server: SmtpServer, tmp_path: Path) -> None:
    quiet = {"quiet_hours": {"start": "20:00", "end": "06:00"}, "timezone": "Europe/Berlin"}
    night = datetime(2026, 11, 25, 22, 30, tzinfo=UTC)  # 23:30 in Berlin.
    with pytest.raises(SnoozeError, match="quiet hours") as quiet_now:
        await send(FolderContext(tmp_path), at=night, **quiet)
    assert quiet_now.value.seconds == 6.5 * 3600
    assert (await send(FolderContext(tmp_path), at=NOON, **quiet)).sent == 1


async def test_a_dry_run_writes_every_mail_and_sends_none(
    server: SmtpServer, tmp_path: Path
) -> None:
    result = await send(FolderContext(tmp_path), dry_run=True)
    assert (result.counts.skipped, result.sent, server.taken) == (1, 0, [])
    assert not (tmp_path / "deliveries.ndjson").exists()


async def test_recipients_of_a_source_get_their_own_words(
    server: SmtpServer, tmp_path: Path
) -> None:
    people = Table(
        columns={"address": ColumnType.TEXT, "name": ColumnType.TEXT, "lots": ColumnType.INTEGER},
        rows=[
            ("anna@acme.example", "Anna", 3),
            ("not an address", "Nobody", 1),
            ("carl@acme.example", None, 4),
            (None, "Null", 0),
            ("ANNA@acme.example", "Other", 9),
            ("anna@ACME.example", "Again", 9),
        ],
    )
    context = FolderContext(tmp_path, sources={"mes": TableSource({"people": people})})
    result = await send(
        context,
        to=(),
        recipients={"source": "mes", "query": "people", "name_column": "name"},
        text="{{ recipient.name or 'You' }}: {{ lots }} lots",
    )
    words = [taken.message.get_content().strip() for taken in server.taken]
    assert words[:2] == ["Anna: 3 lots", "You: 4 lots"]
    assert (result.sent, result.refused, result.counts.skipped) == (2, 2, 2)


async def test_attachments_of_earlier_jobs_go_along_up_to_a_size(
    server: SmtpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "r.pdf"
    report.write_bytes(b"%PDF-1.7 ...")
    job = "01a21073-5ad6-70de-be10-18b90ace6480"
    earlier = {f"{job}/shift.pdf": report}
    attachments = [{"job_id": job, "artifact": "shift.pdf", "file_name": "Schicht Früh.pdf"}]
    await send(FolderContext(tmp_path, earlier=earlier), attachments=attachments)
    (part,) = server.taken[0].message.iter_attachments()
    assert part.get_filename() == "Schicht Früh.pdf"
    assert part.get_content_type() == "application/pdf"
    assert part.get_payload(decode=True) == report.read_bytes()
    monkeypatch.setenv("LINESHAFT_MAIL_ATTACHMENT_BYTES_MAX", "5")
    with pytest.raises(PermanentError) as large:
        await send(FolderContext(tmp_path, earlier=earlier), attachments=attachments)
    assert large.value.code == "attachments_too_large"
    other = [{"job_id": str(UUID(int=7)), "artifact": "shift.pdf"}]
    with pytest.raises(PermanentError) as missing:
        await send(FolderContext(tmp_path, earlier=earlier), attachments=other)
    assert missing.value.code == "artifact_missing"


async def test_a_long_job_goes_on_in_another_attempt(
    server: SmtpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SLICE_SECONDS", -1)
    with pytest.raises(SnoozeError) as pause:
        await send(FolderContext(tmp_path))
    assert pause.value.seconds == 0


async def test_mails_are_spread_over_the_minute(server: SmtpServer, tmp_path: Path) -> None:
    people = to(*(f"p{n}@acme.example" for n in range(4)))
    began = datetime.now(UTC)
    await send(FolderContext(tmp_path), to=people, per_minute_max=600)
    assert (datetime.now(UTC) - began).total_seconds() >= 0.29


async def test_a_server_with_a_size_limit_refuses_before_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with smtp_server(data_size_limit=2_000) as server:
        configure(monkeypatch, server)
        with pytest.raises(PermanentError, match="the server takes 2000"):
            await send(FolderContext(tmp_path), text="x" * 3_000)


async def test_only_allowed_domains_are_written_to_and_from(
    server: SmtpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PermanentError) as sender:
        await send(FolderContext(tmp_path), sender={"address": "ceo@bank.example"})
    assert sender.value.code == "sender_not_allowed"
    configure(monkeypatch, server, RECIPIENT_DOMAINS="acme.example, other.example")
    result = await send(FolderContext(tmp_path), to=to("anna@acme.example", "eve@evil.example"))
    assert (result.sent, result.refused) == (1, 1)
    assert server.by_recipient == {"anna@acme.example": 1}


async def test_without_a_server_every_mail_is_in_an_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LINESHAFT_MAIL_HOST", raising=False)
    result = await send(
        FolderContext(tmp_path),
        to=to("anna@acme.example", "用户@acme.example"),
        sender={"address": "lineshaft@localhost"},
        bcc=to("audit@acme.example"),
        delivery="together",
        text="From here on.\n",
    )
    assert (result.sent, result.captured) == (3, True)
    assert [artifact.name for artifact in result.artifacts] == ["mails.mbox", "deliveries.ndjson"]
    with closing(mailbox.mbox(tmp_path / "mails.mbox")) as box:
        (message,) = box
    assert "audit@acme.example" in str(message.get_all("X-Envelope-To"))
    assert message["Bcc"] is None
    assert "no mail server" in result.warnings[0]


async def test_a_server_that_takes_one_connection_gets_all_mails_over_it(
    server: SmtpServer, tmp_path: Path
) -> None:
    server.connections_max = 1
    result = await send(FolderContext(tmp_path), to=to(*(f"p{n}@acme.example" for n in range(12))))
    assert result.sent == 12
    assert set(server.by_recipient.values()) == {1}
    assert server.connections > 1
