"""The envelope: ids in the order of time, addresses of equipment."""

import time
from uuid import RFC_4122

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_contracts.envelope import EquipmentPath, uuid7

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=32)


def test_ids_are_uuids_of_version_7() -> None:
    for made in (uuid7() for _ in range(1000)):
        assert made.version == 7
        assert made.variant == RFC_4122


def test_ids_hold_the_time_and_grow_with_it() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(5000)]
    after = time.time_ns() // 1_000_000
    milliseconds = [made.int >> 80 for made in ids]
    assert before <= milliseconds[0]
    assert milliseconds[-1] <= after
    assert milliseconds == sorted(milliseconds)
    assert len(set(ids)) == len(ids)


@given(st.lists(WORDS, min_size=1, max_size=5))
def test_an_equipment_path_gives_five_words(words: list[str]) -> None:
    path = EquipmentPath("/" + "/".join(words))
    assert path.tenant == words[0]
    assert path.routing_words() == words + ["_"] * (5 - len(words))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "acme",
        "/acme/",
        "//x",
        "/a/b/c/d/e/f",
        "/Acme",
        "/acme/x.y",
        "/" + "a" * 33,
        "/é",
    ],
)
def test_what_is_no_equipment_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="must"):
        EquipmentPath(path)
