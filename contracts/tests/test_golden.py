"""The golden messages, judged by the schema files as a reader in another language would."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lineshaft_contracts.__main__ import ROOT
from lineshaft_contracts.registry import read
from lineshaft_contracts.schemas import ENVELOPE
from referencing import Registry

SCHEMAS = {
    path.name.removesuffix(".json"): json.loads(path.read_text())
    for path in (ROOT / "schemas").glob("*.json")
}
ENVELOPES: Any = Registry[Any]().with_contents([(ENVELOPE, SCHEMAS["envelope.v1"])])
VALID = sorted((ROOT / "examples").glob("*/*/*.json"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT / "examples"))


@pytest.mark.parametrize("path", VALID, ids=_name)
def test_a_golden_message_fits_the_schema_and_survives_reading(path: Path) -> None:
    message = json.loads(path.read_text())
    schema = SCHEMAS[message["type"]]
    Draft202012Validator(schema, registry=ENVELOPES).validate(message)
    again = json.loads(read(message["type"], path.read_bytes()).to_json())
    Draft202012Validator(schema, registry=ENVELOPES).validate(again)
    assert all(again[name] == message[name] for name in message if name != "data")


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$id"] == (ENVELOPE if name == "envelope.v1" else f"{name}.json")
