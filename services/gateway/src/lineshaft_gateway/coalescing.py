"""Asking once for many: identical reads that are under way at the same time share one answer."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Coalescer:
    """Joins callers that ask for the same thing while the first of them still waits."""

    def __init__(self) -> None:
        self._open: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what `ask` gives; a caller that goes away does not take the others along."""
        task = self._open.get(key)
        if task is None:
            task = asyncio.create_task(self._run(ask))
            self._open[key] = task
            task.add_done_callback(lambda _: self._open.pop(key, None))
            # When every caller went away, nobody is left to be told of a failure.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    @staticmethod
    async def _run(ask: Callable[[], Awaitable[T]]) -> T:
        return await ask()
