"""The body of a storable response: read once, given to all who wait for it, then stored."""

import asyncio
from dataclasses import dataclass, replace

from lineshaft_cdn_edge.broadcast import AbandonedError, Broadcast
from lineshaft_cdn_edge.clock import Clock
from lineshaft_cdn_edge.compression import Compressor
from lineshaft_cdn_edge.entry import Entry
from lineshaft_cdn_edge.fields import Fields, combined
from lineshaft_cdn_edge.flights import Flight, Flights, Incoming
from lineshaft_cdn_edge.memory import MemoryStore
from lineshaft_cdn_edge.messages import Request
from lineshaft_cdn_edge.origin import OriginError, OriginResponse
from lineshaft_cdn_edge.policy import Policy, media_type
from lineshaft_cdn_edge.vary import accepted_codings

_WINDOW_BYTES = 262_144


@dataclass(frozen=True, kw_only=True)
class Arriving:
    """A response that is to be stored as `entry`, its body not read yet."""

    flight: Flight
    request: Request
    response: OriginResponse
    entry: Entry
    withheld: Fields
    """Fields of the response that are for the leader alone."""
    has_age: bool


class Keeper:
    """Reads bodies; all that are on their way together may hold as much memory as the store."""

    def __init__(
        self,
        *,
        store: MemoryStore,
        flights: Flights,
        compressor: Compressor,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._store = store
        self._flights = flights
        self._compressor = compressor
        self._policy = policy
        self._clock = clock
        self._arriving_bytes = 0

    async def read(self, arriving: Arriving) -> None:
        """Land the flight, read the body to its end, and store it if it is whole."""
        flight, response = arriving.flight, arriving.response
        broadcast = Broadcast(window_bytes=_WINDOW_BYTES)
        incoming = Incoming(
            entry=arriving.entry,
            body=broadcast,
            lead=None if flight.is_abandoned else broadcast.reader(),
            length=response.length,
            whole=asyncio.get_running_loop().create_future(),
            has_age=arriving.has_age,
            withheld=arriving.withheld,
        )
        flight.outcome.set_result(incoming)
        try:
            body = await self._pump(flight, incoming, response)
        except OriginError as error:
            incoming.body.fail(error)
            incoming.whole.set_exception(error)
            incoming.whole.exception()
            return
        except AbandonedError:
            body = None
        finally:
            await response.body.close()
        if body is None:
            incoming.whole.set_result(None)
            return
        incoming.whole.set_result(await self._keep(arriving, replace(arriving.entry, body=body)))

    async def _keep(self, arriving: Arriving, whole: Entry) -> Entry:
        """Store a complete response, with a quick form in the coding that is waited for."""
        rule = self._policy.compression
        kind = media_type(whole.fields.get("content-type"))
        compresses = whole.is_negotiated and rule.applies(kind, len(whole.body))
        accepted = accepted_codings(combined(arriving.request.fields, "accept-encoding"))
        if compresses and accepted and len(whole.body) <= rule.first_bytes_max:
            whole = await self._compressor.quickly(whole, accepted[0])
        stored = not arriving.flight.is_doomed and self._store.put(whole)
        if stored and compresses:
            self._compressor.densely(whole)
        return whole

    async def _pump(
        self, flight: Flight, incoming: Incoming, response: OriginResponse
    ) -> bytes | None:
        """Read the body into the broadcast; None when it grew too long to keep."""
        total = 0
        try:
            async for chunk in response.body:
                total += len(chunk)
                self._arriving_bytes += len(chunk)
                if incoming.body.is_joinable and self._is_too_much(total):
                    self._flights.close_doors(flight)
                    incoming.body.release()
                    await response.pass_through()
                    until = self._clock.monotonic() + self._policy.hit_for_miss_seconds
                    self._store.mark_uncacheable(flight.key, until=until)
                await incoming.body.write(chunk)
        finally:
            self._arriving_bytes -= total
        kept = incoming.body.is_joinable
        body = incoming.body.finish()
        return body if kept else None

    def _is_too_much(self, body_bytes: int) -> bool:
        if body_bytes > self._store.object_bytes_max:
            return True
        return self._arriving_bytes > self._store.bytes_max
