"""The generated files of the contracts, and the check that they are what the models say."""

import json
from collections.abc import Iterator
from difflib import unified_diff
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from lineshaft_contracts import asyncapi, definitions, golden
from lineshaft_contracts.compatibility import breaking_changes
from lineshaft_contracts.registry import Contract, contracts
from lineshaft_contracts.schemas import all_schemas

LOCK = "compat.lock"
DIFF_LINES_MAX = 40


def write(root: Path, *, unreleased: frozenset[str] = frozenset()) -> list[str]:
    """Write all files below `root`; returns why not, when a released message would break.

    `unreleased` names types that nobody uses yet, so that any change of theirs is welcome.
    Golden messages are only added, never written again.
    """
    problems = list(_incompatible(root, unreleased))
    if problems:
        return problems
    files = generated()
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for path in _left_over(root, files):
        path.unlink()
    for contract in contracts().values():
        _add_golden(root, contract)
    return []


def verify(root: Path) -> list[str]:
    """Return what is stale, missing, wrong or incompatible below `root`."""
    files = generated()
    stale = (_difference(root / path, path, text) for path, text in files.items())
    return [
        *_incompatible(root, frozenset()),
        *filter(None, stale),
        *(f"schemas/{path.name}: no message has this type" for path in _left_over(root, files)),
        *(problem for contract in contracts().values() for problem in _golden(root, contract)),
    ]


def generated() -> dict[str, str]:
    """Return the text of each generated file by its path."""
    schemas = {f"schemas/{name}": _text(schema) for name, schema in all_schemas().items()}
    lock = "".join(f"{_digest(text)}  {path}\n" for path, text in sorted(schemas.items()))
    return {
        **schemas,
        "asyncapi.json": _text(asyncapi.document()),
        "topology.json": _text(definitions.document()),
        LOCK: lock,
    }


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _incompatible(root: Path, unreleased: frozenset[str]) -> Iterator[str]:
    """Compare the models with the schemas that the lock says were released."""
    lock = root / LOCK
    current = {f"schemas/{name}": schema for name, schema in all_schemas().items()}
    for line in lock.read_text().splitlines() if lock.exists() else ():
        digest, path = line.split()
        type_ = path.removeprefix("schemas/").removesuffix(".json")
        if type_ in unreleased:
            continue
        released = (root / path).read_text() if (root / path).exists() else ""
        if _digest(released) != digest:
            yield f"{path}: is not the released one; take it from version control"
        elif path not in current:
            yield f"{path}: {type_} was released and is gone"
        else:
            changes = breaking_changes(json.loads(released), current[path])
            yield from (f"{path}#{change}: needs a new version of {type_}" for change in changes)


def _difference(path: Path, name: str, text: str) -> str | None:
    found = path.read_text() if path.exists() else ""
    if found == text:
        return None
    lines = unified_diff(
        found.splitlines(), text.splitlines(), f"{name} (committed)", f"{name} (models)", "", "", 1
    )
    return f"{name}: stale\n" + "\n".join(islice(lines, DIFF_LINES_MAX))


def _left_over(root: Path, files: dict[str, str]) -> list[Path]:
    found = sorted((root / "schemas").glob("*.json"))
    return [path for path in found if f"schemas/{path.name}" not in files]


def _folder(root: Path, contract: Contract) -> Path:
    name, _, version = contract.type.rpartition(".")
    return root / "examples" / name / version


def _add_golden(root: Path, contract: Contract) -> None:
    folder = _folder(root, contract)
    for name in ("minimal", "full"):
        if not (folder / f"{name}.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            message = golden.valid(contract, full=name == "full")
            (folder / f"{name}.json").write_text(_text(message))
    if not (folder / "invalid").exists():
        (folder / "invalid").mkdir()
        for name, message in golden.invalid(contract).items():
            (folder / "invalid" / f"{name}.json").write_text(_text(message))


def _golden(root: Path, contract: Contract) -> Iterator[str]:
    folder = _folder(root, contract)
    for path in (folder / "minimal.json", folder / "full.json"):
        if not path.exists():
            yield f"{path.relative_to(root)}: is missing"
        elif not golden.accepted(contract, json.loads(path.read_text())):
            yield f"{path.relative_to(root)}: is refused"
    invalid = sorted(folder.glob("invalid/*.json"))
    if not invalid:
        yield f"{folder.relative_to(root)}/invalid: has no message"
    for path in invalid:
        if golden.accepted(contract, json.loads(path.read_text())):
            yield f"{path.relative_to(root)}: is accepted"
