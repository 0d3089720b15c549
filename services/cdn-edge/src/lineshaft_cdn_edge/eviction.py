"""Which of the stored things to give up: S3-FIFO, with sizes.

Source: Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023). New things
wait in a small queue; only what is asked for again there, or soon after it fell out, enters the
main queue. So a scan over many things that nobody asks for twice pushes nothing useful out.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SMALL_FRACTION = 0.1
_USES_MAX = 3
_USES_TO_STAY = 2


class S3Fifo(Generic[K]):
    """Keeps the order of keys and their weights; the caller drops what `evict` returns."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._small_max = int(weight_max * _SMALL_FRACTION)
        self._small: dict[K, int] = {}
        self._main: dict[K, int] = {}
        self._ghost: dict[K, int] = {}
        self._uses: dict[K, int] = {}
        self._small_weight = 0
        self._main_weight = 0
        self._ghost_weight = 0

    @property
    def weight(self) -> int:
        """Weight of all that is kept."""
        return self._small_weight + self._main_weight

    def __contains__(self, key: K) -> bool:
        return key in self._uses

    def __len__(self) -> int:
        return len(self._uses)

    def hit(self, key: K) -> None:
        """Note a use."""
        uses = self._uses[key]
        if uses < _USES_MAX:
            self._uses[key] = uses + 1

    def admits(self, key: K, weight: int) -> bool:
        """Whether to keep a thing at all: a big one must not flush many on its first use."""
        if weight > self._weight_max:
            return False
        fits = self.weight + weight <= self._weight_max
        if fits or weight <= max(self._small_max, 1) or key in self._ghost or key in self._uses:
            return True
        self._remember(key, weight)
        return False

    def add(self, key: K, weight: int) -> None:
        """Keep a thing, or change the weight of one that is kept."""
        if key in self._main:
            self._main_weight += weight - self._main[key]
            self._main[key] = weight
        elif key in self._small:
            self._small_weight += weight - self._small[key]
            self._small[key] = weight
        elif key in self._ghost:
            self._ghost_weight -= self._ghost.pop(key)
            self._enter_main(key, weight, uses=0)
        else:
            self._small[key] = weight
            self._small_weight += weight
            self._uses[key] = 0

    def remove(self, key: K) -> None:
        """Forget a thing entirely."""
        self._uses.pop(key, None)
        self._small_weight -= self._small.pop(key, 0)
        self._main_weight -= self._main.pop(key, 0)

    def evict(self) -> list[K]:
        """Give up keys until the weight is within its bound."""
        victims: list[K] = []
        while self.weight > self._weight_max:
            if self._small and (self._small_weight > self._small_max or not self._main):
                self._shrink_small(victims)
            else:
                self._shrink_main(victims)
        return victims

    def _shrink_small(self, victims: list[K]) -> None:
        key = next(iter(self._small))
        weight = self._small.pop(key)
        self._small_weight -= weight
        uses = self._uses.pop(key)
        if uses >= _USES_TO_STAY:
            self._enter_main(key, weight, uses=0)
        else:
            self._remember(key, weight)
            victims.append(key)

    def _shrink_main(self, victims: list[K]) -> None:
        key = next(iter(self._main))
        weight = self._main.pop(key)
        self._main_weight -= weight
        uses = self._uses.pop(key)
        if uses:
            self._enter_main(key, weight, uses=uses - 1)
        else:
            victims.append(key)

    def _enter_main(self, key: K, weight: int, *, uses: int) -> None:
        self._main[key] = weight
        self._main_weight += weight
        self._uses[key] = uses

    def _remember(self, key: K, weight: int) -> None:
        self._ghost_weight += weight - self._ghost.pop(key, 0)
        self._ghost[key] = weight
        while self._ghost_weight > self._weight_max:
            self._ghost_weight -= self._ghost.pop(next(iter(self._ghost)))
