"""Which failures pass by themselves, so that waiting is right and giving up is not."""

import asyncpg
from lineshaft_contracts.problems import ProblemError

TRANSIENT_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,
)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later without anybody changing its input."""
    if isinstance(error, ProblemError):
        return error.problem.status == 503
    return isinstance(error, TRANSIENT_ERRORS)
