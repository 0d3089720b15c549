import socket
from ipaddress import ip_network

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from lineshaft_event_router.subscriptions.addresses import (
    AddressGuard,
    AddressRefusedError,
    GuardedResolver,
)
from lineshaft_event_router.subscriptions.records import Verdict
from lineshaft_event_router.subscriptions.webhook import WebhookClient
from yarl import URL

INSIDE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104 - refused.
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]
OUTSIDE = [
    "93.184.216.34",
    "8.8.8.8",
    "2606:4700:4700::1111",
    "64:ff9b::808:808",
    "2002:808:808::",
]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_refused(address: str) -> None:
    with pytest.raises(AddressRefusedError):
        AddressGuard().check(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_public_addresses_are_allowed(address: str) -> None:
    AddressGuard().check(address)


def test_the_operator_opens_a_network_and_no_other() -> None:
    guard = AddressGuard([ip_network("10.0.0.0/8")])
    guard.check("10.1.2.3")
    guard.check("::ffff:10.1.2.3")
    with pytest.raises(AddressRefusedError):
        guard.check("192.168.1.1")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/"]
)
def test_an_address_in_a_url_is_refused(url: str) -> None:
    with pytest.raises(AddressRefusedError):
        AddressGuard().check_url(URL(url))


class Names(AbstractResolver):
    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0
            )
            for one in self._addresses
        ]

    async def close(self) -> None:
        pass


async def test_a_name_that_resolves_inside_is_refused_even_in_part() -> None:
    resolver = GuardedResolver(AddressGuard(), Names("93.184.216.34", "10.0.0.1"))
    with pytest.raises(AddressRefusedError):
        await resolver.resolve("hooks.example.com", 443)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "[::1]", "[::]"]
)
async def test_no_way_of_writing_this_machine_is_connected_to(host: str) -> None:
    async with WebhookClient(AddressGuard()) as client:
        outcome = await client.post(URL(f"http://{host}:9/"), b"{}", {}, timeout_seconds=5)
    assert outcome.verdict is Verdict.FAILED
    refusals = ("not a public address", "not a canonical IPv4 address")
    assert any(refusal in outcome.detail for refusal in refusals)
