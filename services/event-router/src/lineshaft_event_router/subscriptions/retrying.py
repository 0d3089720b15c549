"""When a failed delivery is tried again."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random

from lineshaft_contracts.subscriptions import DAY_SECONDS, ProtocolSettings

RETRY_AFTER_SECONDS_MAX = float(DAY_SECONDS)


@dataclass(frozen=True, kw_only=True)
class RetrySchedule:
    """Doubling bounds with full jitter, as long as `retry_for` since the first attempt."""

    retry_for: timedelta
    delay_seconds: float
    delay_seconds_max: float

    @classmethod
    def of(cls, settings: ProtocolSettings) -> "RetrySchedule":
        """Read what the subscription asks for."""
        return cls(
            retry_for=timedelta(seconds=settings.retry_for_seconds),
            delay_seconds=settings.retry_delay_seconds,
            delay_seconds_max=settings.retry_delay_seconds_max,
        )

    def is_exhausted(self, first_failed_at: datetime, now: datetime) -> bool:
        """Whether an event that failed first at this instant is to be given up."""
        return now - first_failed_at >= self.retry_for

    def next_at(
        self, attempts: int, now: datetime, random: Random, *, retry_after: float | None = None
    ) -> datetime:
        """Say when to try again after this many attempts, at least 1.

        Never before the receiver wants it.
        """
        bound = min(self.delay_seconds * 2 ** min(attempts - 1, 40), self.delay_seconds_max)
        wait = max(random.uniform(0, bound), retry_after or 0.0)
        return now + timedelta(seconds=wait)


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Read a Retry-After field: seconds or an HTTP date; None for anything else.

    At most a day: nobody switches a subscription off by a typing error.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return min(float(text), RETRY_AFTER_SECONDS_MAX)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - now).total_seconds()), RETRY_AFTER_SECONDS_MAX)
