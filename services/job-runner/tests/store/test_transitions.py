"""Any sequence of what users, workers and time do to jobs keeps to the transition table.

LINESHAFT_MODEL_EXAMPLES=500 (or more) searches for longer, with new examples in every run.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from lineshaft_common import postgres
from lineshaft_contracts.jobs import AfterFailure, JobState, Progress
from lineshaft_job_runner.job import (
    TRANSITIONS,
    ClaimedJob,
    NewJob,
    Outcome,
    ProgressUpdate,
    Verdict,
)
from lineshaft_job_runner.store.reviving import RevivingStore

from .consistency import INCONSISTENT
from .driver import LEASE_SECONDS, NEVER, NOT_YET, TABLES, Jobs, new_job

pytestmark = pytest.mark.integration

EXAMPLES = int(os.environ.get("LINESHAFT_MODEL_EXAMPLES", "25"))
STEPS = 25
HOUR = timedelta(hours=1)
BORN = frozenset({JobState.WAITING, JobState.SCHEDULED, JobState.QUEUED})

SUBMISSIONS = st.lists(
    st.fixed_dictionaries(
        {
            "tenant": st.sampled_from(["acme", "acme", "rival"]),
            "idempotency_key": st.sampled_from([None, None, "i", "j"]),
            "unique_key": st.sampled_from([None, None, "u"]),
            "order_key": st.sampled_from([None, "x", "x", "y"]),
            "run_at": st.sampled_from([None, None, -HOUR, HOUR]),
            "deadline_at": st.sampled_from([None, None, HOUR]),
            "after_failure": st.sampled_from(AfterFailure),
            "after": st.lists(st.integers(0, 1_000), max_size=2),
        }
    ),
    min_size=1,
    max_size=4,
)
WHICH = st.integers(0, 1_000)

T = TypeVar("T")


@dataclass
class Model:
    """What has to be true, as far as events and answers told it."""

    states: dict[UUID, JobState] = field(default_factory=dict[UUID, JobState])
    tenants: dict[UUID, str] = field(default_factory=dict[UUID, str])
    held: dict[UUID, ClaimedJob] = field(default_factory=dict[UUID, ClaimedJob])
    """Attempts that may be ended, by lease token."""
    past: list[ClaimedJob] = field(default_factory=list[ClaimedJob])
    """Attempts that may not."""

    def within(self, *states: JobState) -> list[UUID]:
        """Jobs in the order of their submission, so that the same choices do the same again."""
        return [job_id for job_id in self.tenants if self.states[job_id] in states]

    @property
    def ended(self) -> list[UUID]:
        return [job_id for job_id in self.tenants if self.states[job_id].is_final]

    @property
    def attempts(self) -> list[ClaimedJob]:
        known = list(self.tenants)
        return sorted(self.held.values(), key=lambda job: known.index(job.id))


class Life(RuleBasedStateMachine):
    """Users, a worker and time, in any order."""

    def __init__(self, runner: asyncio.Runner, jobs: Jobs) -> None:
        super().__init__()
        self.runner = runner
        self.jobs = jobs
        self.model = Model()
        self.again = RevivingStore(jobs.pool, on_announced=lambda: None)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    @initialize()
    def empty(self) -> None:
        self.run(self.jobs.pool.execute(f"TRUNCATE {TABLES}"))

    @rule(drafts=SUBMISSIONS)
    def submit(self, drafts: list[dict[str, Any]]) -> None:
        now, known = datetime.now(UTC), list(self.model.tenants)
        batch: list[NewJob] = []
        for draft in drafts:
            places: list[int] = draft["after"] if known else []
            after = tuple(known[place % len(known)] for place in places)
            run_at, deadline_at = (
                draft[name] and now + draft[name] for name in ("run_at", "deadline_at")
            )
            times = {"run_at": run_at, "deadline_at": deadline_at}
            batch.append(new_job(**draft | times | {"after": after}))
        for job, outcome in zip(batch, self.run(self.jobs.store.accept(batch)), strict=True):
            strangers = {self.model.tenants[i] for i in job.after} - {job.tenant}
            if outcome.problem is not None:
                assert outcome.problem.code == "unknown_dependency"
                assert strangers or job.idempotency_key or job.unique_key
            elif outcome.created:
                assert not strangers
                assert outcome.job_id == job.id
                self.model.tenants[job.id] = job.tenant
            else:
                assert self.model.tenants[outcome.job_id] == job.tenant

    @rule(which=WHICH)
    @precondition(lambda self: self.model.past or self.model.held)
    def submit_again(self, which: int) -> None:
        attempts = [*self.model.past, *self.model.attempts]
        job = attempts[which % len(attempts)]
        repeat = new_job(id=job.id, tenant=job.tenant, type=job.type, unique_key="u")
        assert self.run(self.jobs.accept(repeat)) == [(job.id, False)]

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        queued = set(self.model.within(JobState.QUEUED))
        for job in self.run(self.jobs.claim(limit)):
            assert job.id in queued
            assert job.lease_token not in self.model.held
            self.model.held[job.lease_token] = job

    @rule()
    @precondition(lambda self: self.model.held or self.model.past)
    def heartbeat(self) -> None:
        attempts = [*self.model.held.values(), *self.model.past]
        progress = Progress(done=1, total=2)
        updates = [
            ProgressUpdate(job=job, progress=progress, moved=True, checkpoint={"at": 1})
            for job in attempts
        ]
        held = self.run(self.jobs.store.heartbeat(updates, lease_seconds=LEASE_SECONDS))
        assert held.keys() == self.model.held.keys()

    @rule(which=WHICH, verdict=st.sampled_from(Verdict), again=st.booleans(), n=st.integers(0, 2))
    @precondition(lambda self: self.model.held)
    def finish(self, which: int, verdict: Verdict, n: int, *, again: bool) -> None:
        job = self.model.attempts[which % len(self.model.held)]
        more: dict[str, Any] = {}
        if verdict is Verdict.FAILED:
            more = {"error": NOT_YET, "retry_in": HOUR} if again else {"error": NEVER}
        elif verdict is Verdict.SNOOZED:
            more = {"retry_in": HOUR}
        elif verdict in {Verdict.WAITING, Verdict.SUCCEEDED}:
            children = tuple(new_job(tenant=job.tenant, parent_id=job.id) for _ in range(n))
            self.model.tenants |= {child.id: job.tenant for child in children}
            more = {"children": children}
        outcome = Outcome(job=job, verdict=verdict, **more)
        stale = [Outcome(job=past, verdict=verdict, **more) for past in self.model.past[-2:]]
        assert self.run(self.jobs.store.finish([*stale, outcome])) == {job.lease_token}
        self._over(job)

    @rule(which=WHICH)
    @precondition(lambda self: self.model.states)
    def cancel(self, which: int) -> None:
        job_id = list(self.model.tenants)[which % len(self.model.tenants)]
        live = not self.model.states[job_id].is_final
        tenant = self.model.tenants[job_id]
        assert self.run(self.jobs.cancel(job_id, tenant=f"not-{tenant}")) is False
        assert self.run(self.jobs.cancel(job_id, tenant=tenant)) is live

    @rule(which=WHICH)
    @precondition(lambda self: self.model.held)
    def lose(self, which: int) -> None:
        job = self.model.attempts[which % len(self.model.held)]
        self.run(self.jobs.lose(job))
        self._over(job)

    @rule(which=WHICH)
    @precondition(lambda self: self.model.within(JobState.SCHEDULED, JobState.RETRYING))
    def come_due(self, which: int) -> None:
        waiting = self.model.within(JobState.SCHEDULED, JobState.RETRYING)
        self.run(self.jobs.age(waiting[which % len(waiting)], hours=2))
        self.run(self.jobs.store.expire())  # Its deadline may have been before.
        self.run(self.jobs.store.promote())

    @rule(which=WHICH)
    @precondition(lambda self: len(self.model.ended) < len(self.model.states))
    def be_late(self, which: int) -> None:
        live = [i for i in self.model.tenants if not self.model.states[i].is_final]
        self.run(
            self.jobs.pool.execute(
                "UPDATE jobs SET deadline_at = now() - interval '1 second' WHERE id = $1",
                live[which % len(live)],
            )
        )
        self.run(self.jobs.store.expire())

    @rule(which=WHICH)
    @precondition(lambda self: self.model.ended)
    def retry(self, which: int) -> None:
        job_id = self.model.ended[which % len(self.model.ended)]
        tenant = self.model.tenants[job_id]
        revived = self.run(self.again.retry(job_id, tenant=tenant, actor="t", attempts=1))
        assert not (revived and self.model.states[job_id] is JobState.SUCCEEDED)

    def _over(self, job: ClaimedJob) -> None:
        del self.model.held[job.lease_token]
        self.model.past.append(job)

    @invariant()
    def events_tell_exactly_the_transitions(self) -> None:
        told = self.run(self._told())
        for job_id, states in told.items():
            for state in states:
                before = self.model.states.get(job_id)
                allowed = BORN if before is None else TRANSITIONS[before]
                assert state in allowed, f"{before} -> {state}"
                self.model.states[job_id] = state
        stored = self.run(self._stored())
        assert {i: state for i, (state, _) in stored.items()} == self.model.states
        assert self.model.states.keys() == self.model.tenants.keys()
        running = {token for _, token in stored.values() if token is not None}
        assert running == self.model.held.keys()

    async def _told(self) -> dict[UUID, list[JobState]]:
        told: defaultdict[UUID, list[JobState]] = defaultdict(list)
        for job_id, kind in await self.jobs.told():
            if kind != "progressed":
                told[job_id].append(JobState("running" if kind == "started" else kind))
        await self.jobs.pool.execute("DELETE FROM outbox_batches")
        return told

    async def _stored(self) -> dict[UUID, tuple[JobState, UUID | None]]:
        rows = await self.jobs.pool.fetch(
            """
            SELECT id, state::text AS state, lease_token FROM jobs
            UNION ALL SELECT id, state::text, NULL FROM job_history
            """
        )
        return {row["id"]: (JobState(row["state"]), row["lease_token"]) for row in rows}

    @invariant()
    def tables_agree(self) -> None:
        for what, query in INCONSISTENT.items():
            rows = self.run(self.jobs.pool.fetch(query))
            assert rows == [], what


def test_jobs_live_by_the_transition_table(jobs_url: str) -> None:
    bounds = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
    if "LINESHAFT_MODEL_EXAMPLES" in os.environ:
        bounds = settings(bounds, derandomize=False, print_blob=True)
    with asyncio.Runner() as runner:
        opening = postgres.connect(jobs_url, name="t", connections_max=2)
        pool = runner.run(opening.__aenter__())
        try:
            make: Any = partial(Life, runner, Jobs(pool))
            run_state_machine_as_test(make, settings=bounds)
        finally:
            runner.run(opening.__aexit__(None, None, None))
