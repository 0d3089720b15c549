"""Which of the waiting jobs are started, as a function of what waits, runs and is allowed."""

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from lineshaft_job_runner.allocation import Allocation, Candidate, Group, Limit, allocate

TENANTS = ("a", "b", "c")
TYPES = ("trial.wait", "trial.work")
KEYS = ("", "press-7")

GROUPS = st.builds(Group, st.sampled_from(TENANTS), st.sampled_from(TYPES), st.sampled_from(KEYS))
RUNNING = st.dictionaries(GROUPS, st.integers(1, 5), max_size=4)
LIMITS = st.lists(
    st.builds(
        Limit,
        tenant=st.sampled_from(["", *TENANTS]),
        name=st.text("xyz", min_size=1, max_size=3),
        job_type=st.sampled_from([None, *TYPES]),
        limit_key=st.sampled_from([None, *KEYS]),
        running_max=st.none() | st.integers(0, 6),
        starts_left=st.none() | st.floats(-2, 6),
        paused=st.sampled_from([False, False, False, True]),
    ),
    max_size=4,
    unique_by=lambda limit: (limit.tenant, limit.name),
)
PLACES = st.integers(0, 12)


@st.composite
def backlogs(draw: st.DrawFn) -> dict[Group, list[Candidate]]:
    """Waiting jobs; those of a group in order."""
    ranks = draw(st.dictionaries(GROUPS, st.lists(st.integers(0, 9), min_size=1, max_size=6)))
    number = 0
    waiting: dict[Group, list[Candidate]] = {}
    for group, of_group in ranks.items():
        waiting[group] = []
        for rank in sorted(of_group):
            number += 1
            waiting[group].append(Candidate(float(rank), number, UUID(int=number)))
    return waiting


WAITING = backlogs()


def owners(waiting: dict[Group, list[Candidate]]) -> dict[UUID, tuple[Group, Candidate]]:
    return {c.job_id: (group, c) for group, some in waiting.items() for c in some}


def started(allocation: Allocation, waiting: dict[Group, list[Candidate]]) -> Counter[Group]:
    known = owners(waiting)
    return Counter(known[job_id][0] for job_id in allocation.job_ids)


def after(running: dict[Group, int], starts: Counter[Group]) -> Counter[Group]:
    return Counter(running) + starts


@given(WAITING, RUNNING, LIMITS, PLACES)
def test_no_job_is_started_twice_nor_more_than_there_are_places(
    waiting: dict[Group, list[Candidate]],
    running: dict[Group, int],
    limits: list[Limit],
    places: int,
) -> None:
    ids = allocate(waiting, running, limits, places=places).job_ids
    assert len(ids) == len(set(ids)) <= places
    assert set(ids) <= owners(waiting).keys()


@given(WAITING, RUNNING, LIMITS, PLACES)
def test_no_limit_is_exceeded_and_each_rate_pays_for_what_it_let_start(
    waiting: dict[Group, list[Candidate]],
    running: dict[Group, int],
    limits: list[Limit],
    places: int,
) -> None:
    allocation = allocate(waiting, running, limits, places=places)
    starts = started(allocation, waiting)
    for limit in limits:
        new = sum(number for group, number in starts.items() if limit.matches(group))
        if new and limit.running_max is not None:
            assert limit.running(after(running, starts)) <= limit.running_max
        if new and limit.starts_left is not None:
            assert new <= limit.starts_left
        assert not (new and limit.paused)
        paid = allocation.starts.get((limit.tenant, limit.name), 0)
        assert paid == (new if limit.starts_left is not None else 0)


@given(WAITING, RUNNING, LIMITS, PLACES)
def test_no_place_stays_empty_while_a_job_waits_that_all_limits_let_start(
    waiting: dict[Group, list[Candidate]],
    running: dict[Group, int],
    limits: list[Limit],
    places: int,
) -> None:
    allocation = allocate(waiting, running, limits, places=places)
    starts = started(allocation, waiting)
    if len(allocation.job_ids) == places:
        return
    for group, some in waiting.items():
        stopped = [
            limit
            for limit in limits
            if limit.matches(group)
            and (room := limit.room(limit.running(running))) is not None
            and room <= sum(n for g, n in starts.items() if limit.matches(g))
        ]
        assert stopped or starts[group] == len(some)


@given(WAITING, RUNNING, LIMITS, PLACES)
def test_the_jobs_of_a_group_start_in_order(
    waiting: dict[Group, list[Candidate]],
    running: dict[Group, int],
    limits: list[Limit],
    places: int,
) -> None:
    ids = allocate(waiting, running, limits, places=places).job_ids
    for some in waiting.values():
        mine = [c.job_id for c in some if c.job_id in ids]
        assert mine == [c.job_id for c in some][: len(mine)]
        assert mine == [job_id for job_id in ids if job_id in set(mine)]


@given(WAITING, RUNNING, PLACES)
def test_without_limits_no_tenant_gains_more_than_one_place_over_one_that_still_waits(
    waiting: dict[Group, list[Candidate]], running: dict[Group, int], places: int
) -> None:
    starts = started(allocate(waiting, running, [], places=places), waiting)
    held, gained, left = Counter[str](), Counter[str](), Counter[str]()
    for group, number in after(running, starts).items():
        held[group.tenant] += number
    for group, some in waiting.items():
        gained[group.tenant] += starts[group]
        left[group.tenant] += len(some) - starts[group]
    for rich in TENANTS:
        for poor in TENANTS:
            if gained[rich] and left[poor]:
                assert held[rich] - held[poor] <= 1


@given(WAITING, PLACES)
def test_without_limits_each_tenant_starts_its_most_urgent_jobs(
    waiting: dict[Group, list[Candidate]], places: int
) -> None:
    known = owners(waiting)
    ids = allocate(waiting, {}, [], places=places).job_ids
    for tenant in TENANTS:
        mine = sorted(c for group, c in known.values() if group.tenant == tenant)
        chosen = [job_id for job_id in ids if known[job_id][0].tenant == tenant]
        assert chosen == [c.job_id for c in mine][: len(chosen)]


@given(WAITING, RUNNING, LIMITS, PLACES)
def test_the_same_question_has_the_same_answer_in_whatever_order_it_is_asked(
    waiting: dict[Group, list[Candidate]],
    running: dict[Group, int],
    limits: list[Limit],
    places: int,
) -> None:
    turned = dict(reversed(waiting.items()))
    first = allocate(waiting, running, limits, places=places)
    second = allocate(turned, running, limits[::-1], places=places)
    assert (first.job_ids, first.starts) == (second.job_ids, second.starts)


def test_a_tenant_with_one_job_gets_the_next_place_whatever_the_others_have() -> None:
    flood = Group("flood", "trial.wait", "")
    drop = Group("drop", "trial.wait", "")
    waiting = {
        flood: [Candidate(0.0, n, UUID(int=n)) for n in range(1, 2_001)],
        drop: [Candidate(9.0, 9_999, UUID(int=9_999))],
    }
    assert allocate(waiting, {flood: 1}, [], places=1).job_ids == (UUID(int=9_999),)
