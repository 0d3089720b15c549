"""Whether this process can do its work now: named checks, each with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

Check = Callable[[], Awaitable[object]]

CHECK_DEADLINE_SECONDS = 2.0


class Health:
    """The readiness of a process. Liveness is that it answers at all."""

    def __init__(self, checks: Mapping[str, Check] | None = None) -> None:
        self._checks = dict(checks or {})

    async def examine(self) -> dict[str, str]:
        """Run all checks at once; `pass` or what is wrong, by name."""
        outcomes = await asyncio.gather(*map(self._run, self._checks.values()))
        return dict(zip(self._checks, outcomes, strict=True))

    @staticmethod
    async def _run(check: Check) -> str:
        try:
            async with asyncio.timeout(CHECK_DEADLINE_SECONDS):
                await check()
        except TimeoutError:
            return f"no answer within {CHECK_DEADLINE_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 - any failure is the answer.
            return f"{type(error).__name__}: {error}"[:200]
        return "pass"
