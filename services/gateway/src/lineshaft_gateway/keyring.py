"""Recognising the key of a request without asking the database each time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from lineshaft_common.transient import is_transient
from lineshaft_contracts.problems import Problem, ProblemError

from lineshaft_gateway.keys import ApiKey, KeyStore, Principal, parse

log = structlog.get_logger(__name__)

FRESH_SECONDS = 5.0
"""How long another gateway may go on accepting a key after it was revoked here."""
STALE_SECONDS = 300.0
"""How long known keys are accepted while the database is away."""
CACHED_MAX = 10_000


class Keyring:
    """Answers who a key belongs to; remembers keys, and prefixes that are none, for a moment."""

    def __init__(self, store: KeyStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._cache: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()

    async def recognise(self, text: str) -> Principal | None:
        """Return whose valid key this is; None when it is nobody's."""
        parts = parse(text)
        if parts is None:
            return None
        prefix, secret = parts
        key = await self._find(prefix)
        if key is None or not key.matches(secret) or not key.is_valid(datetime.now(UTC)):
            return None
        return Principal(
            prefix=prefix, tenant=key.tenant, scopes=key.scopes, expires_at=key.expires_at
        )

    def knows(self, text: str) -> bool:
        """Whether this is a key that was valid when it was looked up last, however long ago."""
        prefix, secret = parse(text) or ("", "")
        _, key = self._cache.get(prefix, (0.0, None))
        return key is not None and key.matches(secret) and key.is_valid(datetime.now(UTC))

    async def is_valid(self, principal: Principal) -> bool:
        """Whether the key that was recognised before still is valid."""
        key = await self._find(principal.prefix)
        return key is not None and key.is_valid(datetime.now(UTC))

    def forget(self, prefix: str) -> None:
        """Ask the database again at the next use."""
        self._cache.pop(prefix, None)

    async def _find(self, prefix: str) -> ApiKey | None:
        now = self._clock()
        cached = self._cache.get(prefix)
        if cached is not None and now - cached[0] < FRESH_SECONDS:
            return cached[1]
        try:
            key = await self._store.find(prefix)
        except Exception as error:
            if not is_transient(error):
                raise
            if cached is not None and now - cached[0] < STALE_SECONDS:
                log.warning("key_store_away", error=repr(error)[:200])
                return cached[1]
            raise ProblemError(AWAY) from error
        self._cache[prefix] = (now, key)
        self._cache.move_to_end(prefix)
        while len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)
        return key


AWAY = Problem(
    code="login_unavailable",
    title="Keys cannot be checked now",
    detail="The gateway's database is away. Try again.",
    status=503,
    retry_after_seconds=2,
)
