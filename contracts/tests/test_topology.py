"""The topology: nothing can get lost in it, and each queue has at most one policy."""

import json
import re

from lineshaft_contracts import definitions
from lineshaft_contracts.registry import Kind, contracts
from lineshaft_contracts.topology import DEAD_LETTER, TOPOLOGY

DOCUMENT = definitions.document()


def test_every_binding_is_of_a_declared_exchange() -> None:
    declared = {exchange.name for exchange in TOPOLOGY.exchanges}
    assert {one["source"] for one in DOCUMENT["bindings"]} <= declared
    assert {exchange.alternate for exchange in TOPOLOGY.exchanges} - {None} <= declared


def test_what_is_dead_lettered_has_a_queue_to_go_to() -> None:
    reachable = {
        binding.pattern
        for queue in TOPOLOGY.queues
        for binding in queue.bindings
        if binding.exchange is DEAD_LETTER
    }
    assert {queue.dead_letter for queue in TOPOLOGY.queues} - {None} == reachable


def test_each_queue_has_at_most_one_policy_and_it_carries_its_limits() -> None:
    for queue in TOPOLOGY.queues:
        policies = [
            policy["definition"]
            for policy in DOCUMENT["policies"]
            if re.search(policy["pattern"], queue.name)
        ]
        assert policies == ([queue.limits()] if queue.limits() else [])


def test_declarations_hold_only_what_never_changes() -> None:
    allowed = {"x-queue-type", "x-dead-letter-exchange", "x-dead-letter-routing-key"}
    for queue in DOCUMENT["queues"]:
        assert set(queue["arguments"]) <= allowed


def test_every_published_message_has_a_declared_exchange() -> None:
    for contract in contracts().values():
        if contract.kind is Kind.REPLY:
            assert contract.exchange is None
        else:
            assert contract.exchange in TOPOLOGY.exchanges


def test_the_document_names_no_user_and_no_password() -> None:
    assert set(DOCUMENT) == {"vhosts", "exchanges", "queues", "bindings", "policies"}
    assert "password" not in json.dumps(DOCUMENT)
