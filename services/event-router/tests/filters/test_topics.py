"""Wildcards over routing keys decide as the real broker does."""

import asyncio
import random
from collections import defaultdict

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from lineshaft_event_router.filters.checking import check_topics
from lineshaft_event_router.filters.topics import TopicTrie, topic_matches, words_of

DEADLINE_SECONDS = 60.0
LAST = "the.last.of.all.keys"
"""Longer words than any of the random ones; sent last, and received by every queue."""


def random_words(source: random.Random, letters: list[str]) -> str:
    return ".".join(source.choices(letters, k=source.randrange(6)))


@pytest.mark.integration
async def test_patterns_match_what_the_broker_routes(fresh_amqp_url: str) -> None:
    source = random.Random(20261125)
    patterns = sorted({random_words(source, ["a", "b", "*", "#", "#", ""]) for _ in range(250)})
    keys = [random_words(source, ["a", "b", "c", "*", "#", ""]) for _ in range(400)]
    routed = await route(fresh_amqp_url, patterns, keys)
    trie = TopicTrie[str]()
    for pattern in patterns:
        trie.add(pattern, pattern)
    found = {key: set(trie.find(words_of(key))) for key in keys}
    wrong = [
        (pattern, key)
        for pattern in patterns
        for key in keys
        if not (key in routed[pattern]) is (pattern in found[key]) is topic_matches(pattern, key)
    ]
    assert wrong == []
    assert sum(map(len, routed.values())) > 1000


async def route(url: str, patterns: list[str], keys: list[str]) -> dict[str, set[str]]:
    """Publish the keys to a topic exchange with a queue for each pattern; what came to which."""
    routed = defaultdict[str, set[str]](set)
    finished = set[str]()
    done = asyncio.Event()
    async with asyncio.timeout(DEADLINE_SECONDS), await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("trial", aio_pika.ExchangeType.TOPIC)

        async def listen(pattern: str) -> None:
            async def on_message(message: AbstractIncomingMessage) -> None:
                key = str(message.routing_key)
                if key != LAST:
                    routed[pattern].add(key)
                    return
                finished.add(pattern)
                if len(finished) == len(patterns):
                    done.set()

            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(exchange, pattern)
            await queue.bind(exchange, LAST)
            await queue.consume(on_message, no_ack=True)

        await asyncio.gather(*map(listen, patterns))
        for key in [*keys, LAST]:
            await exchange.publish(aio_pika.Message(b""), key, mandatory=False)
        await done.wait()
    return routed


def test_a_pattern_that_was_removed_is_gone_and_leaves_nothing() -> None:
    trie = TopicTrie[str]()
    patterns = ["acme.*.line-1.#", "acme.#", "#", "#.#.critical", "acme.*.line-1", ""]
    for pattern in patterns:
        trie.add(pattern, pattern)
    trie.remove("no.such.pattern", "x")
    for gone, pattern in enumerate(patterns, 1):
        trie.remove(pattern, pattern)
        trie.remove(pattern, pattern)
        found = set(trie.find(words_of("acme.north.line-1")))
        assert found == {p for p in patterns[gone:] if topic_matches(p, "acme.north.line-1")}
    assert trie.is_empty()


def test_many_hashes_do_not_make_it_slow() -> None:
    trie = TopicTrie[int]()
    for number in range(200):
        trie.add(".".join(["#", "a"] * 7 + ["#", f"w{number}"]), number)
    assert trie.find(["a"] * 100 + ["w7"]) == [7]


def test_patterns_that_hide_a_wildcard_or_are_too_long_are_refused() -> None:
    bad = ["acme.line-*", "acme..x", ".".join("a" * 20), "ä" * 200, ""]
    problems = check_topics([*bad, "acme.*.#"])
    assert [one.pointer for one in problems] == [f"/topics/{n}" for n in range(4)]
