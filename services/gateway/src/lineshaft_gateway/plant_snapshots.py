"""Snapshots of the plant that a live stream goes on from without a gap."""

from collections.abc import Callable
from typing import Any

from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.envelope import Asking

from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.coalescing import Coalescer

READ_DEADLINE_SECONDS = 3.0


class PlantDesk:
    """Asks the event-router, and says up to where of the log its answer is complete.

    The position is taken before the question is asked. Whatever the log held by then had been
    committed together with the views before it was passed on to the log: the answer has it. What
    came in between may be in both; that does no harm, and nothing is missing.
    """

    def __init__(self, bus: Bus, position: Callable[[], str]) -> None:
        self._bus = bus
        self._position = position
        self._coalescer = Coalescer()

    async def read(self, question: Asking[Any], *, tenant: str) -> tuple[Any, str]:
        """Ask; the answer, and the event id after which a stream goes on.

        Raises NoReplyError when the event-router is away. Those who share an answer share its
        position: one of their own would be later than the answer.
        """

        async def ask() -> tuple[Any, str]:
            position = self._position()
            found = await self._bus.ask(
                question, tenant=tenant, source=SOURCE, deadline_seconds=READ_DEADLINE_SECONDS
            )
            return found, position

        key = (tenant, question.type, question.model_dump_json())
        return await self._coalescer.get(key, ask)
