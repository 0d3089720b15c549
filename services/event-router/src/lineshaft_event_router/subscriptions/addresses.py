"""Which addresses webhooks may be sent to: never into the installation's own network.

The address that a name resolves to is what is checked, and the connection is made to exactly
that address: a name that resolves to something else a moment later changes nothing.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

LOOKUPS_MAX = 32
NAT64 = IPv6Network("64:ff9b::/96")
REFUSED: tuple[Network, ...] = (
    ip_network("0.0.0.0/8"),
    ip_network("192.0.0.0/24"),
    ip_network("192.88.99.0/24"),
    ip_network("64:ff9b:1::/48"),
    ip_network("fec0::/10"),
    ip_network("2001::/32"),
    ip_network("5f00::/16"),
)
"""Beside what is private, local, reserved or for many: relays, translators, sites."""


class AddressRefusedError(OSError):
    """The address is not one that webhooks may be sent to."""


class AddressGuard:
    """Decides on addresses; `allowed` are the private networks that the operator opens."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def check(self, text: str) -> None:
        """Raise AddressRefusedError for an address that is not allowed."""
        address = ip_address(text.partition("%")[0])
        inner = _embedded(address)
        if not (self._is_allowed(address) and (inner is None or self._is_allowed(inner))):
            raise AddressRefusedError(f"{address} is not a public address")

    def check_url(self, url: URL) -> None:
        """Check a URL that has an address instead of a name; a name is checked once resolved."""
        literal = literal_of(url)
        if literal is not None:
            self.check(literal)

    def _is_allowed(self, address: Address) -> bool:
        if any(address.version == net.version and address in net for net in self._allowed):
            return True
        if isinstance(address, IPv6Address) and _embedded(address) is not None:
            return True  # What is inside decides.
        return (
            address.is_global
            and not address.is_multicast
            and not any(address.version == net.version and address in net for net in REFUSED)
        )


def literal_of(url: URL) -> str | None:
    """Return the address that a URL has as its host; None when that is a name."""
    host = (url.raw_host or "").partition("%")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _embedded(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


class PatientResolver(AbstractResolver):
    """Looks names up in threads of its own, each name once at a time.

    A name whose servers do not answer keeps one thread, however many wait for it.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="webhook-names")
        self._running: dict[tuple[str, int, int], asyncio.Future[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look a name up; raises OSError."""
        key = (host, port, family)
        running = self._running.get(key)
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._threads, _look_up, host, port, family)
            self._running[key] = running
            running.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(running)

    def _ended(self, key: tuple[str, int, int], done: asyncio.Future[list[ResolveResult]]) -> None:
        self._running.pop(key, None)
        if not done.cancelled():
            done.exception()  # Whoever still waits is told; nobody may.

    async def close(self) -> None:
        """Start no lookup any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=int(address[1]),
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found
    ]


class GuardedResolver(AbstractResolver):
    """Resolves names to allowed addresses only; if one of them is refused, all are."""

    def __init__(self, guard: AddressGuard, resolver: AbstractResolver | None = None) -> None:
        self._guard = guard
        self._resolver = resolver or PatientResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look a name up; raises AddressRefusedError."""
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            self._guard.check(result["host"])
        return results

    async def close(self) -> None:
        """End the resolver inside."""
        await self._resolver.close()
