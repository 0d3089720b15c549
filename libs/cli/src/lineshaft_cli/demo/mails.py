"""The shift's report goes out by mail: written, handed over, and read back from where it lies."""

import hashlib
import json
import mailbox
from contextlib import closing
from email import message_from_binary_file
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from typing import Any

from lineshaft_cli.demo.checks import expect

READERS = ("anna.berg@north-plant.example", "jürgen.klee@north-plant.example", "q@plant.example")
REPORT = "shift-report.pdf"


def submission(report_id: str) -> dict[str, Any]:
    """Give the parameters of the mail that carries a report."""
    return {
        "to": [{"address": address} for address in READERS],
        "subject": "Shift report, north plant, {{ day | local_time }}",
        "template": "notice",
        "variables": {
            "headline": "The shift is over",
            "day": "2026-11-24T14:00:00Z",
            "paragraphs": ["The report is attached.", "Press 1 stood still: <see> page 1."],
            "facts": {"Plant": "north", "Shift": "early"},
        },
        "attachments": [{"job_id": report_id, "artifact": REPORT}],
        "list_unsubscribe": ["mailto:stop@north-plant.example"],
        "timezone": "Europe/Berlin",
    }


def check(job: dict[str, Any], paths: list[Path]) -> str:
    """Open the mailbox: one mail for each reader, and the very report of the other job in it."""
    files = {path.name: path for path in paths}
    lines = files["deliveries.ndjson"].read_text(encoding="utf-8").splitlines()
    states = [json.loads(line)["state"] for line in lines]
    expect("every mail was taken", states == ["sent"] * len(READERS))
    if not job["result"]["captured"]:
        return f"{len(states)} mails taken by the mail server"
    with closing(mailbox.mbox(files["mails.mbox"], factory=_mail)) as box:
        mails = [mail for mail in box if isinstance(mail, EmailMessage)]
    expect("each reader has one mail", len({mail["X-Envelope-To"] for mail in mails}) == 3)
    expect("the mails have ids of their own", len({mail["Message-ID"] for mail in mails}) == 3)
    digests = {_attachment(mail) for mail in mails}
    report = paths[0].parent / REPORT
    expect(
        "each carries the report that was made before",
        digests == {hashlib.sha256(report.read_bytes()).hexdigest()},
    )
    return f"mails.mbox: {len(mails)} mails, each with {REPORT}"


def _mail(file: Any) -> Any:
    """Read a mail with addresses in any alphabet."""
    return message_from_binary_file(file, policy=SMTPUTF8)


def _attachment(mail: EmailMessage) -> str:
    (part,) = (part for part in mail.walk() if part.get_filename() == REPORT)
    content = part.get_payload(decode=True)
    return hashlib.sha256(content if isinstance(content, bytes) else b"").hexdigest()
