"""Rules files: what they may say, and how mistakes are named."""

from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts.alerts import AlertLevel
from lineshaft_monitor.rules import RulesError, load, parse

RULE: dict[str, Any] = {
    "name": "queue-backlog",
    "metric": "lineshaft_queue_messages",
    "levels": {"warning": 10},
    "summary": "{value} messages wait in {queue} ({level})",
}


def rule(**changes: Any) -> dict[str, Any]:
    return {"rules": [{**RULE, **changes}]}


def test_the_packaged_rules_cover_the_platform() -> None:
    names = {r.name for r in load(None)}
    assert names >= {
        "service-down",
        "service-not-ready",
        "edge-down",
        "edge-origin-down",
        "equipment-down",
        "queue-backlog",
        "dead-letters-present",
        "unrouted-present",
        "machine-memory",
        "machine-disk",
        "machine-cpu",
        "postgres-connections",
        "event-loop-lag",
        "job-failures",
        "jobs-unserved",
        "monitor-blind",
    }


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (rule(levels={"warning": "many"}), "rule 'queue-backlog': levels.warning"),
        (rule(metric="no spaces"), "rule 'queue-backlog': metric: "),
        (rule(foo=1), "rule 'queue-backlog': foo: "),
        (rule(levels={"fatal": 1}), "rule 'queue-backlog': levels.fatal"),
        (rule(for_seconds=-1), "rule 'queue-backlog': for_seconds: "),
        (rule(levels={"warning": 10, "error": 5}), "level error begins before warning"),
        (rule(levels={"warning": {"raise_at": 10, "clear_at": 12}}), "clear_at is worse"),
        ({"rules": [RULE, RULE]}, "rule 'queue-backlog': name: is there twice"),
        ({"rules": [{"metric": "m"}]}, "rule 1: name: "),
        ({"rulez": []}, "expected `rules:`"),
        ([], "expected `rules:`"),
    ],
)
def test_a_mistake_is_named_with_rule_and_field(document: Any, said: str) -> None:
    with pytest.raises(RulesError) as raised:
        parse(document, source="rules.yaml")
    assert said in str(raised.value)
    assert str(raised.value).startswith("rules.yaml:")


def test_all_mistakes_are_named_at_once() -> None:
    document = {"rules": [{**RULE, "name": "a", "foo": 1}, {**RULE, "name": "b", "metric": ""}]}
    with pytest.raises(RulesError) as raised:
        parse(document, source="f")
    assert "rule 'a': foo" in str(raised.value)
    assert "rule 'b': metric" in str(raised.value)


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [")
    with pytest.raises(RulesError, match=r"rules\.yaml"):
        load(path)


def test_a_rule_selects_series_by_labels() -> None:
    (found,) = parse(rule(labels={"queue": "a"}, without={"kept": "yes"}), source="")
    assert found.applies_to({"queue": "a", "more": "x"})
    assert not found.applies_to({"queue": "b"})
    assert not found.applies_to({"queue": "a", "kept": "yes"})


def test_a_summary_fills_in_labels_and_evaluates_nothing() -> None:
    (found,) = parse(rule(summary="{queue} {value} {level} {missing} {a.b}"), source="")
    written = found.write_summary({"queue": "{level}"}, 12.0, AlertLevel.WARNING)
    assert written == "{level} 12 warning ? {a.b}"


@pytest.mark.parametrize(
    ("unit", "value", "written"),
    [("ratio", 0.912, "91.2 %"), ("bytes", 2**31, "2,048 MiB"), ("seconds", 1.5, "1.5 s")],
)
def test_a_summary_writes_the_value_in_its_unit(unit: str, value: float, written: str) -> None:
    (found,) = parse(rule(unit=unit, summary="{value}"), source="")
    assert found.write_summary({}, value, AlertLevel.ERROR) == written


def test_staleness_is_a_rule_of_its_own() -> None:
    (found,) = parse(rule(stale={"after_seconds": 90, "level": "error"}), source="")
    assert found.stale_rule is not None
    assert found.stale_rule.name == "queue-backlog-stale"
    assert found.stale_rule.condition.thresholds[0].raise_at == 90
