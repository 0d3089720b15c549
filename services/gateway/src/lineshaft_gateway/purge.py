"""Purging cached assets in every region at once, and knowing which of them did it."""

from typing import Annotated, Self
from uuid import UUID

from lineshaft_common.messaging.bus import Bus, NoReplyError
from lineshaft_contracts.cdn import URL_BYTES_MAX, PurgeAssets, PurgeScope
from lineshaft_contracts.envelope import PLATFORM_TENANT, uuid7
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from lineshaft_gateway.catalogue import SOURCE

REPLY_DEADLINE_SECONDS = 2.0

Url = Annotated[str, Field(pattern=r"^(https?://|/)[^\s\x00-\x1f]*$", max_length=URL_BYTES_MAX)]


class PurgeRequest(BaseModel):
    """What to purge: exactly one of url, prefix and everything."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: Url | None = None
    """One URL in all its variants: absolute, or a path with its query."""
    prefix: Url | None = None
    """Everything whose path begins like this."""
    everything: bool = False
    hard: bool = True
    """False only marks as stale: revalidated at the next use, served if the origin is down."""

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.url is not None) + (self.prefix is not None) + self.everything != 1:
            raise PydanticCustomError(
                "exactly_one", "exactly one of url, prefix and everything must be given"
            )
        return self


class RegionPurged(BaseModel):
    """A region serves nothing older from now on."""

    region: str
    removed: int
    """Stored responses that were dropped or marked."""
    milliseconds: float
    """Spent inside the region."""


class PurgeResult(BaseModel):
    """How far the purge is; regions that are missing carry it out when they return."""

    purge_id: UUID
    regions: tuple[RegionPurged, ...]
    missing: tuple[str, ...]


class Purger:
    """Sends purges to the regions of this installation."""

    def __init__(self, bus: Bus, regions: tuple[str, ...]) -> None:
        self._bus = bus
        self._regions = regions

    async def purge(self, request: PurgeRequest) -> PurgeResult:
        """Purge everywhere; raises PublishError when the broker did not take the command."""
        command = _command(request)
        try:
            replies = await self._bus.ask_all(
                command,
                tenant=PLATFORM_TENANT,
                source=SOURCE,
                replies_max=len(self._regions),
                deadline_seconds=REPLY_DEADLINE_SECONDS,
            )
        except NoReplyError:
            replies = []
        done = {reply.region: reply for reply in replies}
        return PurgeResult(
            purge_id=command.purge_id,
            regions=tuple(
                RegionPurged(
                    region=reply.region, removed=reply.removed, milliseconds=reply.milliseconds
                )
                for reply in sorted(done.values(), key=lambda reply: reply.region)
            ),
            missing=tuple(region for region in self._regions if region not in done),
        )


def _command(request: PurgeRequest) -> PurgeAssets:
    if request.url is not None:
        scope, url = PurgeScope.URL, request.url
    elif request.prefix is not None:
        scope, url = PurgeScope.PREFIX, request.prefix
    else:
        scope, url = PurgeScope.EVERYTHING, "/"
    return PurgeAssets(purge_id=uuid7(), url=url, scope=scope, soft=not request.hard)
