"""The plant: its three lines, what they make and of what."""

from dataclasses import dataclass

SITE = "north"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A work center with its work units in the order that material passes them."""

    name: str
    area: str
    work_units: tuple[str, ...]
    product: str
    """What it makes, in pieces."""
    material: str
    """Of what: kilograms for each piece."""
    kilograms_per_piece: float
    seconds_per_piece: int
    """Ideal cycle time of the last work unit."""
    scrap_share: float
    defect: str
    """The usual reason for scrap."""


STAMPING = Line(
    name="line-1",
    area="stamping",
    work_units=("press-1", "washer-1"),
    product="piston-ring-74",
    material="steel-strip-2mm",
    kilograms_per_piece=0.05,
    seconds_per_piece=6,
    scrap_share=0.02,
    defect="burr",
)
MACHINING = Line(
    name="line-2",
    area="machining",
    work_units=("lathe-1", "grinder-1"),
    product="bushing-30",
    material="bronze-bar-40mm",
    kilograms_per_piece=0.31,
    seconds_per_piece=20,
    scrap_share=0.03,
    defect="bore-too-wide",
)
ASSEMBLY = Line(
    name="line-3",
    area="assembly",
    work_units=("station-1", "tester-1"),
    product="piston-set-4",
    material="packaging-film",
    kilograms_per_piece=0.02,
    seconds_per_piece=30,
    scrap_share=0.01,
    defect="leak",
)
LINES = (STAMPING, MACHINING, ASSEMBLY)

RAW_STORE = "store-raw"
FINISHED_STORE = "store-finished"
