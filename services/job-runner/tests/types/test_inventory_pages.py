"""Reading a REST resource: every kind of paging, patience within bounds, and no way out of it."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp import web
from lineshaft_job_runner.job_type import (
    JobStoppedError,
    PermanentError,
    RetryableError,
    SnoozeError,
)
from lineshaft_job_runner.source_services import HttpEntry
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.inventory.gathering import gather
from lineshaft_job_runner.types.inventory.requesting import retry_after_seconds

from .inventory_plant import parameters

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ITEMS = [{"item": f"item-{n:02}", "location": "A", "quantity": n} for n in range(25)]


@asynccontextmanager
async def erp(handler: Handler, **entry: Any) -> AsyncGenerator[Any]:
    """Serve one resource; yields its entry of the sources file."""
    app = web.Application()
    app.router.add_get("/api/stock", handler)
    app.router.add_get("/other", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield HttpEntry.model_validate(
            {
                "kind": "http",
                "base_url": f"http://127.0.0.1:{port}/api/",
                "headers": {"Authorization": {"env": "ERP_TOKEN", "prefix": "Bearer "}},
                **entry,
            }
        )
    finally:
        await runner.cleanup()


async def read(
    tmp_path: Path,
    handler: Handler,
    *,
    cursor: datetime | None = None,
    context: FolderContext | None = None,
    entry: dict[str, Any] | None = None,
    **source: Any,
) -> pl.DataFrame:
    columns = {"uom": None, **source.pop("columns", {})}
    given = parameters(
        source={"kind": "pages", "source": "erp", "path": "stock", "columns": columns, **source}
    )
    async with erp(handler, **(entry or {})) as service:
        endpoint = service.endpoint("erp", "acme", {"ERP_TOKEN": "t0ken"})
        context = context or FolderContext(tmp_path)
        context._endpoints = {"erp": endpoint}
        gathered = await gather(context, given, InputDigest(given), cursor=cursor)
    return gathered.stated


def answer(items: list[Any], **more: Any) -> web.Response:
    return web.json_response({"items": items, **more})


async def by_page(request: web.Request) -> web.Response:
    page, size = int(request.query["page"]), int(request.query["per_page"])
    return answer(ITEMS[(page - 1) * size : page * size])


async def by_offset(request: web.Request) -> web.Response:
    # Gives less than what was asked for, as some services do.
    offset = int(request.query["offset"])
    return answer(ITEMS[offset : offset + min(7, int(request.query["limit"]))])


async def by_cursor(request: web.Request) -> web.Response:
    start = int(request.query.get("cursor", "0"))
    following = start + 10 if start + 10 < len(ITEMS) else None
    return answer(ITEMS[start : start + 10], meta={"next": following})


async def by_link(request: web.Request) -> web.Response:
    start = int(request.query.get("start", "0"))
    response = web.json_response(ITEMS[start : start + 10])
    if start + 10 < len(ITEMS):
        response.headers["Link"] = (
            f'<?start=0>; rel="first", </api/stock?start={start + 10}>; rel="next"'
        )
    return response


@pytest.mark.parametrize(
    ("handler", "source"),
    [
        (by_page, {"paging": {"by": "page", "size": 10}}),
        (by_page, {"paging": {"by": "page", "size": 10, "end": "short"}}),
        (by_page, {"paging": {"by": "page", "size": 25}}),
        (by_offset, {"paging": {"by": "offset", "size": 10}}),
        (by_cursor, {"paging": {"by": "cursor", "next": "meta.next"}}),
        (by_link, {"paging": {"by": "link"}, "items": None}),
    ],
)
async def test_every_item_is_read_once(
    tmp_path: Path, handler: Handler, source: dict[str, Any]
) -> None:
    stated = await read(tmp_path, handler, **source)
    assert stated["item"].to_list() == [item["item"] for item in ITEMS]


async def test_numbers_are_as_exact_as_they_were_written(tmp_path: Path) -> None:
    async def exact(request: web.Request) -> web.Response:
        text = (
            '{"items": [{"item": "a", "at": {"bin": "A"}, "quantity": 0.1000000000000000055},'
            '{"item": "b", "at": {"bin": "A"}, "quantity": 12345678901234567890},'
            '{"item": "c", "quantity": 1E-5}]}'
        )
        last = request.query["page"] != "1"
        return answer([]) if last else web.Response(text=text, content_type="application/json")

    stated = await read(tmp_path, exact, columns={"location": "at.bin"})
    assert stated["quantity"].to_list() == [
        "0.1000000000000000055", "12345678901234567890", "0.00001",
    ]  # fmt: skip
    assert stated["location"].to_list() == ["A", "A", None]


async def test_secrets_and_queries_are_sent_and_the_cursor_comes_with_its_overlap(
    tmp_path: Path,
) -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.headers["Authorization"], dict(request.query)))
        return answer([])

    await read(
        tmp_path,
        handler,
        query={"plant": "north & south"},
        changes={"start": "2026-01-01T00:00:00Z", "overlap_seconds": 60},
        cursor=datetime(2026, 11, 24, 12, tzinfo=UTC),
    )
    assert seen == [
        (
            "Bearer t0ken",
            {
                "plant": "north & south",
                "since": "2026-11-24T11:59:00Z",
                "page": "1",
                "per_page": "500",
            },
        )
    ]


def flaky(*answers: tuple[int, dict[str, str]]) -> tuple[Handler, list[float]]:
    """Answer with these statuses and headers first, then with an empty page."""
    times: list[float] = []
    left = list(answers)

    async def handler(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        if left:
            status, headers = left.pop(0)
            return web.Response(status=status, headers=headers, text="slow\n down")
        return answer([])

    return handler, times


async def test_a_busy_service_is_asked_again_when_it_says(tmp_path: Path) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    handler, times = flaky((429, {"Retry-After": "1"}), (503, {"Retry-After": soon}), (502, {}))
    await read(tmp_path, handler)
    assert len(times) == 4
    assert times[1] - times[0] >= 0.95


async def test_patience_has_bounds(tmp_path: Path) -> None:
    handler, times = flaky(*[(503, {"Retry-After": "0"})] * 10)
    with pytest.raises(RetryableError, match="it answers 503") as raised:
        await read(tmp_path, handler, attempts_max=3)
    assert (raised.value.code, len(times)) == ("source_unavailable", 3)


async def test_a_long_wait_is_left_to_the_runner(tmp_path: Path) -> None:
    handler, times = flaky((429, {"Retry-After": "900"}))
    context = FolderContext(tmp_path)
    with pytest.raises(SnoozeError) as raised:
        await read(tmp_path, handler, context=context)
    assert (raised.value.seconds, len(times)) == (900, 1)
    assert context.checkpoints == [{"snoozes": 1}]
    handler, _ = flaky((429, {"Retry-After": "900"}))
    tired = FolderContext(tmp_path, restored={"snoozes": 20})
    with pytest.raises(RetryableError):
        await read(tmp_path, handler, context=tired)


async def test_a_wait_ends_when_the_job_is_cancelled(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, cancel_after=1)

    async def handler(request: web.Request) -> web.Response:
        context.progress(0, 1)
        return web.Response(status=429, headers={"Retry-After": "100"})

    async with asyncio.timeout(10):
        with pytest.raises(JobStoppedError):
            await read(tmp_path, handler, context=context)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "source_login_refused"),
        (404, "source_request_refused"),
        (302, "source_request_refused"),
    ],
)
async def test_a_refusal_is_final_and_no_redirect_is_followed(
    tmp_path: Path, status: int, code: str
) -> None:
    handler, times = flaky((status, {"Location": "/other"}))
    with pytest.raises(PermanentError) as raised:
        await read(tmp_path, handler)
    assert (raised.value.code, len(times)) == (code, 1)
    assert "t0ken" not in str(raised.value)


async def test_a_service_that_is_not_there_may_come_back(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return answer([])

    with pytest.raises(RetryableError):
        await read(tmp_path, handler, attempts_max=2)


async def circle(request: web.Request) -> web.Response:
    return answer(ITEMS[:1], next_cursor="same")


async def endless(request: web.Request) -> web.Response:
    return answer(ITEMS[:1])


async def elsewhere(request: web.Request) -> web.Response:
    return web.json_response([], headers={"Link": '<http://example.org/stock>; rel="next"'})


async def upward(request: web.Request) -> web.Response:
    return web.json_response([], headers={"Link": '</other>; rel="next"'})


async def words(request: web.Request) -> web.Response:
    return web.Response(text="<html>")


async def not_a_number(request: web.Request) -> web.Response:
    return web.Response(text='{"items": [{"item": "a", "quantity": NaN}]}')


async def deep(request: web.Request) -> web.Response:
    return web.Response(text="[" * 100_000)


async def of_texts(request: web.Request) -> web.Response:
    return answer(["a"])


async def large(request: web.Request) -> web.Response:
    return answer([{"item": "x" * 100_000}])


@pytest.mark.parametrize(
    ("handler", "source", "code"),
    [
        (circle, {"paging": {"by": "cursor"}}, "pages_repeat"),
        (endless, {"pages_max": 5}, "pages_too_many"),
        (elsewhere, {"paging": {"by": "link"}, "items": None}, "source_path_refused"),
        (upward, {"paging": {"by": "link"}, "items": None}, "source_path_refused"),
        (endless, {"path": "../other"}, "source_path_refused"),
        (words, {}, "source_answer_unfit"),
        (not_a_number, {}, "source_answer_unfit"),
        (deep, {}, "source_answer_unfit"),
        (of_texts, {}, "source_answer_unfit"),
        (endless, {"items": "data.items"}, "source_answer_unfit"),
        (large, {"entry": {"response_bytes_max": 50_000}}, "source_bytes_limit"),
    ],
)
async def test_what_cannot_be_right_ends_the_job_with_a_reason(
    tmp_path: Path, handler: Handler, source: dict[str, Any], code: str
) -> None:
    with pytest.raises(PermanentError) as raised:
        await read(tmp_path, handler, **source)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120), ("0", 0), ("", None), ("-5", None), ("1.5", None), ("soon", None),
        ("9" * 30, None), ("Tue, 24 Nov 2026 12:00:30 GMT", 30),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert retry_after_seconds({"Retry-After": value}, now=now) == seconds


async def files(tmp_path: Path, content: bytes, **source: Any) -> pl.DataFrame:
    class Folder:
        def open(self, path: str) -> Any:
            return (tmp_path / path).open("rb")

    (tmp_path / "stock").write_bytes(content)
    columns = {"uom": None, **source.pop("columns", {})}
    given = parameters(
        source={"kind": "file", "source": "drop", "path": "stock", "columns": columns, **source}
    )
    context = FolderContext(tmp_path, folders={"drop": Folder()})
    return (await gather(context, given, InputDigest(given), cursor=None)).stated


@pytest.mark.parametrize(
    ("content", "source"),
    [
        (b"item,location,quantity\n007,A,1.5\n", {}),
        (b"\xef\xbb\xbfitem,location,quantity\r\n007,A,1.5\r\n", {}),
        (b"quantity;more;item;location\n1,5;x;007;A\n", {"delimiter": ";", "decimal_sign": ","}),
        (b'[{"item": "007", "location": "A", "quantity": 1.5}]', {"format": "json"}),
        (
            b'{"d": {"r": [{"item": "007", "location": "A", "quantity": "1.5"}]}}',
            {"format": "json", "items": "d.r"},
        ),
        (b'{"item": "007", "location": "A", "quantity": 1.5}\n\n', {"format": "ndjson"}),
    ],
)
async def test_files_of_every_kind_say_the_same(
    tmp_path: Path, content: bytes, source: dict[str, Any]
) -> None:
    stated = await files(tmp_path, content, **source)
    assert stated.select("item", "location", "quantity").rows() == [("007", "A", "1.5")]


async def test_another_encoding_is_read_when_it_is_named(tmp_path: Path) -> None:
    content = "item,location,quantity\nSchraube,Süd,1\n".encode("cp1252")
    stated = await files(tmp_path, content, encoding="cp1252")
    assert stated["location"].to_list() == ["Süd"]
    with pytest.raises(PermanentError, match="set `encoding`"):
        await files(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file_empty"),
        (b"article,location,quantity\n", "column_missing"),
        (b"item,location,quantity\na,A,1,2,3\n", "file_unreadable"),
    ],
)
async def test_half_a_file_is_no_stock(tmp_path: Path, content: bytes, code: str) -> None:
    with pytest.raises(PermanentError) as raised:
        await files(tmp_path, content)
    assert raised.value.code == code


async def test_grouped_thousands_are_not_taken_for_decimals(tmp_path: Path) -> None:
    content = b"item;location;quantity\na;A;1.234\nb;A;1.234,5\n"
    stated = await files(tmp_path, content, delimiter=";", decimal_sign=",")
    assert all(text is None or "?" in text for text in stated["quantity"])


async def test_a_large_exponent_costs_nothing(tmp_path: Path) -> None:
    content = json.dumps([{"item": "a", "location": "A", "quantity": 0}]).encode()
    content = content.replace(b": 0}", b": 1E+999999999}")
    stated = await files(tmp_path, content, format="json")
    assert Decimal(stated["quantity"][0]) == Decimal("1E+999999999")
