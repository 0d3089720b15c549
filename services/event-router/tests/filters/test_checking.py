"""Filters that could never match are refused when the subscription is made, with a pointer."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts import quality
from lineshaft_contracts.filters import DIALECTS, FILTERS, Filter
from lineshaft_contracts.problems import ProblemError
from lineshaft_contracts.production import UnitProduced
from lineshaft_contracts.quality import QualityAlertRaised
from lineshaft_event_router.filters.checking import check_types, read_filters

UNIT, ALERT, TEST = UnitProduced.type, QualityAlertRaised.type, quality.TestResultRecorded.type


def refused(raw: Any, *types: str) -> list[tuple[str, str]]:
    with pytest.raises(ProblemError) as error:
        read_filters(raw, types=types)
    problem = error.value.problem
    assert (problem.code, problem.status) == ("invalid_filters", 422)
    assert all(one.message for one in problem.errors)
    return [(one.pointer, one.code) for one in problem.errors]


def message_of(raw: Any, *types: str) -> str:
    with pytest.raises(ProblemError) as error:
        read_filters(raw, types=types)
    return error.value.problem.errors[0].message


@pytest.mark.parametrize(
    ("types", "raw"),
    [
        ((), []),
        ((), [{"exact": {"type": UNIT, "priority": "high"}}]),
        ((), [{"prefix": {"type": "plant.quality."}}, {"suffix": {"source": "/press-7"}}]),
        ((), [{"any": [{"not": {"all": [{"exact": {"tenant": "acme"}}]}}]}]),
        ((), [{"sql": "severity > 500 AND (EXISTS subject OR priority = 'low')"}]),
        ((UNIT,), [{"data": {"quantity": {"scrap": {"value": [{"decimal": [">", "0"]}]}}}}]),
        ((UNIT,), [{"data": {"material_actual": {"material_use": ["consumed"]}}}]),
        ((UNIT, ALERT), [{"data": {"severity": [{"numeric": [">", 500]}]}}]),
        ((ALERT,), [{"data": {"state": {"active": [True]}, "message": [{"prefix": "x"}]}}]),
        ((TEST,), [{"data": {"evaluation": ["fail", "inconclusive"], "subgroup": [1]}}]),
        ((), [{"exact": {"type": TEST}}, {"data": {"evaluation": ["fail"]}}]),
    ],
)
def test_filters_that_can_match_are_read(types: tuple[str, ...], raw: Any) -> None:
    filters = read_filters(raw, types=types)
    assert FILTERS.dump_python(filters) == FILTERS.dump_python(FILTERS.validate_python(raw))
    assert FILTERS.validate_json(FILTERS.dump_json(filters)) == filters


REFUSED: list[Any] = [
    ([{"regex": {"type": "x"}}], "/filters/0/regex", "unsupported_dialect"),
    ([{"all": [{"like": "x"}]}], "/filters/0/all/0/like", "unsupported_dialect"),
    ([{}], "/filters/0", "one_dialect"),
    ([{"exact": None}], "/filters/0", "one_dialect"),
    ([{"exact": {"id": "1"}, "prefix": {"id": "1"}}], "/filters/0", "one_dialect"),
    ({"exact": {"id": "1"}}, "/filters", "tuple_type"),
    ([{"exact": {}}], "/filters/0/exact", "too_short"),
    ([{"any": []}], "/filters/0/any", "too_short"),
    ([{"exact": {"type": ""}}], "/filters/0/exact/type", "string_too_short"),
    ([{"exact": {"Type": "x"}}], "/filters/0/exact/Type", "string_pattern_mismatch"),
    ([{"exact": {"severity": 5}}], "/filters/0/exact/severity", "string_type"),
    ([{"exact": {"subjct": "x"}}], "/filters/0/exact/subjct", "unknown_attribute"),
    ([{"exact": {"data": "x"}}], "/filters/0/exact/data", "unknown_attribute"),
    ([{"exact": {"type": f"{UNIT}0"}}], "/filters/0/exact/type", "unknown_event_type"),
    ([{"prefix": {"type": "plant.x"}}], "/filters/0/prefix/type", "unknown_event_type"),
    (
        [{"not": {"exact": {"priority": "urgent"}}}],
        "/filters/0/not/exact/priority",
        "never_matches",
    ),
    ([{"sql": "a AND b OR c"}], "/filters/0/sql", "cesql_mixed_logic"),
    ([{"sql": "subject = 'x"}], "/filters/0/sql", "cesql_syntax"),
    ([{"sql": "(" * 40 + "TRUE" + ")" * 40}], "/filters/0/sql", "cesql_too_deep"),
    ([{"sql": "subject = 'x' AND subjct = 'y'"}], "/filters/0/sql", "unknown_attribute"),
    ([{"sql": "LENGHT(subject) = 3"}], "/filters/0/sql", "unknown_function"),
    ([{"sql": "severity + 1"}], "/filters/0/sql", "cesql_not_boolean"),
    ([{"sql": "NOT subject LIKE 'a%'"}], "/filters/0/sql", "cesql_not_of_text"),
    ([{"data": {"no_such": ["x"]}}], "/filters/0/data/no_such", "unknown_field"),
    ([{"data": {"a": [{"like": 1}]}}], "/filters/0/data/a/0", "invalid_pattern"),
    ([{"data": ["x"]}], "/filters/0/data", "dict_type"),
]


@pytest.mark.parametrize(("raw", "pointer", "code"), REFUSED)
def test_what_is_not_valid_is_refused_at_its_place(raw: Any, pointer: str, code: str) -> None:
    assert refused(raw) == [(pointer, code)]


@pytest.mark.parametrize(
    ("types", "pattern", "pointer", "code"),
    [
        ((UNIT,), {"severity": [1]}, "/severity", "unknown_field"),
        ((UNIT,), {"quantity": {"god": {"value": ["1"]}}}, "/quantity/god/value", "unknown_field"),
        ((UNIT,), {"quantity": [{"exists": True}]}, "/quantity", "not_a_value"),
        (
            (UNIT,),
            {"quantity": {"good": {"value": [5]}}},
            "/quantity/good/value/0",
            "never_matches",
        ),
        ((UNIT,), {"defect_code": [{"numeric": [">", 1]}]}, "/defect_code/0", "never_matches"),
        ((ALERT,), {"severity": ["high"]}, "/severity/0", "never_matches"),
        ((ALERT,), {"severity": [700, {"prefix": "7"}]}, "/severity/1", "never_matches"),
        ((ALERT,), {"state": {"active": ["true"]}}, "/state/active/0", "never_matches"),
        ((TEST,), {"evaluation": ["pass", "failed"]}, "/evaluation/1", "never_matches"),
        (
            (TEST, UNIT),
            {"$or": [{"evaluation": ["fail"]}, {"evaluatoin": ["fail"]}]},
            "/$or/1/evaluatoin",
            "unknown_field",
        ),
    ],
)
def test_a_pattern_that_no_wanted_type_can_satisfy_is_refused(
    types: tuple[str, ...], pattern: Any, pointer: str, code: str
) -> None:
    assert refused([{"data": pattern}], *types) == [(f"/filters/0/data{pointer}", code)]


def test_the_types_that_the_filters_name_themselves_count() -> None:
    raw = [{"exact": {"type": UNIT}}, {"data": {"severity": [1]}}]
    assert refused(raw) == [("/filters/1/data/severity", "unknown_field")]


def test_a_refusal_says_what_might_be_meant() -> None:
    assert "'subject'" in message_of([{"exact": {"subjct": "x"}}])
    assert "'good'" in message_of([{"data": {"quantity": {"god": {"uom": ["x"]}}}}], UNIT)
    amount = {"quantity": {"good": {"value": [{"numeric": [">", 1]}]}}}
    assert "use decimal" in message_of([{"data": amount}], UNIT)
    assert "parentheses (at character 34)" in message_of(
        [{"sql": "subject = 'a' AND priority = 'b' OR type = 'c'"}]
    )


def test_everything_that_is_wrong_is_told_at_once() -> None:
    raw = [{"exact": {"a": "x", "b": "y"}}, {"sql": "c = 1 AND d = 2"}, {"data": {"e": ["x"]}}]
    assert len(refused(raw)) == 5


def test_a_filter_is_written_as_it_was_read() -> None:
    one = Filter.model_validate({"not": {"any": [{"exact": {"id": "1"}}, {"sql": "TRUE"}]}})
    assert one.model_dump_json() == '{"not":{"any":[{"exact":{"id":"1"}},{"sql":"TRUE"}]}}'
    assert DIALECTS == ("exact", "prefix", "suffix", "all", "any", "not", "sql", "data")


def test_types_that_no_event_has_are_told() -> None:
    problems = check_types([UNIT, "plant.production.unit-produced.v9"])
    assert [(one.pointer, one.code) for one in problems] == [("/types/1", "unknown_event_type")]
    assert UNIT in problems[0].message


def test_every_example_of_the_documents_is_accepted() -> None:
    page = (Path(__file__).parents[4] / "docs" / "filters.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(examples) >= 5
    for example in examples:
        assert read_filters(json.loads(example))
    codes = set(re.findall(r"`([a-z_]+)`", page))
    assert {str(one[2]) for one in REFUSED if one[2].startswith("cesql_")} <= codes
