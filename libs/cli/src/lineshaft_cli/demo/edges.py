"""The assets of the plant through each region, and a purge in all of them."""

import re
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp

from lineshaft_cli.api import Api
from lineshaft_cli.demo.checks import expect

PAGE = "/assets/index.html"
PURGED = "/assets/logo.svg"
TRIES = 3


@dataclass(kw_only=True)
class Fetched:
    """What a region answered."""

    region: str
    hits: int = 0
    misses: int = 0
    bytes: int = 0


async def fetch_all(edges: dict[str, str], origin: str) -> list[Fetched]:
    """Fetch the page and what it needs from every region, a few times."""
    async with aiohttp.ClientSession() as session:
        async with session.get(origin + PAGE) as response:
            page = await response.text()
        linked = re.findall(r"(?:href|src)=[\"']([^\"':]+)[\"']", page)
        paths = [PAGE, *sorted({urljoin(PAGE, link) for link in linked})]
        expect(f"the page shows {PURGED}", PURGED in paths)
        return [await _fetch(session, region, url, paths) for region, url in edges.items()]


async def _fetch(
    session: aiohttp.ClientSession, region: str, url: str, paths: list[str]
) -> Fetched:
    fetched = Fetched(region=region)
    headers = {"Accept-Encoding": "br, gzip"}
    for path in paths * TRIES:
        async with session.get(url + path, headers=headers) as response:
            body = await response.read()
            expect(f"{region} serves {path}", response.status == 200)
        hit = was_hit(response.headers.get("Cache-Status", ""))
        fetched.hits += hit
        fetched.misses += not hit
        fetched.bytes += len(body)
    expect(f"{region} has hits and misses", fetched.hits > 0 and fetched.misses > 0)
    return fetched


def was_hit(cache_status: str) -> bool:
    """Read RFC 9211: whether the answer came from the cache."""
    return re.search(r";\s*hit(\s*[;,]|$)", cache_status) is not None


async def purge(api: Api, edges: dict[str, str], origin: str) -> str:
    """Purge a picture everywhere; every region acknowledges, and fetches it again."""
    result, _ = await api.post("/api/system/cdn-purges", {"url": origin + PURGED})
    acknowledged = {region["region"]: region["milliseconds"] for region in result["regions"]}
    expect(
        f"all regions acknowledge the purge (missing: {result['missing']})",
        set(acknowledged) == set(edges),
    )
    async with aiohttp.ClientSession() as session:
        outcomes = Counter[bool]()
        for url in edges.values():
            async with session.get(url + PURGED) as response:
                await response.read()
            outcomes[was_hit(response.headers.get("Cache-Status", ""))] += 1
    expect("no region serves the purged picture from its cache", outcomes[True] == 0)
    return ", ".join(f"{region} {ms:.1f} ms" for region, ms in acknowledged.items())
