"""Why the local system could not do what was asked; the message says what to do."""


class LocalError(Exception):
    """Something the user can act on: printed without a traceback, exit status 1."""


class MissingProgramsError(LocalError):
    """RabbitMQ or PostgreSQL is not installed and could not be installed."""


class AlreadyRunningError(LocalError):
    """Another supervisor holds this directory."""
