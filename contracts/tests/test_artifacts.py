"""The generated files: they are what the models say, and a break of a message is noticed."""

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts import artifacts
from lineshaft_contracts.__main__ import ROOT, main
from lineshaft_contracts.compatibility import breaking_changes

TYPE = "plant.production.order-progressed.v1"
SCHEMA = json.loads((ROOT / "schemas" / f"{TYPE}.json").read_text())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("schemas", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("asyncapi.json", "topology.json", "compat.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_committed_files_are_what_the_models_say() -> None:
    assert artifacts.verify(ROOT) == []


def test_writing_again_changes_nothing(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*.*") if path.is_file()}
    assert main(["write", "--root", str(copy)]) == 0
    assert {path: path.read_bytes() for path in copy.rglob("*.*") if path.is_file()} == before


def test_everything_can_be_written_from_nothing(tmp_path: Path) -> None:
    assert artifacts.write(tmp_path) == []
    assert artifacts.verify(tmp_path) == []


def test_a_stale_file_is_shown_as_a_difference(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topology = copy / "topology.json"
    topology.write_text(topology.read_text().replace("plant.production", "plant.produktion"))
    assert main(["verify", "--root", str(copy)]) == 1
    shown = capsys.readouterr().err
    assert "topology.json: stale" in shown
    assert "plant.produktion" in shown


def test_a_schema_that_was_edited_by_hand_is_noticed(copy: Path) -> None:
    path = copy / "schemas" / f"{TYPE}.json"
    path.write_text(path.read_text().replace("job_order_id", "order"))
    assert any("is not the released one" in problem for problem in artifacts.verify(copy))


def test_missing_and_wrong_examples_are_noticed(copy: Path) -> None:
    folder = copy / "examples" / "plant.production.order-progressed" / "v1"
    (folder / "full.json").unlink()
    shutil.copy(folder / "minimal.json", folder / "invalid" / "good.json")
    found = artifacts.verify(copy)
    assert any(problem.endswith("full.json: is missing") for problem in found)
    assert any(problem.endswith("good.json: is accepted") for problem in found)


def test_a_released_message_that_would_break_is_not_overwritten(copy: Path) -> None:
    path = copy / "schemas" / f"{TYPE}.json"
    released = deepcopy(SCHEMA)
    released["$defs"]["OrderProgressed"]["properties"]["shift"] = {"type": "string"}
    _release(copy, path, released)
    problems = artifacts.write(copy)
    assert len(problems) == 1
    assert "/data/shift: was removed: needs a new version" in problems[0]
    assert artifacts.write(copy, unreleased=frozenset({TYPE})) == []
    assert artifacts.verify(copy) == []


def test_an_optional_field_may_be_added(copy: Path) -> None:
    path = copy / "schemas" / f"{TYPE}.json"
    released = deepcopy(SCHEMA)
    del released["$defs"]["OrderProgressed"]["properties"]["percent_complete"]
    _release(copy, path, released)
    assert artifacts.write(copy) == []


def _release(root: Path, path: Path, schema: dict[str, Any]) -> None:
    path.write_text(json.dumps(schema))
    lock = root / artifacts.LOCK
    digest = artifacts._digest(path.read_text())
    lines = lock.read_text().splitlines()
    name = f"schemas/{path.name}"
    lock.write_text(
        "".join(f"{digest}  {name}\n" if name in line else f"{line}\n" for line in lines)
    )


def _data(schema: dict[str, Any]) -> dict[str, Any]:
    return schema["$defs"]["OrderProgressed"]


def _drop_required(schema: dict[str, Any]) -> None:
    _data(schema)["required"].remove("quantity")


def _require(schema: dict[str, Any]) -> None:
    _data(schema)["required"].append("percent_complete")


def _rename(schema: dict[str, Any]) -> None:
    _data(schema)["properties"]["order"] = _data(schema)["properties"].pop("job_order_id")


def _narrow(schema: dict[str, Any]) -> None:
    _data(schema)["properties"]["job_order_id"]["maxLength"] = 8


def _retype(schema: dict[str, Any]) -> None:
    schema["$defs"]["Quantity"]["properties"]["value"]["type"] = "number"


def _move(schema: dict[str, Any]) -> None:
    schema["x-lineshaft"]["exchange"] = "plant.inventory"


@pytest.mark.parametrize("change", [_drop_required, _require, _rename, _narrow, _retype, _move])
def test_a_breaking_change_is_named(change: Callable[[dict[str, Any]], None]) -> None:
    changed = deepcopy(SCHEMA)
    change(changed)
    assert breaking_changes(SCHEMA, changed) != []


def _widen(schema: dict[str, Any]) -> None:
    _data(schema)["properties"]["job_order_id"]["maxLength"] = 128


def _describe(schema: dict[str, Any]) -> None:
    _data(schema)["description"] = "Other words."


@pytest.mark.parametrize("change", [_widen, _describe])
def test_a_harmless_change_is_not(change: Callable[[dict[str, Any]], None]) -> None:
    changed = deepcopy(SCHEMA)
    change(changed)
    assert breaking_changes(SCHEMA, changed) == []


def test_the_envelope_is_held_to_the_same_rules(copy: Path) -> None:
    path = copy / "schemas" / "envelope.v1.json"
    released = json.loads(path.read_text())
    released["properties"]["shift"] = {"type": "string"}
    _release(copy, path, released)
    assert ["/shift: was removed" in problem for problem in artifacts.write(copy)] == [True]


def test_an_enumeration_may_grow_but_not_shrink() -> None:
    type_ = "plant.resource.state-changed.v1"
    old = json.loads((ROOT / "schemas" / f"{type_}.json").read_text())
    grown = deepcopy(old)
    grown["$defs"]["EquipmentState"]["enum"].append("levitating")
    assert breaking_changes(old, grown) == []
    assert breaking_changes(grown, old) != []
