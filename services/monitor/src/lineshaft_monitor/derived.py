"""Ratios that follow from the counters of one process."""

from collections.abc import Mapping

from lineshaft_monitor.samples.latest import Latest
from lineshaft_monitor.samples.series import Key, labels_of

REQUESTS = "http_server_request_duration_seconds_count"
REQUEST_SECONDS = "http_server_request_duration_seconds"
JOB_ATTEMPTS = "lineshaft_jobs_attempts_total"
CPU_SECONDS = "process_cpu_seconds_total"
FAILED_OUTCOMES = frozenset({"failed", "quarantined"})
JUDGED_OUTCOMES = FAILED_OUTCOMES | {"succeeded"}


def derive(latest: Latest, source: str, labels: Mapping[str, str]) -> dict[Key, float]:
    """Return what can be said about the last interval; nothing where nothing happened."""
    found = {
        "lineshaft_http_requests_per_second": request_rate(latest, source),
        "lineshaft_http_error_ratio": error_ratio(latest, source),
        "lineshaft_job_failure_ratio": job_failure_ratio(latest, source),
        "lineshaft_process_cpu_ratio": cpu_ratio(latest, source),
    }
    own = labels_of(labels)
    return {(name, own): value for name, value in found.items() if value is not None}


def request_rate(latest: Latest, source: str) -> float | None:
    """Return requests per second."""
    rates = [rate for _, rate in latest.rates(source, REQUESTS)]
    return sum(rates) if rates else None


def error_ratio(latest: Latest, source: str) -> float | None:
    """Return the share of answers with status 5xx."""
    rates = list(latest.rates(source, REQUESTS))
    total = sum(rate for _, rate in rates)
    failed = sum(rate for labels, rate in rates if labels.get("status", "").startswith("5"))
    return failed / total if total else None


def jobs_per_second(latest: Latest, source: str) -> dict[str, float]:
    """Return ended attempts per second by outcome."""
    outcomes: dict[str, float] = {}
    for labels, rate in latest.rates(source, JOB_ATTEMPTS):
        outcome = labels.get("outcome", "unknown")
        outcomes[outcome] = outcomes.get(outcome, 0.0) + rate
    return outcomes


def job_failure_ratio(latest: Latest, source: str) -> float | None:
    """Return the share of jobs that ended for good without success; cancelled do not count."""
    return failure_ratio(jobs_per_second(latest, source))


def failure_ratio(outcomes: Mapping[str, float]) -> float | None:
    """Return failed among judged; None when there is nothing to judge."""
    judged = sum(rate for outcome, rate in outcomes.items() if outcome in JUDGED_OUTCOMES)
    failed = sum(rate for outcome, rate in outcomes.items() if outcome in FAILED_OUTCOMES)
    return failed / judged if judged else None


def cpu_ratio(latest: Latest, source: str) -> float | None:
    """Return the share of one core."""
    return next((rate for _, rate in latest.rates(source, CPU_SECONDS)), None)
