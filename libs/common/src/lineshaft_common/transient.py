"""Which failures pass by themselves, so that waiting is right and giving up is not."""

import socket

import asyncpg
from lineshaft_contracts.problems import ProblemError

OUTAGES: tuple[type[Exception], ...] = (
    ConnectionError,
    socket.gaierror,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""Something that this process needs is away."""

COLLISIONS: tuple[type[Exception], ...] = (
    TimeoutError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)
"""Others were in the way, or it was slow; when it goes on, the fault lies with the input."""

TRANSIENT_ERRORS: tuple[type[Exception], ...] = (OSError, *OUTAGES, *COLLISIONS)
"""For loops of our own that go on whatever of this kind happens."""


def is_outage(error: BaseException) -> bool:
    """Whether nothing can be done until something else is back."""
    if isinstance(error, ProblemError):
        return error.problem.status == 503
    if type(error) is OSError:  # Several addresses, each of which refused.
        return True
    # A value that the driver cannot encode is an InterfaceError too, and a ValueError.
    return isinstance(error, OUTAGES) and not isinstance(error, ValueError)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later without anybody changing its input."""
    return is_outage(error) or isinstance(error, COLLISIONS)
