"""The equipment hierarchy, grown from the pieces that events came from."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lineshaft_contracts.plant_views import EquipmentNode, PlantEquipment


@dataclass(kw_only=True)
class _Branch:
    equipment: PlantEquipment | None = None
    children: dict[str, "_Branch"] = field(default_factory=dict[str, "_Branch"])


def grow(equipment: Iterable[PlantEquipment]) -> tuple[EquipmentNode, ...]:
    """Build the trees; levels that sent nothing themselves are there for what is below them."""
    root = _Branch()
    for piece in equipment:
        branch = root
        for word in piece.path.removeprefix("/").split("/"):
            branch = branch.children.setdefault(word, _Branch())
        branch.equipment = piece
    return _nodes(root, "")


def _nodes(branch: _Branch, path: str) -> tuple[EquipmentNode, ...]:
    return tuple(
        _node(child, word, f"{path}/{word}") for word, child in sorted(branch.children.items())
    )


def _node(branch: _Branch, name: str, path: str) -> EquipmentNode:
    children = _nodes(branch, path)
    states = Counter[str]()
    if branch.equipment is not None:
        states[branch.equipment.state.value] += 1
    for child in children:
        states.update(child.by_state)
    return EquipmentNode(
        path=path,
        name=name,
        equipment=branch.equipment,
        by_state=dict(sorted(states.items())),
        children=children,
    )
