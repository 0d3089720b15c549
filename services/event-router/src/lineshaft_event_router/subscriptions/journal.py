"""The delivery log on its way into the database: bounded, written in batches."""

from collections import deque

import structlog
from lineshaft_common.transient import is_transient
from prometheus_client import Counter

from lineshaft_event_router.subscriptions.records import Attempt
from lineshaft_event_router.subscriptions.stores import Subscriptions

log = structlog.get_logger(__name__)

LINES_MAX = 10_000
BATCH_MAX = 1_000

DELIVERIES = Counter(
    "lineshaft_subscription_deliveries_total", "Events by what became of them", ["outcome"]
)
DROPPED = Counter("lineshaft_subscription_log_dropped_total", "Lines that found no room")


class Journal:
    """Loses its oldest lines when the database is away for long; deliveries do not wait for it."""

    def __init__(self, store: Subscriptions) -> None:
        self._store = store
        self._lines: deque[Attempt] = deque(maxlen=LINES_MAX)

    def note(self, attempt: Attempt) -> None:
        """Add a line."""
        DELIVERIES.labels(attempt.outcome).inc()
        if len(self._lines) == LINES_MAX:
            DROPPED.inc()
        self._lines.append(attempt)

    async def flush(self) -> None:
        """Write what has gathered."""
        while self._lines:
            batch = [self._lines.popleft() for _ in range(min(len(self._lines), BATCH_MAX))]
            try:
                await self._store.log(batch)
            except Exception as error:
                if not is_transient(error):  # It would never be written, and block the others.
                    log.exception("delivery_log_lines_lost", lines=len(batch))
                    continue
                self._lines.extendleft(reversed(batch))
                raise
