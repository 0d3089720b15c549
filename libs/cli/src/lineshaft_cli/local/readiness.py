"""Questions that tell whether a server or a service is ready for work."""

import asyncio
from collections.abc import Awaitable, Callable

from lineshaft_cli.local.ports import LOOPBACK

Check = Callable[[], Awaitable[bool]]
ANSWER_SECONDS = 2.0
ANSWER_BYTES_MAX = 512
AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
AMQP_METHOD_FRAME = b"\x01"


async def _answer(port: int, question: bytes) -> bytes:
    """Connect, ask, and return the beginning of the answer; empty when there is none in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(question)
                return await reader.read(ANSWER_BYTES_MAX)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


def http(port: int, path: str = "/readyz") -> Check:
    """Ready when the path answers 200."""
    question = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode()

    async def check() -> bool:
        return (await _answer(port, question)).startswith(b"HTTP/1.1 200")

    return check


def amqp(port: int) -> Check:
    """Ready when the broker opens the AMQP handshake, which it does once it is fully booted."""

    async def check() -> bool:
        return (await _answer(port, AMQP_HEADER)).startswith(AMQP_METHOD_FRAME)

    return check


def postgresql(port: int) -> Check:
    """Ready when the server answers a start-up packet with anything but "cannot connect now".

    A cluster that starts or recovers answers with an error frame whose SQLSTATE is 57P03; a
    request for a password means that it takes connections.
    """
    parameters = b"user\x00readiness\x00database\x00postgres\x00\x00"
    packet = (8 + len(parameters)).to_bytes(4, "big") + (196608).to_bytes(4, "big") + parameters

    async def check() -> bool:
        answer = await _answer(port, packet)
        return bool(answer) and b"57P03" not in answer

    return check


def tcp(port: int) -> Check:
    """Ready when something accepts connections on the port."""

    async def check() -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                _, writer = await asyncio.open_connection(LOOPBACK, port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return check
