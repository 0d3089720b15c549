"""S3-FIFO with sizes, and the store that it serves."""

import random
from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st
from lineshaft_cdn_edge.cache_key import CacheKey
from lineshaft_cdn_edge.entry import Entry, StaleRules
from lineshaft_cdn_edge.eviction import S3Fifo
from lineshaft_cdn_edge.fields import Fields
from lineshaft_cdn_edge.freshness import Basis, Lifetime
from lineshaft_cdn_edge.memory import MemoryStore

ZIPF = [1 / (rank + 1) for rank in range(2_000)]


def use(queue: S3Fifo[int], key: int, weight: int = 1) -> bool:
    """Look a key up, and keep it when it is missing; whether it was there."""
    if key in queue:
        queue.hit(key)
        return True
    if queue.admits(key, weight):
        queue.add(key, weight)
        queue.evict()
    return False


def test_the_weight_stays_within_its_bound() -> None:
    queue = S3Fifo[int](100)
    for key in range(1_000):
        use(queue, key, weight=key % 9 + 1)
        assert queue.weight <= 100


def test_a_scan_does_not_push_out_what_is_used() -> None:
    queue = S3Fifo[int](100)
    for _ in range(4):
        for key in range(50):
            use(queue, key)
    for key in range(1_000, 5_000):
        use(queue, key)
    assert sum(key in queue for key in range(50)) == 50


def test_it_misses_less_than_least_recently_used() -> None:
    keys = random.Random(7).choices(range(2_000), ZIPF, k=40_000)
    queue, recent = S3Fifo[int](100), OrderedDict[int, None]()
    fifo_hits = lru_hits = 0
    for key in keys:
        fifo_hits += use(queue, key)
        lru_hits += key in recent
        recent[key] = None
        recent.move_to_end(key)
        if len(recent) > 100:
            recent.popitem(last=False)
    assert fifo_hits > lru_hits


def test_what_is_too_heavy_is_never_kept() -> None:
    assert not S3Fifo[int](100).admits(1, 101)


def test_a_heavy_thing_pushes_others_out_only_when_it_is_asked_for_again() -> None:
    queue = S3Fifo[int](100)
    for key in range(100):
        use(queue, key)
    use(queue, 1_000, weight=50)
    assert 1_000 not in queue
    use(queue, 1_000, weight=50)
    assert 1_000 in queue


@given(
    st.lists(
        st.tuples(st.sampled_from(["use", "drop"]), st.integers(0, 30), st.integers(1, 40)),
        max_size=200,
    )
)
def test_its_books_are_right_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    queue = S3Fifo[int](100)
    for action, key, weight in steps:
        if action == "use":
            use(queue, key, weight)
        else:
            queue.remove(key)
        kept = {**queue._small, **queue._main}
        assert queue.weight == sum(kept.values()) <= 100
        assert set(kept) == set(queue._uses)
        assert not set(queue._small) & set(queue._main)
        assert queue._ghost_weight == sum(queue._ghost.values()) <= 100


def entry(path: str, body: bytes = b"", variant: str = "") -> Entry:
    return Entry(
        key=CacheKey(host="", path=path, query=""),
        variant=(("x", variant),) if variant else (),
        status=200,
        reason="",
        fields=Fields(),
        body=body,
        arrived_at=0.0,
        initial_age=0.0,
        lifetime=Lifetime(seconds=60, basis=Basis.EXPLICIT),
        validates_always=False,
        stale=StaleRules(),
        asset_class="other",
        is_negotiated=False,
    )


def test_the_store_stays_within_its_bytes_and_counts_what_it_gives_up() -> None:
    store = MemoryStore(bytes_max=100_000, object_bytes_max=50_000)
    for number in range(200):
        store.put(entry(f"/{number}", b"x" * 5_000))
        assert store.used_bytes <= 100_000
    assert store.evictions == 200 - len(store)


def test_what_the_store_gave_up_is_not_found() -> None:
    store = MemoryStore(bytes_max=20_000, object_bytes_max=20_000)
    for number in range(50):
        store.put(entry(f"/{number}", b"x" * 2_000))
    found = [n for n in range(50) if store.find(entry(f"/{n}").key, Fields())]
    assert len(found) == len(store)


def test_a_body_that_is_too_long_is_not_kept_and_removes_what_it_would_have_renewed() -> None:
    store = MemoryStore(bytes_max=100_000, object_bytes_max=10)
    assert store.put(entry("/a", b"short"))
    assert not store.put(entry("/a", b"x" * 11))
    assert not store.has(entry("/a").key)


def test_a_newer_state_replaces_only_the_one_it_was_made_from() -> None:
    store = MemoryStore(bytes_max=100_000, object_bytes_max=1_000)
    first, second, third = entry("/a", b"1"), entry("/a", b"2"), entry("/a", b"3")
    store.put(first)
    store.put(second)
    assert not store.replace(first, third)
    assert store.replace(second, third)
    assert store.find(first.key, Fields()) is third


def test_removing_everything_leaves_no_weight_behind() -> None:
    store = MemoryStore(bytes_max=100_000, object_bytes_max=1_000)
    for number in range(30):
        store.put(entry(f"/{number % 7}", b"x" * number, variant=str(number)))
    for key in store.keys(lambda _: True):
        store.remove(key)
    assert (store.used_bytes, len(store)) == (0, 0)
