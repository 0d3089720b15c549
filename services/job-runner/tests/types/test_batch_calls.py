"""batch.apply with a request for each item: a real service, limits, retries and resumption."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from lineshaft_contracts.batches import BatchParameters, BatchResult
from lineshaft_job_runner.job_type import JobStoppedError, PermanentError, RetryableError
from lineshaft_job_runner.source_services import HttpEntry
from lineshaft_job_runner.sources import SourceError
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.batch_apply import BatchApply
from lineshaft_job_runner.types.batching.pacing import retry_after

Answer = Callable[[str, int], web.StreamResponse]


class Service:
    """A service that remembers every request, and performs each key once."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str, Any]] = []
        self.performed: Counter[str] = Counter()
        self.tried: Counter[str] = Counter()
        self.at_once = 0
        self.at_once_max = 0
        self.answer: Answer = lambda _material, _tried: web.Response(status=204)
        self.seconds = 0.0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        key = request.headers["Idempotency-Key"]
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            body = await request.json() if request.can_read_body else None
            self.requests.append((key, request.path_qs, body))
            await asyncio.sleep(self.seconds)
            material = request.match_info["material"]
            self.tried[material] += 1
            response = self.answer(material, self.tried[material])
            if response.status < 300:
                self.performed[key] += 1
            assert request.headers["Authorization"] == "Bearer s3cret"
            return response
        finally:
            self.at_once -= 1


@pytest.fixture
async def service() -> AsyncGenerator[Service]:
    found = Service()
    app = web.Application()
    app.router.add_route("*", "/api/stock/{material}", found.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address, *_) = runner.addresses
    found.url = f"http://127.0.0.1:{address[1]}/api/"
    try:
        yield found
    finally:
        await runner.cleanup()


def items(count: int) -> list[dict[str, Any]]:
    return [{"material": f"M-{n}", "on_hand": n} for n in range(count)]


async def call(
    service: Service,
    folder: Path,
    *,
    context: dict[str, Any] | None = None,
    calls: dict[str, Any] | None = None,
    **more: Any,
) -> BatchResult:
    work = {
        "source": "erp", "method": "PUT", "path": "stock/{material}",
        "requests_per_second": 1_000, **(calls or {}),
    }  # fmt: skip
    parameters = BatchParameters.model_validate(
        {"calls": work, "mode": "continue_on_error", "batch_id": "b", **more}
    )
    entry = HttpEntry.model_validate(
        {
            "kind": "http",
            "base_url": service.url,
            "headers": {"Authorization": {"env": "ERP_TOKEN", "prefix": "Bearer "}},
        }
    )
    endpoint = entry.endpoint("erp", "acme", {"ERP_TOKEN": "s3cret"})
    running = FolderContext(folder, endpoints={"erp": endpoint}, **(context or {}))
    return await BatchApply().run(running, parameters)


async def test_each_item_is_one_request_with_a_key_of_its_own(
    service: Service, tmp_path: Path
) -> None:
    given = [*items(2), {"material": "a/b ?#%", "on_hand": 1}]
    result = await call(service, tmp_path, items=given, calls={"body": {"quantity": "on_hand"}})
    assert result.counts.model_dump() == {"requested": 3, "ok": 3, "skipped": 0, "failed": 0}
    assert [(path, body) for _, path, body in sorted(service.requests)] == [
        ("/api/stock/M-0", {"quantity": 0}),
        ("/api/stock/M-1", {"quantity": 1}),
        ("/api/stock/a%2Fb%20%3F%23%25", {"quantity": 1}),
    ]
    assert len({key for key, _, _ in service.requests}) == 3
    first = sorted(service.requests)
    await call(service, tmp_path, items=given, calls={"body": {"quantity": "on_hand"}})
    assert sorted(service.requests[3:]) == first


async def test_what_a_service_cannot_do_now_is_tried_again_with_the_same_key(
    service: Service, tmp_path: Path
) -> None:
    def answer(material: str, tried: int) -> web.StreamResponse:
        if material == "M-1":
            return web.Response(status=422, text="no such material")
        if material == "M-2" and tried < 3:
            return web.Response(status=503, headers={"Retry-After": "0"})
        if material == "M-3":
            return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
        return web.Response(status=500 if material == "M-4" else 200)

    service.answer = answer
    result = await call(service, tmp_path, items=items(6), calls={"attempts_max": 3})
    assert (result.counts.ok, result.counts.failed) == (3, 3)
    assert service.tried == {"M-0": 1, "M-1": 1, "M-2": 3, "M-3": 1, "M-4": 3, "M-5": 1}
    assert set(service.performed.values()) == {1}
    assert [error.message for error in result.errors] == [
        "item 2: HTTP 422 no such material", "item 4: HTTP 302 ", "item 5: HTTP 500 ",
    ]  # fmt: skip
    lines = (tmp_path / "outcomes.csv").read_text(encoding="utf-8").splitlines()
    assert lines[2] == "2,422,failed,http_refused,HTTP 422 no such material"


async def test_rate_and_concurrency_are_kept(service: Service, tmp_path: Path) -> None:
    service.seconds = 0.03
    began = time.monotonic()
    await call(
        service,
        tmp_path,
        items=items(30),
        calls={"requests_per_second": 60, "concurrency": 3},
    )
    assert time.monotonic() - began >= 29 / 60
    assert service.at_once_max <= 3


async def test_an_attempt_goes_on_where_the_one_before_was_cancelled(
    service: Service, tmp_path: Path
) -> None:
    records: dict[str, dict[str, Any]] = {}
    service.answer = lambda material, _: web.Response(status=404 if material == "M-7" else 200)
    context: dict[str, Any] = {"records": records, "cancel_after": 1}
    with pytest.raises(JobStoppedError):
        await call(service, tmp_path, items=items(500), context=context)
    done = len(service.requests)
    assert 0 < done < 500
    result = await call(service, tmp_path, items=items(500), context={"records": records})
    assert (result.counts.ok, result.counts.failed, result.replayed) == (499, 1, done)
    assert len(service.requests) == 500
    other = items(500)
    other[3]["on_hand"] = 99
    with pytest.raises(PermanentError) as raised:
        await call(service, tmp_path, items=other, context={"records": records})
    assert raised.value.code == "batch_changed"


async def test_a_service_that_is_away_is_a_reason_to_come_back(
    service: Service, tmp_path: Path
) -> None:
    service.url = "http://127.0.0.1:1/api/"
    with pytest.raises(RetryableError) as raised:
        await call(service, tmp_path, items=items(50), calls={"attempts_max": 1, "concurrency": 1})
    assert raised.value.code == "service_unavailable"
    assert "s3cret" not in str(raised.value)


async def test_too_many_failures_end_the_batch(service: Service, tmp_path: Path) -> None:
    service.answer = lambda _material, _tried: web.Response(status=400)
    with pytest.raises(PermanentError, match="more than 10 items failed") as raised:
        await call(service, tmp_path, items=items(300), max_failures=10)
    assert raised.value.code == "too_many_failures"
    assert len(service.requests) < 20


async def test_a_resumed_batch_sends_nothing_before_its_token(
    service: Service, tmp_path: Path
) -> None:
    result = await call(service, tmp_path, items=items(10), batch_id=None, resume="b@7")
    assert (result.replayed, len(service.requests), result.counts.ok) == (7, 3, 10)
    assert result.resume == "b@10"


async def test_a_dry_run_sends_nothing_but_finds_items_that_cannot_be_sent(
    service: Service, tmp_path: Path
) -> None:
    given = [*items(2), {"on_hand": 1}, {"material": "..", "on_hand": 1}]
    result = await call(service, tmp_path, items=given, dry_run=True)
    assert (result.counts.ok, result.counts.failed, result.applied) == (2, 2, False)
    assert [error.code for error in result.errors] == ["item_field_missing", "source_path_refused"]
    assert service.requests == []


@pytest.mark.parametrize(
    "path",
    ["/admin", "//evil.example/x", "../admin", "stock/%2e%2e/%2e%2e/admin", "http://evil.example/",
     "stock/..;/x", "a\r\nHost: evil", "stock/%252e%252e/x", "x#y", "/apix"],
)  # fmt: skip
def test_no_path_leads_out_of_the_service(path: str) -> None:
    entry = HttpEntry.model_validate({"kind": "http", "base_url": "https://erp.example/api/"})
    endpoint = entry.endpoint("erp", "acme", {})
    assert endpoint.resolve("stock?x=1") == "https://erp.example/api/stock?x=1"
    with pytest.raises(SourceError) as raised:
        endpoint.resolve(path)
    assert raised.value.code == "source_path_refused"


def test_a_secret_of_the_source_does_not_go_to_a_tenants_own_service() -> None:
    entry = HttpEntry.model_validate(
        {
            "kind": "http",
            "base_url": "https://erp.example/",
            "headers": {"Authorization": {"env": "TOKEN"}},
            "tenants": {"acme": {"base_url": "https://erp.acme.example/"}, "demo": {}},
        }
    )
    assert entry.endpoint("erp", "acme", {"TOKEN": "x"}).headers == {}
    assert entry.endpoint("erp", "demo", {"TOKEN": "x"}).headers == {"Authorization": "x"}
    with pytest.raises(SourceError, match="no HTTP header may have"):
        entry.endpoint("erp", "demo", {"TOKEN": "x\r\nHost: evil"})


def test_retry_after_is_seconds_or_a_date_and_is_bounded() -> None:
    assert retry_after("7") == 7.0
    assert retry_after("999999") == 300.0
    assert retry_after("Wed, 25 Nov 2020 08:00:00 GMT") == 0.0
    assert retry_after("soon") is None
    assert retry_after(None) is None


def test_requests_cannot_be_promised_to_be_all_or_nothing() -> None:
    with pytest.raises(ValueError, match="cannot be taken back"):
        BatchParameters.model_validate({"calls": {"source": "erp"}, "items": []})


async def test_outcomes_of_items_are_json(service: Service, tmp_path: Path) -> None:
    await call(service, tmp_path, items=items(1), outcome_format="ndjson")
    (line,) = (tmp_path / "outcomes.ndjson").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["status"] == 204
