"""Which events of the log one stream wants, and may see."""

from dataclasses import dataclass, field

from lineshaft_gateway.ring import Frame

TYPES_CACHED_MAX = 500


@dataclass(frozen=True, kw_only=True)
class StreamFilter:
    """All conditions must hold; `tenants` is what the key may see, the others what it asked."""

    tenants: frozenset[str]
    types: tuple[str, ...] = ()
    """Exact, or a prefix when it ends with `*`; any of them; empty for all."""
    source: str = ""
    """A prefix that ends at a `/` or at the end."""
    subject: str | None = None
    _by_type: dict[str, bool] = field(default_factory=dict[str, bool], repr=False, compare=False)

    def wants(self, frame: Frame) -> bool:
        """Whether the stream gets this event."""
        return (
            frame.tenant in self.tenants
            and self._wants_type(frame.type)
            and (not self.source or _below(frame.source, self.source))
            and (self.subject is None or frame.subject == self.subject)
        )

    def _wants_type(self, type_: str) -> bool:
        if not self.types:
            return True
        known = self._by_type.get(type_)
        if known is None:
            known = any(
                type_.startswith(one[:-1]) if one.endswith("*") else type_ == one
                for one in self.types
            )
            if len(self._by_type) < TYPES_CACHED_MAX:
                self._by_type[type_] = known
        return known


def _below(source: str, prefix: str) -> bool:
    """Whether a source is the equipment of the prefix or below it: /a/b is not below /a/bc."""
    prefix = prefix.rstrip("/")
    return source == prefix or source.startswith(f"{prefix}/")
