"""What gets into a mail: addresses in any script, templates within limits, no foreign header."""

import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_contracts.email import EmailParameters, QuietHours
from lineshaft_job_runner.job_type import PermanentError
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.mailing import work
from lineshaft_job_runner.types.mailing.pacing import quiet_until
from pydantic import ValidationError

from .smtp_server import SmtpServer, smtp_server

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[SmtpServer]:
    async with smtp_server() as server:
        configure(monkeypatch, server)
        yield server


def configure(monkeypatch: pytest.MonkeyPatch, server: SmtpServer) -> None:
    monkeypatch.setenv("LINESHAFT_MAIL_HOST", "127.0.0.1")
    monkeypatch.setenv("LINESHAFT_MAIL_PORT", str(server.port))
    monkeypatch.setenv("LINESHAFT_MAIL_SECURITY", "none")
    monkeypatch.setenv("LINESHAFT_MAIL_SENDER", "plant@acme.example")


def parameters(**changes: Any) -> EmailParameters:
    plain: dict[str, Any] = {
        "to": [{"address": "anna@acme.example"}],
        "subject": "Hello",
        "text": "Words.\n",
    }
    return EmailParameters.model_validate({**plain, **changes})


async def send(folder: Path, **changes: Any) -> Any:
    return await work.run(FolderContext(folder), parameters(**changes))


@pytest.mark.parametrize(
    "address",
    [
        "anna@acme.example\r\nBcc: eve@evil.example",
        "anna@acme.example, eve@evil.example",
        "<eve@evil.example>",
        "anna@acme.example\x00",
        "anna@acme.example> SIZE=1",
        "Anna <anna@acme.example>",
        '"a b"@acme.example',
        "anna@[127.0.0.1]",
        "anna@-acme.example",
        "anna@acme..example",
        ".anna@acme.example",
        "anna\u2028@acme.example",
        "anna\u202e@acme.example",
        "a" * 65 + "@acme.example",
        "anna@" + "a" * 64 + ".example",
        "@acme.example",
        "anna",
        "",
    ],
)
def test_what_is_no_plain_address_is_refused_at_submission(address: str) -> None:
    with pytest.raises(ValidationError):
        parameters(to=[{"address": address}])


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Hello\r\nBcc: eve@evil.example"},
        {"to": [{"address": "a@acme.example", "name": "A\r\nBcc: eve@evil.example"}]},
        {"sender": {"address": "a@acme.example", "name": "A\nX: y"}},
        {"list_unsubscribe": ["https://x.example/\r\nBcc: eve@evil.example"]},
        {"list_unsubscribe": ["https://x.example/> <mailto:eve@evil.example"]},
        {"list_unsubscribe": ["javascript:alert(1)"]},
        {"attachments": [{"job_id": "0" * 32, "artifact": "a", "file_name": "a\r\nX: y"}]},
        {"attachments": [{"job_id": "0" * 32, "artifact": "a", "file_name": "../a"}]},
        {"cc": [{"address": "a@acme.example"}]},
        {"template": "notice"},
        {"text": None},
        {"quiet_hours": {"start": "06:00", "end": "06:00"}},
    ],
)
def test_what_could_make_headers_or_no_sense_is_refused_at_submission(changes: Any) -> None:
    with pytest.raises(ValidationError):
        parameters(**changes)


@pytest.mark.parametrize("value", ["Hi\r\nBcc: eve@evil.example", "Hi\nX: y", "Hi\u2028X: y", ""])
async def test_a_variable_cannot_add_a_header(
    server: SmtpServer, tmp_path: Path, value: str
) -> None:
    with pytest.raises(PermanentError) as refused:
        await send(tmp_path, subject="{{ words }}", variables={"words": value})
    assert refused.value.code == "subject_refused"
    assert server.taken == []


async def test_a_name_with_special_characters_stays_one_name(
    server: SmtpServer, tmp_path: Path
) -> None:
    name = 'Eve, "Bcc: eve@evil.example" <x>; Ünï'
    await send(tmp_path, to=[{"address": "anna@acme.example", "name": name}])
    (address,) = server.taken[0].message["To"].addresses
    assert (address.display_name, address.addr_spec) == (name, "anna@acme.example")
    assert server.taken[0].recipients == ["anna@acme.example"]


async def test_addresses_in_other_scripts_arrive(server: SmtpServer, tmp_path: Path) -> None:
    people = ["anna@bücher.example", "用户@例子.example"]
    result = await send(tmp_path, to=[{"address": address} for address in people])
    assert result.sent == 2
    assert server.taken[0].recipients == ["anna@xn--bcher-kva.example"]
    assert server.taken[0].content.isascii()
    assert server.taken[1].recipients == ["用户@xn--fsqu00a.example"]
    assert "用户@xn--fsqu00a.example".encode() in server.taken[1].content


async def test_a_server_without_smtputf8_refuses_only_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [{"address": "用户@acme.example"}, {"address": "anna@acme.example"}]
    async with smtp_server(enable_SMTPUTF8=False) as plain:
        configure(monkeypatch, plain)
        for delivery in ("separate", "together"):
            result = await send(tmp_path, to=people, delivery=delivery)
            assert (result.sent, result.refused) == (1, 1)
        assert plain.by_recipient == {"anna@acme.example": 2}


async def test_html_is_escaped_and_styled_in_place(server: SmtpServer, tmp_path: Path) -> None:
    await send(
        tmp_path,
        text=None,
        html="<style>p {color: red}</style><p>{{ words }}</p><a href='https://x.example'>go</a>",
        variables={"words": "<script>alert(1)</script>"},
    )
    message = server.taken[0].message
    html, text = message.get_body(("html",)), message.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert "<script>" not in html.get_content()
    assert 'style="color: red;"' in html.get_content()
    assert "<script>alert(1)</script>" in text.get_content()
    assert "go <https://x.example>" in text.get_content()


async def test_ways_to_unsubscribe_are_not_folded_in_the_middle(
    server: SmtpServer, tmp_path: Path
) -> None:
    address = "https://acme.example/" + "x" * 200
    await send(tmp_path, list_unsubscribe=[address, "mailto:stop@acme.example"])
    head = server.taken[0].content.partition(b"\r\n\r\n")[0].decode()
    expected = f"List-Unsubscribe: <{address}>,\r\n <mailto:stop@acme.example>\r\n"
    assert expected in head
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in head


@pytest.mark.parametrize(
    "template",
    [
        "{{ missing }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% for n in range(10000000) %}x{% endfor %}",
        "{% for n in range(9000) %}{{ 'x' * 99 }}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{{ 10 ** 1000000 }}",
        "{{ 1 / 0 }}",
        "{% if %}",
        "{{ 'a' | web_address }}",
    ],
)
async def test_a_template_that_may_not_run_fails_the_job_before_any_mail(
    server: SmtpServer, tmp_path: Path, template: str
) -> None:
    with pytest.raises(PermanentError) as failed:
        await send(tmp_path, text=template)
    assert failed.value.code == "template_failed"
    assert server.taken == []


async def test_a_template_that_fails_for_the_last_reader_is_sent_to_none(
    server: SmtpServer, tmp_path: Path
) -> None:
    people = [
        {"address": "anna@acme.example", "variables": {"lots": 3}},
        {"address": "carl@acme.example"},
    ]
    with pytest.raises(PermanentError, match="lots"):
        await send(tmp_path, to=people, text="{{ lots }}")
    assert server.taken == []


@pytest.mark.parametrize(
    ("template", "variables"),
    [
        ("notice", {"headline": "Done", "paragraphs": ["One."], "facts": {"a": 1}}),
        ("notice", {"headline": "Done", "link": {"url": "https://x.example", "label": "Look"}}),
        ("alert", {"headline": "Line 3", "severity": "warning"}),
    ],
)
async def test_built_in_templates_need_no_more_than_they_say(
    server: SmtpServer, tmp_path: Path, template: str, variables: dict[str, Any]
) -> None:
    await send(tmp_path, text=None, template=template, variables=variables)
    assert variables["headline"] in str(server.taken[0].message)


def test_quiet_hours_follow_the_wall_clock_through_a_change() -> None:
    night = QuietHours(start="01:30", end="02:30")
    spring = datetime(2026, 3, 29, 0, 45, tzinfo=UTC)  # 01:45; 02:30 does not come.
    until = quiet_until(night, BERLIN, spring)
    assert until is not None
    assert until.timestamp() == datetime(2026, 3, 29, 1, 30, tzinfo=UTC).timestamp()
    autumn = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time.
    until = quiet_until(night, BERLIN, autumn)
    assert until is not None
    assert until.timestamp() == datetime(2026, 10, 25, 1, 30, tzinfo=UTC).timestamp()


CLOCKS = st.times().map(lambda t: f"{t:%H:%M}")


@given(
    CLOCKS,
    CLOCKS,
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - made aware below.
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"]),
)
def test_quiet_hours_end_after_now_within_a_day_and_then_are_over(
    start: str, end: str, now: datetime, zone: str
) -> None:
    if start == end:
        return
    quiet, at = QuietHours(start=start, end=end), now.replace(tzinfo=UTC)
    until = quiet_until(quiet, ZoneInfo(zone), at)
    clock = f"{at.astimezone(ZoneInfo(zone)):%H:%M}"
    inside = start <= clock < end if start < end else clock >= start or clock < end
    assert (until is not None) == inside
    if until is not None:
        assert 0 < until.timestamp() - at.timestamp() <= 25 * 3600


@given(st.text(max_size=60))
def test_whatever_is_taken_for_an_address_is_one_line_with_one_at(text: str) -> None:
    try:
        (recipient,) = parameters(to=[{"address": text}]).to
    except ValidationError:
        return
    assert re.fullmatch(r"[^\s<>\x00-\x1f@]+@[^\s<>\x00-\x1f@]+", recipient.address)
