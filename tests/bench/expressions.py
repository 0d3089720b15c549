"""One expression over one event: CloudEvents SQL here, beside a Python and a Rust engine.

PyPI has no CloudEvents SQL, so the same question is put to rule-engine (pure Python) and to
common-expression-language (CEL, Rust) in their own words. None of them has an index.
"""

import json
import subprocess
import time
from collections.abc import Sequence

from lineshaft_event_router.filters.cesql_evaluation import predicate
from lineshaft_event_router.filters.cesql_grammar import parse
from lineshaft_event_router.filters.events import Event

from . import report
from .environments import python_environment, python_version
from .places import PEERS

PACKAGES = {"rule-engine": "rule-engine", "cel": "common-expression-language"}
QUESTIONS = {
    "two attributes": {
        "ours": "subject = 'order-7' AND severity > 500",
        "rule-engine": "subject == 'order-7' and severity > 500",
        "cel": "subject == 'order-7' && severity > 500",
    },
    "a prefix and a list": {
        "ours": "source LIKE '/acme/north/%' AND priority IN ('high', 'critical')",
        "rule-engine": "source.starts_with('/acme/north/') and priority in ['high', 'critical']",
        "cel": "source.startsWith('/acme/north/') && priority in ['high', 'critical']",
    },
}
PEER_SECONDS = 600.0


def compare(events: Sequence[Event], rounds: int) -> None:
    """Measure each question with each engine, over the same events, and print a table."""
    programs = python_environment("expressions", tuple(PACKAGES.values()))
    attributes = [{name: value for name, value in one.items() if name != "data"} for one in events]
    rows = [["expression", "engine", "µs/event", "beside ours"]]
    for question, words in QUESTIONS.items():
        ours, matched = _ours(words["ours"], attributes, rounds)
        rows.append([question, "CloudEvents SQL", report.number(ours * 1e6), "1"])
        for peer, package in PACKAGES.items():
            done = subprocess.run(
                [
                    *(programs / "python", PEERS / "expressions_peer.py"),
                    *(peer, words[peer], str(rounds)),
                ],
                input=json.dumps(attributes),
                capture_output=True,
                text=True,
                check=True,
                timeout=PEER_SECONDS,
            )
            found = json.loads(done.stdout)
            assert found["matched"] == matched, f"{package} finds {found['matched']}"
            name = f"{package} {python_version(programs, package)}"
            times = report.number(found["seconds"] / ours)
            rows.append([question, name, report.number(found["seconds"] * 1e6), times])
    report.show(rows)


def _ours(expression: str, events: Sequence[Event], rounds: int) -> tuple[float, int]:
    evaluate = predicate(parse(expression))
    best, matched = float("inf"), 0
    for _ in range(rounds):
        started = time.process_time()
        matched = sum(1 for event in events if evaluate(event))
        best = min(best, (time.process_time() - started) / len(events))
    return best, matched
