"""The AsyncAPI document, by itself and by the official parser (npm: @asyncapi/parser)."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from lineshaft_contracts.__main__ import ROOT
from lineshaft_contracts.registry import Kind, contracts

DOCUMENT: dict[str, Any] = json.loads((ROOT / "asyncapi.json").read_text())
PARSER_VERSION = "3.6.6"
PARSER = ROOT.parent / ".lineshaft" / f"asyncapi-parser-{PARSER_VERSION}"
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


@pytest.fixture
def parser() -> list[str]:
    """The command of the official parser, installed the first time; skips where that fails."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        pytest.skip("node and npm are needed for the official parser")
    if not PARSER.exists():
        PARSER.parent.mkdir(parents=True, exist_ok=True)
        # Moved into its place when it is whole: an installation that was killed leaves none.
        with tempfile.TemporaryDirectory(dir=PARSER.parent, prefix="npm-") as made:
            Path(made, "package.json").write_text('{"private": true}', encoding="utf-8")
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            done = subprocess.run(
                [npm, "install", *options, f"@asyncapi/parser@{PARSER_VERSION}"],
                cwd=made,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            if done.returncode:
                pytest.skip(f"@asyncapi/parser cannot be installed: {done.stderr[:300]}")
            Path(made, "node_modules").rename(PARSER)
    return [node, "-e", PARSE]


def test_the_official_parser_finds_no_error(parser: list[str]) -> None:
    done = subprocess.run(
        parser,
        env={**os.environ, "NODE_PATH": str(PARSER)},
        input=json.dumps(DOCUMENT),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert json.loads(done.stdout) == {"parsed": True, "errors": []}
