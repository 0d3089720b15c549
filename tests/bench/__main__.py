"""Run one benchmark: `make bench` for jobs, `make bench BENCH=events ARGS="--rounds 5"`."""

import importlib
import logging
import sys

import structlog

BENCHES = {
    "jobs": "durable jobs per second and CPU per job, beside other job engines",
    "matching": "events per second matched against 100 to 10,000 subscriptions",
    "events": "plant events per second from the ingress into the log",
    "submissions": "HTTP submissions per second through one gateway process",
    "batch": "rows merged per second by batch.apply, beside executemany and one COPY",
    "backlog": "cost of a claim while 1,000 and 1,000,000 jobs wait",
    "backup": "seconds of a backup that is restored and compared, beside pg_dump and pg_restore",
    "email": "mails per second of email.send, beside django-post_office and smtplib",
    "quality": "seconds of quality.analyze for a chart of 1,000,000 values, beside pandas",
    "inventory": "seconds of inventory.sync to compare two stocks, beside pandas and a loop",
    "reports": "seconds, CPU and memory of reports of 50 and 400 pages, beside LongTable",
    "open_transaction": "jobs per second and dead rows beside an open reading transaction",
    "scheduling": "seconds to prove published optima, beside PyJobShop and dispatching rules",
}


def main() -> None:
    """Hand the remaining arguments to the benchmark that the first one names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in BENCHES:
        known = "\n".join(f"  {one:18} {about}" for one, about in BENCHES.items())
        sys.exit(f"usage: make bench BENCH=NAME [ARGS=...]; NAME is one of\n{known}")
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)
    sys.argv = [f"bench {name}", *sys.argv[2:]]
    importlib.import_module(f".{name}", __package__).main()


if __name__ == "__main__":
    main()
