"""Job type email.send: mails from templates, none of them twice."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_contracts.email import EmailParameters, EmailResult

from lineshaft_job_runner.job_type import JobContext, JobType


class EmailSend(JobType[EmailParameters, EmailResult]):
    """Mails from templates to given or queried recipients, with one outcome for each of them."""

    name: ClassVar[str] = "email.send"
    title: ClassVar[str] = "Send e-mail"
    parameters = EmailParameters
    result = EmailResult
    timeout_seconds: ClassVar[float] = 900.0
    attempts_max: ClassVar[int] = 10
    memory_bytes_max: ClassVar[int | None] = 512 * 1024**2
    retry_first_seconds: ClassVar[float] = 5.0
    example: ClassVar[Mapping[str, Any]] = {
        "to": [
            {"address": "anna@north-plant.example", "name": "Anna Berg"},
            {"address": "jürgen@north-plant.example", "name": "Jürgen Klee"},
        ],
        "subject": "Line 3 stands since {{ since | local_time }}",
        "template": "alert",
        "variables": {
            "headline": "Line 3 stands",
            "severity": "critical",
            "where": "north / assembly / line-3",
            "since": "2026-11-24T06:12:00Z",
            "facts": {"Reason": "no material", "Order": "MO-1007"},
        },
        "timezone": "Europe/Berlin",
        "quiet_hours": {"start": "22:00", "end": "05:30"},
    }

    async def run(self, context: JobContext, parameters: EmailParameters) -> EmailResult:
        """Send the mails; what an earlier attempt sent is not sent again."""
        # aiosmtplib, jinja2 and css_inline are loaded by the job's own process alone.
        from lineshaft_job_runner.types.mailing import work  # noqa: PLC0415

        return await work.run(context, parameters)
