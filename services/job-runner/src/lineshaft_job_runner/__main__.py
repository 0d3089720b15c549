"""Run the job-runner: start-up reads down, shutdown reads up."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from lineshaft_common import http, lifecycle, logs, messaging, postgres, tracing
from lineshaft_common.health import Health
from lineshaft_common.messaging import Answer, Bus, answers, on
from lineshaft_common.objects import Objects
from lineshaft_common.outbox import OutboxRelay
from lineshaft_common.postgres import Pool
from lineshaft_common.reporting import report
from lineshaft_contracts.job_catalogue import ListJobTypes
from lineshaft_contracts.job_control import (
    DeleteJobLimit,
    ExplainJob,
    ListJobAudit,
    ListJobLimits,
    RedriveJobs,
    RetryJob,
    SetJobLimit,
)
from lineshaft_contracts.job_schedules import (
    DeleteJobSchedule,
    ListJobFires,
    ListJobSchedules,
    PreviewJobSchedule,
    SetJobSchedule,
)
from lineshaft_contracts.job_statistics import GetJobStats
from lineshaft_contracts.job_work import BeatWork, EndWork, FetchWork, OfferWork
from lineshaft_contracts.jobs import CancelJob, FindArtifact, GetJob, ListJobs
from lineshaft_contracts.topology import (
    JOB_RUNNER_ASKED,
    JOB_RUNNER_CANCEL,
    JOB_RUNNER_SUBMIT,
    JOB_RUNNER_WORK,
)

from lineshaft_job_runner.answering import Answering
from lineshaft_job_runner.asking import Engine
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.children import ChildProcesses
from lineshaft_job_runner.heartbeats import OpenLeaseStore
from lineshaft_job_runner.in_loop import LoopExecutor
from lineshaft_job_runner.intake import Intake
from lineshaft_job_runner.job_type import Isolation
from lineshaft_job_runner.large_parameters import LargeParameters
from lineshaft_job_runner.offers import Offers
from lineshaft_job_runner.remote_work import RemoteWork
from lineshaft_job_runner.retention import Retention
from lineshaft_job_runner.routes import create_app
from lineshaft_job_runner.runner import Runner
from lineshaft_job_runner.schedules.desk import Desk
from lineshaft_job_runner.schedules.drafts import Drafts
from lineshaft_job_runner.schedules.keeper import Keeper
from lineshaft_job_runner.served_types import ServedTypes
from lineshaft_job_runner.serving import Serving
from lineshaft_job_runner.settings import Settings
from lineshaft_job_runner.source_access import DataAccess
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.steering import Steering
from lineshaft_job_runner.store.audit import AuditStore
from lineshaft_job_runner.store.claiming import Positions
from lineshaft_job_runner.store.fires import FireStore
from lineshaft_job_runner.store.held_jobs import HeldJobs
from lineshaft_job_runner.store.hints import listen
from lineshaft_job_runner.store.history import HistoryStore
from lineshaft_job_runner.store.jobs import JobStore
from lineshaft_job_runner.store.limits import LimitStore
from lineshaft_job_runner.store.obstacles import Obstacles
from lineshaft_job_runner.store.plant_sources import open_source
from lineshaft_job_runner.store.plant_targets import open_target
from lineshaft_job_runner.store.reads import JobReads
from lineshaft_job_runner.store.records import RecordStore
from lineshaft_job_runner.store.reviving import RevivingStore
from lineshaft_job_runner.store.schedules import ScheduleStore
from lineshaft_job_runner.store.served_types import ServedTypeStore
from lineshaft_job_runner.submissions import Submissions

NAME = "job-runner"
LEASE_CONNECTIONS = 5
WORKERS_HEARD_MAX = 2  # At once: fewer than there are connections for leases.
QUESTIONS_MAX = 8  # At once: fewer than the pool has connections, so that submissions find one.


async def main() -> None:
    """Serve until told to stop."""
    settings = Settings.from_environment()
    url, instance = str(settings.postgres_url), settings.instance
    logs.configure(NAME, instance=instance, level=settings.log_level)
    async with (
        tracing.start(NAME, instance=instance, sample_ratio=settings.trace_sample_ratio),
        postgres.connect(
            url,
            "lineshaft_common",
            "lineshaft_job_runner",
            name=NAME,
            connections_max=settings.postgres_connections_max,
        ) as pool,
        postgres.connect(url, name=f"{NAME}-leases", connections_max=LEASE_CONNECTIONS) as leases,
        messaging.connect(str(settings.amqp_url), name=NAME) as bus,
        run_engine(settings, pool, bus, leases=leases),
    ):
        health = Health({"broker": bus.check, "database": lambda: postgres.check(pool)})
        async with (
            http.serve(create_app(health), host=settings.http_host, port=settings.http_port),
            report(
                bus,
                health,
                service=NAME,
                instance=instance,
                interval_seconds=settings.metrics_interval_seconds,
            ),
        ):
            await lifecycle.until_terminated()


def _executors(
    settings: Settings, catalogue: Catalogue, engine: Engine
) -> tuple[LoopExecutor, ChildProcesses]:
    file = SourcesFile.load(settings.sources_file) if settings.sources_file else SourcesFile()
    in_loop = LoopExecutor(
        places=settings.loop_jobs_max,
        objects=Objects(settings.object_store_url),
        data=DataAccess(file, open_source=open_source, open_target=open_target),
        types=catalogue,
        engine=engine,
        grace_seconds=settings.cancel_grace_seconds,
    )
    children = ChildProcesses(
        places=settings.processes_max,
        idle_seconds=settings.child_idle_seconds,
        grace_seconds=settings.cancel_grace_seconds,
        object_store_url=settings.object_store_url,
        engine=engine,
    )
    return in_loop, children


def _open_leases(settings: Settings, *, on_announced: Callable[[], None]) -> OpenLeaseStore:
    """Return what opens the heartbeats' store, in their thread; `on_announced` is for our loop."""
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.call_soon_threadsafe(on_announced)

    @asynccontextmanager
    async def open_leases() -> AsyncGenerator[JobStore]:
        async with postgres.connect(
            str(settings.postgres_url), name=f"{NAME}-heartbeats", connections_max=1
        ) as pool:
            yield JobStore(pool, worker=settings.instance, on_announced=tell)

    return open_leases


def _serve_workers(
    settings: Settings,
    bus: Bus,
    leases: Pool,
    served: ServedTypes,
    parameters: LargeParameters,
    *,
    on_announced: Callable[[], None],
) -> AbstractAsyncContextManager[None]:
    offers = Offers(ServedTypeStore(leases), on_offered=served.changed)
    positions = Positions()
    remote = RemoteWork(
        offers,
        HeldJobs(leases),
        lambda worker: JobStore(
            leases, worker=worker, on_announced=on_announced, positions=positions
        ),
        parameters,
        lease_seconds=settings.lease_seconds,
    )
    return bus.serve(
        JOB_RUNNER_WORK,
        answers(OfferWork, offers.offer),
        answers(FetchWork, remote.fetch),
        answers(BeatWork, remote.beat),
        answers(EndWork, remote.end),
        concurrency=WORKERS_HEARD_MAX,
    )


@asynccontextmanager
async def _take_in(bus: Bus, intake: Intake) -> AsyncGenerator[None]:
    async with (
        bus.subscribe_batch(JOB_RUNNER_SUBMIT, intake.on_submissions),
        bus.subscribe(JOB_RUNNER_CANCEL, on(CancelJob, intake.on_cancel)),
    ):
        yield


def _retention(settings: Settings, pool: Pool) -> Retention:
    objects = Objects(settings.object_store_url)
    return Retention(HistoryStore(pool), objects, days=settings.history_days)


def _answered(reads: JobReads, served: ServedTypes) -> tuple[Answer, ...]:
    desk = Answering(reads)
    return (
        answers(GetJob, desk.get_job),
        answers(ListJobs, desk.list_jobs),
        answers(GetJobStats, desk.get_stats),
        answers(ListJobTypes, served.list_types),
        answers(FindArtifact, desk.find_artifact),
    )


def _steered(
    pool: Pool, reads: JobReads, served: ServedTypes, *, on_announced: Callable[[], None]
) -> tuple[Answer, ...]:
    steering = Steering(
        obstacles=Obstacles(pool),
        limits=LimitStore(pool),
        reviving=RevivingStore(pool, on_announced=on_announced),
        audit=AuditStore(pool),
        reads=reads,
        served=served,
    )
    return (
        answers(ExplainJob, steering.explain),
        answers(RetryJob, steering.retry),
        answers(RedriveJobs, steering.redrive),
        answers(ListJobAudit, steering.list_audit),
        answers(SetJobLimit, steering.set_limit),
        answers(DeleteJobLimit, steering.delete_limit),
        answers(ListJobLimits, steering.list_limits),
    )


def _scheduled(
    pool: Pool, store: JobStore, drafts: Drafts, *, on_announced: Callable[[], None]
) -> tuple[Keeper, tuple[Answer, ...]]:
    schedules = ScheduleStore(pool)
    keeper = Keeper(FireStore(pool, store, on_announced=on_announced), schedules, drafts)
    desk = Desk(schedules, drafts, on_changed=keeper.wake)
    return keeper, (
        answers(SetJobSchedule, desk.set),
        answers(DeleteJobSchedule, desk.delete),
        answers(ListJobSchedules, desk.list),
        answers(ListJobFires, desk.list_fires),
        answers(PreviewJobSchedule, desk.preview),
    )


@asynccontextmanager
async def run_engine(
    settings: Settings, pool: Pool, bus: Bus, *, leases: Pool
) -> AsyncGenerator[None]:
    """Take, run and answer for jobs while the block is open.

    `leases` serves the engine alone, so that no flood of questions costs a running job its lease.
    """
    catalogue = Catalogue.installed()
    parameters = LargeParameters(Objects(settings.object_store_url))
    reads = JobReads(pool, parameters)
    in_loop, children = _executors(settings, catalogue, RecordStore(pool, reads))
    registry = ServedTypeStore(pool)
    served = ServedTypes(registry, catalogue)
    async with OutboxRelay(pool, bus) as relay, children:
        store = JobStore(pool, worker=settings.instance, on_announced=relay.wake)
        runner = Runner(
            JobStore(leases, worker=settings.instance, on_announced=relay.wake),
            catalogue,
            {Isolation.LOOP: in_loop, Isolation.PROCESS: children},
            parameters,
            open_leases=_open_leases(settings, on_announced=relay.wake),
            lease_seconds=settings.lease_seconds,
            stop_grace_seconds=settings.stop_grace_seconds,
        )
        submissions = Submissions(catalogue, served)
        drafts = Drafts(submissions, catalogue, served)
        keeper, scheduled = _scheduled(pool, store, drafts, on_announced=relay.wake)
        async with (
            _retention(settings, pool),
            runner,
            Serving(registry, settings.instance, catalogue.views()),
            listen(pool, on_ready=runner.wake, on_cancel=runner.look_for_cancellations),
            _take_in(bus, Intake(store, reads, submissions, parameters, runner)),
            bus.serve(
                JOB_RUNNER_ASKED,
                *_answered(reads, served),
                *_steered(pool, reads, served, on_announced=relay.wake),
                *scheduled,
                concurrency=QUESTIONS_MAX,
            ),
            _serve_workers(settings, bus, leases, served, parameters, on_announced=relay.wake),
            keeper,
        ):
            yield


if __name__ == "__main__":
    lifecycle.run(main)
