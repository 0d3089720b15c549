"""The sources file: what it may say, and how a request names its data."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lineshaft_job_runner.sources import SourceError, SourcesFile, SourcesFileError

FILE = """
sources:
  mes:
    kind: postgresql
    url_env: PLANT_POSTGRES_URL
    queries:
      orders:
        sql: SELECT order_id FROM orders WHERE due_at < $1 AND quantity > $2 AND price > $3
             AND open = $4 AND day = $5 AND name = $6 AND ratio > $7
        parameters: {due: timestamp, least: integer, price: decimal, open: boolean, day: date,
                     name: text, ratio: double}
        columns: {order_id: text}
  erp:
    kind: postgresql
    url_env: ERP_URL
    tenants: {acme: {url_env: ACME_ERP_URL}, demo: {}}
    queries: {all: {sql: SELECT 1 AS one, columns: {one: integer}}}
"""
VALUES: dict[str, Any] = {
    "due": "2026-11-24T06:00:00+01:00",
    "least": 3,
    "price": "1.10",
    "open": True,
    "day": "2026-11-24",
    "name": "x",
    "ratio": 2,
}


@pytest.fixture
def sources(tmp_path: Path) -> SourcesFile:
    return load(tmp_path, FILE)


def load(folder: Path, text: str) -> SourcesFile:
    path = folder / "sources.yaml"
    path.write_text(text, encoding="utf-8")
    return SourcesFile.load(path)


def test_parameters_are_bound_in_order_with_their_types(sources: SourcesFile) -> None:
    query = sources.entry("mes", tenant="acme").query("orders")
    bound = query.bind(dict(reversed(VALUES.items())))
    assert bound == (
        datetime(2026, 11, 24, 5, tzinfo=UTC),
        3,
        Decimal("1.10"),
        True,
        date(2026, 11, 24),
        "x",
        2.0,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("due", "2026-11-24T06:00:00"),
        ("due", "soon"),
        ("due", 5),
        ("least", "3"),
        ("least", 3.5),
        ("least", True),
        ("least", 2**63),
        ("price", "NaN"),
        ("price", "1,10"),
        ("price", True),
        ("open", "yes"),
        ("day", "2026-11-31"),
        ("name", 5),
        ("name", "a\0b"),
        ("ratio", "x"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(
    sources: SourcesFile, name: str, value: Any
) -> None:
    query = sources.entry("mes", tenant="acme").query("orders")
    with pytest.raises(SourceError, match=f"{name!r} must be") as raised:
        query.bind({**VALUES, name: value})
    assert raised.value.code == "source_parameter_invalid"


def test_a_missing_and_an_unknown_parameter_are_named(sources: SourcesFile) -> None:
    query = sources.entry("mes", tenant="acme").query("orders")
    with pytest.raises(SourceError, match="'due'") as raised:
        query.bind({})
    assert raised.value.code == "source_parameter_missing"
    with pytest.raises(SourceError, match="it takes: due, least") as raised:
        query.bind({**VALUES, "colour": 1})
    assert raised.value.code == "source_parameter_unknown"


def test_unknown_names_are_answered_with_the_known_ones(sources: SourcesFile) -> None:
    with pytest.raises(SourceError, match="there are: erp, mes") as raised:
        sources.entry("wms", tenant="acme")
    assert raised.value.code == "source_unknown"
    with pytest.raises(SourceError, match="there are: orders") as raised:
        sources.entry("mes", tenant="acme").query("lots")
    assert raised.value.code == "source_query_unknown"


def test_each_tenant_has_its_own_database(sources: SourcesFile) -> None:
    environment = {"ERP_URL": "shared", "ACME_ERP_URL": "private", "PLANT_POSTGRES_URL": "plant"}
    assert sources.url("erp", tenant="acme", environment=environment) == "private"
    assert sources.url("erp", tenant="demo", environment=environment) == "shared"
    assert sources.url("mes", tenant="anybody", environment=environment) == "plant"
    with pytest.raises(SourceError) as raised:
        sources.url("erp", tenant="other", environment=environment)
    assert raised.value.code == "source_tenant_unknown"


def test_an_address_that_is_not_set_names_its_variable(sources: SourcesFile) -> None:
    with pytest.raises(SourceError, match="ACME_ERP_URL") as raised:
        sources.url("erp", tenant="acme", environment={"ERP_URL": "shared"})
    assert raised.value.code == "source_not_configured"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("sources: [", "expected"),
        ("sources: {mes: {kind: oracle}}", "sources.mes.kind"),
        ("sources: {mes: {kind: postgresql, url: 'postgresql://u:p@h'}}", "sources.mes.url"),
        (FILE.replace("due: timestamp", "due: moment"), "parameters.due"),
        (FILE.replace("    url_env: PLANT_POSTGRES_URL\n", ""), "url_env is needed"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, finding: str) -> None:
    with pytest.raises(SourcesFileError, match=finding) as raised:
        load(tmp_path, text)
    assert "u:p@h" not in str(raised.value)


def test_an_empty_file_has_no_sources(tmp_path: Path) -> None:
    assert load(tmp_path, "").sources == {}
