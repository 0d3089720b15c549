"""Answers to the questions about the present state of the plant."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.plant_views import (
    NODES_MAX,
    GetPlantEquipmentTree,
    ListPlantAlerts,
    ListPlantEquipment,
    ListPlantLots,
    ListPlantOrders,
    PlantAlertPage,
    PlantEquipmentPage,
    PlantEquipmentTree,
    PlantLotPage,
    PlantOrderPage,
)

from lineshaft_event_router import equipment_tree, plant_state
from lineshaft_event_router.plant_cells import Cells
from lineshaft_event_router.plant_changes import ViewKind
from lineshaft_event_router.plant_wanted import Wanted

V = TypeVar("V")


class Views(Protocol):
    """Where the views are kept; see store."""

    async def read(self, wanted: Wanted) -> Sequence[tuple[str, Cells]]:
        """Give ids and cells in the order of the ids."""
        ...


class PlantAnswers:
    """Answers over AMQP what the gateway is asked over HTTP; each tenant sees its own plant."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def list_orders(self, asked: Envelope[ListPlantOrders]) -> PlantOrderPage:
        """Answer ListPlantOrders."""
        wanted = _wanted(
            ViewKind.ORDER,
            asked,
            states=asked.data.states,
            material=asked.data.material_definition_id,
        )
        orders, cursor = await self._page(wanted, plant_state.order)
        return PlantOrderPage(orders=tuple(orders), next_cursor=cursor)

    async def list_lots(self, asked: Envelope[ListPlantLots]) -> PlantLotPage:
        """Answer ListPlantLots."""
        wanted = _wanted(
            ViewKind.LOT,
            asked,
            states=asked.data.statuses,
            material=asked.data.material_definition_id,
            place=asked.data.storage_location,
            job_order=asked.data.job_order_id,
        )
        lots, cursor = await self._page(wanted, plant_state.lot)
        return PlantLotPage(lots=tuple(lots), next_cursor=cursor)

    async def list_alerts(self, asked: Envelope[ListPlantAlerts]) -> PlantAlertPage:
        """Answer ListPlantAlerts."""
        wanted = _wanted(
            ViewKind.ALERT,
            asked,
            states=asked.data.states,
            severity_min=asked.data.severity_min,
            job_order=asked.data.job_order_id,
        )
        alerts, cursor = await self._page(wanted, plant_state.alert)
        return PlantAlertPage(alerts=tuple(alerts), next_cursor=cursor)

    async def list_equipment(self, asked: Envelope[ListPlantEquipment]) -> PlantEquipmentPage:
        """Answer ListPlantEquipment."""
        wanted = _wanted(ViewKind.EQUIPMENT, asked, states=asked.data.states)
        equipment, cursor = await self._page(wanted, plant_state.equipment)
        return PlantEquipmentPage(equipment=tuple(equipment), next_cursor=cursor)

    async def get_tree(self, asked: Envelope[GetPlantEquipmentTree]) -> PlantEquipmentTree:
        """Answer GetPlantEquipmentTree."""
        wanted = Wanted(
            kind=ViewKind.EQUIPMENT,
            tenant=asked.tenant,
            below=_path(asked.data.below),
            limit=NODES_MAX,
        )
        equipment, cursor = await self._page(wanted, plant_state.equipment)
        return PlantEquipmentTree(roots=equipment_tree.grow(equipment), truncated=bool(cursor))

    async def _page(
        self, wanted: Wanted, show: Callable[[str, Cells], V]
    ) -> tuple[list[V], str | None]:
        found = await self._views.read(wanted.one_more())
        shown = found[: wanted.limit]
        cursor = shown[-1][0] if len(found) > len(shown) else None
        return [show(id_, cells) for id_, cells in shown], cursor


def _wanted(kind: ViewKind, asked: Envelope[Any], **given: Any) -> Wanted:
    return Wanted(
        kind=kind,
        tenant=asked.tenant,
        ids=asked.data.ids,
        below=_path(asked.data.below),
        changed_since=asked.data.changed_since,
        after=asked.data.cursor,
        limit=asked.data.limit,
        **given,
    )


def _path(below: str | None) -> str | None:
    return below and below.rstrip("/")
