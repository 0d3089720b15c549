"""What can be wrong with a data source, or with what a job asks of it."""

from lineshaft_job_runner.job_type import PermanentError, RetryableError


class SourceError(PermanentError):
    """The data source cannot answer this request as it was made."""


class SourceUnavailableError(RetryableError):
    """The data source does not answer now."""


class SourcesFileError(Exception):
    """The sources file cannot be used; the message says which line of it."""
