"""Purges that arrive as commands: carried out here, answered, and announced."""

from time import perf_counter
from uuid import UUID

import structlog
from lineshaft_common.messaging import Bus, Delivery
from lineshaft_contracts.cdn import AssetsPurged, PurgeAcknowledged, PurgeAssets, PurgeScope
from lineshaft_contracts.envelope import envelop
from lineshaft_contracts.problems import Problem

from lineshaft_cdn_edge.cache_key import InvalidTargetError
from lineshaft_cdn_edge.purge import Purger

log = structlog.get_logger(__name__)


class PurgeCommands:
    """Handles PurgeAssets for one region and remembers how many there were."""

    def __init__(self, purger: Purger, bus: Bus, *, region: str) -> None:
        self._purger = purger
        self._bus = bus
        self._region = region
        self.count = 0
        self.last_id: UUID | None = None

    async def on_purge_assets(self, delivery: Delivery[PurgeAssets]) -> None:
        """Purge, answer whoever asked, announce it. Idempotent: what is gone stays gone."""
        command = delivery.data
        began = perf_counter()
        try:
            removed = self._purge(command)
        except InvalidTargetError as error:
            problem = Problem(
                code="invalid_url", title="The URL is not valid", detail=str(error), status=422
            )
            await delivery.reply(problem)
            if not delivery.is_answerable:
                delivery.park(problem.code, problem.detail)
            return
        milliseconds = (perf_counter() - began) * 1000
        self.count += 1
        self.last_id = command.purge_id
        await delivery.reply(
            PurgeAcknowledged(
                purge_id=command.purge_id,
                region=self._region,
                url=command.url,
                removed=removed,
                milliseconds=milliseconds,
            )
        )
        log.info("purged", url=command.url, scope=command.scope, removed=removed)
        await self._announce(delivery, removed, milliseconds)

    def _purge(self, command: PurgeAssets) -> int:
        match command.scope:
            case PurgeScope.URL:
                return self._purger.url(command.url, soft=command.soft)
            case PurgeScope.PREFIX:
                return self._purger.prefix(command.url, soft=command.soft)
            case PurgeScope.EVERYTHING:
                return self._purger.everything(soft=command.soft)
            case PurgeScope.UNKNOWN:
                raise InvalidTargetError("the scope is not known to this version")

    async def _announce(
        self, delivery: Delivery[PurgeAssets], removed: int, milliseconds: float
    ) -> None:
        command = delivery.data
        event = AssetsPurged(
            purge_id=command.purge_id,
            region=self._region,
            url=command.url,
            scope=command.scope,
            soft=command.soft,
            removed=removed,
            milliseconds=milliseconds,
        )
        await self._bus.publish(
            envelop(
                event,
                source="/services/cdn-edge",
                tenant=delivery.envelope.tenant,
                subject=str(command.purge_id),
                causationid=delivery.envelope.id,
            )
        )
