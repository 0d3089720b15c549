"""The AsyncAPI document, by the official parser where it is installed (npm: @asyncapi/parser)."""

import json
import shutil
import subprocess
from typing import Any, cast

import pytest
from lineshaft_contracts.__main__ import ROOT
from lineshaft_contracts.registry import Kind, contracts

DOCUMENT: dict[str, Any] = json.loads((ROOT / "asyncapi.json").read_text())
PARSE = """
const { Parser } = require("@asyncapi/parser");
const text = require("fs").readFileSync(0, "utf8");
new Parser().parse(text).then(({ document, diagnostics }) => {
  const errors = diagnostics.filter(({ severity }) => severity === 0);
  process.stdout.write(JSON.stringify({ parsed: document !== undefined, errors }));
});
"""


def test_every_message_is_in_the_document_and_every_question_names_its_answer() -> None:
    named = {message["name"] for message in DOCUMENT["components"]["messages"].values()}
    assert named == set(contracts())
    for type_, contract in contracts().items():
        operation = DOCUMENT["operations"].get(type_.replace(".", "-"), {})
        asked = contract.kind in {Kind.COMMAND, Kind.QUERY}
        assert ("reply" in operation) == asked or contract.kind is Kind.COMMAND


def test_every_reference_leads_somewhere() -> None:
    def references(part: Any) -> list[str]:
        found = cast("dict[str, Any]", part)
        if isinstance(part, dict):
            own = [found["$ref"]] if isinstance(found.get("$ref"), str) else []
            return own + [one for value in found.values() for one in references(value)]
        items = cast("list[Any]", part) if isinstance(part, list) else []
        return [one for item in items for one in references(item)]

    for reference in set(references(DOCUMENT)):
        place: Any = DOCUMENT
        for word in reference.removeprefix("#/").split("/"):
            place = place[word]


def test_the_official_parser_finds_no_error() -> None:
    node = shutil.which("node")
    found = node and subprocess.run(
        [node, "-e", 'require.resolve("@asyncapi/parser")'],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    if not node or not found or found.returncode:
        pytest.skip("@asyncapi/parser is not installed")
    done = subprocess.run(
        [node, "-e", PARSE],
        cwd=ROOT,
        input=json.dumps(DOCUMENT),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout) == {"parsed": True, "errors": []}
