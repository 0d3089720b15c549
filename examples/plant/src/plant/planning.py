"""What the plant's planner works with: machines, shifts, holidays, routings and changeovers."""

from collections.abc import Iterator
from datetime import date

from plant.layout import ASSEMBLY, MACHINING, STAMPING

CALENDAR = "two-shifts"
FINISHES = ("plain", "coated", "phosphated")
"""Each order has one; the first machine of a line is changed over between them."""
MATRIX = "finish"
SETTERS = "setters"

MACHINES: tuple[tuple[str, int, float, bool], ...] = (
    ("press-1", 1, 1.0, True),
    ("press-2", 1, 0.8, True),
    ("washer-1", 2, 1.0, False),
    ("lathe-1", 1, 1.0, True),
    ("lathe-2", 1, 0.9, True),
    ("grinder-1", 2, 1.0, False),
    ("station-1", 1, 1.0, True),
    ("station-2", 1, 0.75, True),
    ("tester-1", 2, 1.0, False),
    (SETTERS, 3, 1.0, False),
)
"""(name, slots, efficiency, whether it is changed over)."""

STEPS: tuple[tuple[str, int, str, str, float, float, bool], ...] = (
    (STAMPING.product, 10, "stamp", "press-1", 20.0, 6.0, True),
    (STAMPING.product, 10, "stamp", "press-2", 15.0, 6.0, True),
    (STAMPING.product, 20, "wash", "washer-1", 5.0, 4.0, False),
    (MACHINING.product, 10, "turn", "lathe-1", 30.0, 20.0, True),
    (MACHINING.product, 10, "turn", "lathe-2", 25.0, 20.0, True),
    (MACHINING.product, 20, "grind", "grinder-1", 10.0, 18.0, True),
    (ASSEMBLY.product, 10, "assemble", "station-1", 10.0, 30.0, True),
    (ASSEMBLY.product, 10, "assemble", "station-2", 10.0, 30.0, True),
    (ASSEMBLY.product, 20, "test", "tester-1", 5.0, 25.0, True),
)
"""(product, position, operation, machine, set-up in minutes, seconds a piece, interruptible)."""

CHANGEOVERS: tuple[tuple[str, str, float], ...] = (
    ("plain", "coated", 15.0),
    ("plain", "phosphated", 20.0),
    ("coated", "plain", 45.0),
    ("coated", "phosphated", 40.0),
    ("phosphated", "plain", 50.0),
    ("phosphated", "coated", 30.0),
)
"""(from, to, minutes)."""

HOLIDAYS = tuple(
    date(year, month, day)
    for year in range(2026, 2031)
    for month, day in ((1, 1), (5, 1), (12, 25), (12, 26))
)


def shifts() -> Iterator[tuple[str, int, str, str, str, str]]:
    """Yield (calendar, weekday, start, end, start and end of the break), Monday to Saturday."""
    for weekday in range(1, 7):
        yield CALENDAR, weekday, "06:00", "14:00", "10:00", "10:30"
        yield CALENDAR, weekday, "14:00", "22:00", "18:00", "18:30"


def options(number: int) -> tuple[str, int]:
    """Return finish and priority of a planned order by its number."""
    return FINISHES[number * 7 // 3 % len(FINISHES)], 1 + number * 5 % 4
