"""TCP ports on the loopback interface: which are free, and which to take."""

import random
import socket
from collections.abc import Container

LOOPBACK = "127.0.0.1"
# Below the ephemeral range of Linux: no outgoing connection takes a port between two starts.
FIRST, LAST = 20_000, 29_999
ATTEMPTS_MAX = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now (a connection in TIME_WAIT does not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    # A server on all interfaces can hide behind a successful bind on one of them.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) != 0


def choose(*, preferred: int | None = None, taken: Container[int] = ()) -> int:
    """Return the preferred port when it is free, else a random free one that is not in `taken`."""
    if preferred is not None and preferred not in taken and is_free(preferred):
        return preferred
    for _ in range(ATTEMPTS_MAX):
        port = random.randint(FIRST, LAST)
        if port not in taken and is_free(port):
            return port
    message = f"no free TCP port between {FIRST} and {LAST} after {ATTEMPTS_MAX} attempts"
    raise OSError(message)
