"""The packaged rules for what the origin leaves open."""

from pathlib import Path
from typing import Any

import pytest
from lineshaft_cdn_edge.messages import Result
from lineshaft_cdn_edge.policy import load_policy
from pydantic import ValidationError

YEAR, MONTH, HOUR = 31_536_000, 2_592_000, 3_600


@pytest.mark.parametrize(
    ("path", "kind", "control"),
    [
        ("/app.3f9a1c2b.js", "text/javascript", f"public, max-age={YEAR}, immutable"),
        ("/app-BX9s2kQ1.css", "text/css", f"public, max-age={YEAR}, immutable"),
        ("/app.js", "application/javascript", f"public, max-age={HOUR}"),
        ("/jquery.min.js", "text/javascript", f"public, max-age={HOUR}"),
        ("/logo.svg", "image/svg+xml", f"public, max-age={MONTH}"),
        ("/inter.woff2", "font/woff2", f"public, max-age={YEAR}"),
        ("/report.pdf", "application/pdf", f"public, max-age={HOUR}"),
        ("/index.html", "text/html; charset=utf-8", "public, no-cache"),
        ("/", "text/html", "public, no-cache"),
        ("/x.css", "text/html", None),
        ("/x.js", "application/octet-stream", None),
        ("/x", "text/css", None),
    ],
)
def test_a_silent_origin_gets_the_rule_of_its_class(
    path: str, kind: str, control: str | None
) -> None:
    grant = load_policy().grant(path, kind.partition(";")[0])
    assert (grant.cache_control if grant else None) == control


async def test_clients_are_told_the_rule(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Content-Type": "image/png"}))
    for got in (await world.ask("/a.png"), await world.ask("/a.png")):
        assert got.fields["Cache-Control"] == f"public, max-age={MONTH}"
        assert got.asset_class == "image"


async def test_a_page_is_kept_and_validated_at_every_use(world: Any, answer: Any) -> None:
    world.will(
        answer(fields={"Content-Type": "text/html", "ETag": '"1"'}),
        answer(status=304, fields={"ETag": '"1"'}),
    )
    await world.ask("/")
    assert (await world.ask("/")).result is Result.REVALIDATED
    assert world.origin.count == 2


async def test_the_origins_word_counts_before_the_rule(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Content-Type": "image/png", "Cache-Control": "max-age=5"}))
    await world.ask("/a.png")
    world.clock.advance(6)
    assert (await world.ask("/a.png")).result is Result.MISS


async def test_the_rule_is_for_successes(world: Any, answer: Any) -> None:
    world.will(answer(status=404, fields={"Content-Type": "image/png"}))
    await world.ask("/a.png")
    world.clock.advance(11)
    assert (await world.ask("/a.png")).result is Result.MISS


def test_an_override_counts_before_the_class(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        "heuristic: {fraction: 0, seconds_max: 0}\n"
        "overrides: [{path: '/daily/*', types: [application/pdf], seconds: 60}]\n"
        "classes: [{name: document, suffixes: [.pdf], types: [application/pdf], seconds: 9}]\n",
        encoding="utf-8",
    )
    policy = load_policy(file)
    daily, other = (
        policy.grant("/daily/a.pdf", "application/pdf"),
        policy.grant("/a.pdf", "application/pdf"),
    )
    assert daily is not None
    assert other is not None
    assert (daily.seconds, other.seconds) == (60, 9)
    assert policy.grant("/daily/a.pdf", "text/html") is None


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/a.js", "text/javascript", "script"),
        ("/a", "text/css", "style"),
        ("/a.png", "", "image"),
        ("/a.png", "text/html", "page"),
        ("/api/jobs", "application/json", "other"),
        ("/a.json", "application/json", "document"),
        ("/a.zip", "application/zip", "other"),
        ("/a", "", "page"),
    ],
)
def test_requests_are_counted_by_class(path: str, kind: str, name: str) -> None:
    assert load_policy().class_name(path, kind) == name


@pytest.mark.parametrize("text", ["heuristic: 1", "{}", "unknown: 1", "fingerprint: '['"])
def test_a_policy_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValidationError):
        load_policy(file)


async def test_a_pure_asset_origin_is_spared_other_methods(make_world: Any, answer: Any) -> None:
    world = await make_world(policy=load_policy().model_copy(update={"methods": ("GET", "HEAD")}))
    world.will(answer())
    refused = await world.ask(method="POST")
    assert (refused.status, refused.fields["Allow"]) == (405, "GET, HEAD")
    assert world.origin.count == 0
    assert (await world.ask()).status == 200
