"""CloudEvents SQL by its specification, and by the conformance suite where that is at hand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lineshaft_event_router.filters.cesql_evaluation import evaluate
from lineshaft_event_router.filters.cesql_grammar import parse
from lineshaft_event_router.filters.cesql_tokens import CesqlSyntaxError

SUITE = Path(__file__).resolve().parents[5] / "shared" / "references" / "cesql-tck"
CASES_OF_THE_SUITE = 275
WAIVED = {
    "NOT 10": "the suite wants a cast error; by section 3.7 every Integer is cast to Boolean, and "
    "the suite itself wants BOOL(100) to be true",
}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/acme/north",
    "type": "t",
    "subject": "order-7",
    "hop": "5",
    "severity": 700,
    "flag": True,
    "data": {"x": 1},
}


class Loader(yaml.SafeLoader):
    """Leaves times as the texts that attributes are."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def outcome(expression: str, event: dict[str, Any]) -> tuple[Any, set[str]]:
    """Return the value and the kinds of errors; of what cannot be parsed, False and `parse`."""
    try:
        value, errors = evaluate(parse(expression), event)
    except CesqlSyntaxError:
        return False, {"parse"}
    return value, {str(error.kind) for error in errors}


def cases_of_the_suite() -> Iterator[dict[str, Any]]:
    for file in sorted(SUITE.glob("*.yaml")):
        yield from yaml.load(file.read_text(encoding="utf-8"), Loader)["tests"]  # noqa: S506


@pytest.mark.skipif(not SUITE.exists(), reason="the conformance suite is not at hand")
def test_the_conformance_suite_passes_but_for_what_is_waived_by_name() -> None:
    wrong = dict[str, str]()
    cases = list(cases_of_the_suite())
    required = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"}
    for case in cases:
        # YAML reads an expression such as TRUE or 10 as what it stands for.
        expression = str(case["expression"])
        event = case.get("event") or {**required, **case.get("eventOverrides", {})}
        value, errors = outcome(expression, event)
        kinds = {case["error"]} if "error" in case else set[str]()
        expected = (case.get("result", value), kinds)
        if (value, errors) != expected or type(value) is not type(expected[0]):
            wrong[expression] = f"{(value, errors)} instead of {expected}"
    assert len(cases) == CASES_OF_THE_SUITE
    assert wrong.keys() == WAIVED.keys(), wrong


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("subject = 'order-7'", True),
        ("SUBJECT = 'order-7'", True),
        ("subject = 'ORDER-7'", False),
        ("hop = 5", True),
        ("hop + 1", 6),
        ("hop < 10 AND severity >= 700", True),
        ("'5' = hop", True),
        ("severity = '700'", True),
        ("flag", True),
        ("flag = 'true'", True),
        ("flag = 'TRUE'", False),
        ("'TRUE' = flag", True),
        ("NOT flag", False),
        ("TRUE XOR FALSE XOR TRUE", False),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("10 - 4 - 3", 3),
        ("5-3", 2),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("- -5", 5),
        ("+5", 5),
        ("-2147483648", -2147483648),
        ("2147483647", 2147483647),
        ("1 < 2 = TRUE", True),
        ("'it\\'s' LIKE 'it_s'", True),
        ("'a\\b' = 'a\\b'", True),
        ("'100%' LIKE '100\\%'", True),
        ("'100x' LIKE '100\\%'", False),
        ("'a\nb' LIKE 'a%b'", True),
        ("subject NOT LIKE 'lot-%'", True),
        ("subject LIKE 'order-_'", True),
        ("subject LIKE 'order-__'", False),
        ("severity LIKE '7%'", True),
        ("subject IN ('a', 'order-7')", True),
        ("severity IN (1, 700)", True),
        ("severity IN ('0700')", True),
        ("hop NOT IN (1, 2)", True),
        ("EXISTS subject AND NOT EXISTS correlationid", True),
        ("EXISTS data", False),
        ("NOT (subject = 'x')", True),
        ("LENGTH('Stück')", 5),
        ("UPPER(LEFT(subject, 5))", "ORDER"),
        ("SUBSTRING(subject, -1)", "7"),
        ("TRIM(' \u3000a\x1f ')", "a\x1f"),
        ("CONCAT_WS('-', 'a', 1, TRUE)", "a-1-true"),
        ("concat(subject, hop)", "order-75"),
        ("INT('+05') = 5", True),
        ("\"it's\" = 'it\\'s'", True),
    ],
)
def test_an_expression_has_a_value(expression: str, value: Any) -> None:
    found, errors = outcome(expression, EVENT)
    assert (found, errors, type(found)) == (value, set(), type(value))


@pytest.mark.parametrize(
    ("expression", "value", "errors"),
    [
        ("missing", False, {"missingAttribute"}),
        ("missing = 'x' OR TRUE", False, {"missingAttribute"}),
        ("TRUE OR missing = 'x'", True, set[str]()),
        ("FALSE AND missing = 'x'", False, set[str]()),
        ("missing != 'x'", False, {"missingAttribute"}),
        ("missing NOT LIKE 'x'", False, {"missingAttribute"}),
        ("missing NOT IN ('x')", False, {"missingAttribute"}),
        ("LENGTH(missing)", 0, {"missingAttribute"}),
        ("CONCAT(missing, 'a')", "", {"missingAttribute"}),
        ("data = 'x'", False, {"missingAttribute"}),
        ("2147483647 + 1", 0, {"math"}),
        ("-2147483648 - 1", 0, {"math"}),
        ("65536 * 65536", 0, {"math"}),
        ("-(-2147483648)", 0, {"math"}),
        ("-2147483648 / -1", 0, {"math"}),
        ("1 / 0 + 1", 0, {"math"}),
        ("subject + 1", 0, {"cast"}),
        ("subject = 7", False, {"cast"}),
        ("subject AND TRUE", False, {"cast"}),
        ("NOT subject LIKE 'a%'", False, {"cast"}),
        ("INT('2147483648')", 0, {"cast"}),
        ("INT('\u0661')", 0, {"cast"}),
        ("LEFT(subject, -1)", "order-7", {"functionEvaluation"}),
        ("SUBSTRING(subject, 99)", "", {"functionEvaluation"}),
        ("SUBSTRING(subject, 1, -1)", "", {"functionEvaluation"}),
        ("NOSUCH(1)", False, {"missingFunction"}),
        ("LENGTH('a', 'b')", False, {"missingFunction"}),
    ],
)
def test_an_error_comes_with_the_zero_of_the_type(
    expression: str, value: Any, errors: set[str]
) -> None:
    assert outcome(expression, EVENT) == (value, errors)


@pytest.mark.parametrize(
    ("expression", "code", "position"),
    [
        ("a = 'x' AND b = 'y' OR c = 'z'", "cesql_mixed_logic", 20),
        ("a = 'x' OR b = 'y' XOR c = 'z'", "cesql_mixed_logic", 19),
        ("(a AND b) OR (c AND d) AND e", "cesql_mixed_logic", 23),
        ("", "cesql_syntax", 0),
        ("subject =", "cesql_syntax", 9),
        ("subject = 'x", "cesql_syntax", 10),
        ("subject == 'x'", "cesql_syntax", 9),
        ("subject LIKE source", "cesql_syntax", 13),
        ("subject IN ()", "cesql_syntax", 12),
        ("EXISTS 'x'", "cesql_syntax", 7),
        ("my_attribute = 1", "cesql_syntax", 0),
        ("2147483648 = 1", "cesql_syntax", 0),
        ("99999999999999999999", "cesql_syntax", 0),
        ("a b", "cesql_syntax", 2),
        ("f(1,)", "cesql_syntax", 4),
        ("a; DROP TABLE jobs", "cesql_syntax", 1),
        ("(" * 30 + "a" + ")" * 30, "cesql_too_deep", 25),
        ("NOT " * 30 + "a", "cesql_too_deep", 100),
        ("1" + " + 1" * 300, "cesql_too_large", 1024),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    expression: str, code: str, position: int
) -> None:
    with pytest.raises(CesqlSyntaxError) as refused:
        parse(expression)
    assert (refused.value.code, refused.value.position) == (code, position)


def test_a_chain_of_one_operator_needs_no_parentheses() -> None:
    assert outcome("TRUE AND TRUE AND FALSE", EVENT) == (False, set())
    assert outcome("FALSE OR FALSE OR TRUE", EVENT) == (True, set())
