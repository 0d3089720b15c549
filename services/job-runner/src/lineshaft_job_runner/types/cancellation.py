"""Lets long loops end when somebody asked for it."""

from lineshaft_job_runner.job_type import JobContext, JobStoppedError


def stop_if_cancelled(context: JobContext) -> None:
    """Raise JobStoppedError when the job was cancelled; call it once per batch of work."""
    if context.cancelled:
        raise JobStoppedError("cancelled on request")
