"""The past that the plant begins with: a week of simulated shifts."""

from datetime import datetime, time, timedelta

from plant.event import PlantEvent
from plant.simulation import SHIFT, simulate

DAYS = 7
FIRST_SHIFT = time(hour=6)


def past_shifts(now: datetime) -> list[tuple[datetime, list[PlantEvent]]]:
    """Return three shifts a day for the week before today's first shift, oldest first."""
    today = now.replace(hour=FIRST_SHIFT.hour, minute=0, second=0, microsecond=0)
    end = today if now >= today else today - timedelta(days=1)
    starts = [end - SHIFT * number for number in range(DAYS * 3, 0, -1)]
    return [(start, simulate(start)) for start in starts]
