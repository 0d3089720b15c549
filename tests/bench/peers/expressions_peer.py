"""Evaluates one expression over events with rule-engine or with CEL; one JSON line of seconds.

    expressions_peer.py rule-engine|cel EXPRESSION EVENTS ROUNDS    events as JSON on stdin

Runs in the environment of the peers, without anything of ours.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any


def compiled(peer: str, expression: str) -> Callable[[dict[str, Any]], bool]:
    """Compile an expression once, as one does for a subscription."""
    if peer == "cel":
        cel: Any = import_module("cel")
        return cel.compile(expression).execute
    rule_engine: Any = import_module("rule_engine")
    return rule_engine.Rule(expression).matches


def main() -> None:
    """Print the seconds for one event, the best of the rounds, and how many matched."""
    peer, expression, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    events = json.load(sys.stdin)
    evaluate = compiled(peer, expression)
    best, matched = float("inf"), 0
    for _ in range(rounds):
        started = time.process_time()
        matched = sum(1 for event in events if evaluate(event))
        best = min(best, (time.process_time() - started) / len(events))
    print(json.dumps({"seconds": best, "matched": matched}))


if __name__ == "__main__":
    main()
