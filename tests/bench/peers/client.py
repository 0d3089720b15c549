"""Submits jobs when told to: `COUNT` for as fast as it goes, `COUNT RATE` for so many a second.

Commands come line by line on standard input; each is answered with the seconds that it took.
Standard library only: it runs in the environment of each peer, and in ours.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor


def serve(submit: Callable[[int], object], *, threads: int = 1) -> None:
    """Serve with a function that blocks; several threads wait for the broker side by side."""
    with ThreadPoolExecutor(threads) as pool:
        _answer("ready")
        for line in sys.stdin:
            count, rate = _parsed(line)
            began = time.perf_counter()
            if rate:
                for number in range(count):
                    time.sleep(max(0.0, began + number / rate - time.perf_counter()))
                    submit(1)
            else:
                list(pool.map(submit, [count // threads] * threads))
                submit(count % threads)
            _answer(time.perf_counter() - began)


async def serve_async(submit: Callable[[int], Awaitable[object]]) -> None:
    """Serve with a coroutine function."""
    _answer("ready")
    # In a thread, so that the connection's heartbeats go on between two commands.
    while line := await asyncio.to_thread(sys.stdin.readline):
        count, rate = _parsed(line)
        began = time.perf_counter()
        if rate:
            for number in range(count):
                await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
                await submit(1)
        else:
            await submit(count)
        _answer(time.perf_counter() - began)


def _parsed(line: str) -> tuple[int, float]:
    count, _, rate = line.strip().partition(" ")
    return int(count), float(rate or 0)


def _answer(value: object) -> None:
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()
