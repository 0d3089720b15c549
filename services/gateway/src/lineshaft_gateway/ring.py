"""The last events of the log, in memory and ready to send: encoded once, shared by all streams."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from pydantic_core import from_json, to_json


@dataclass(kw_only=True, slots=True)
class Frame:
    """One event as streams send it, and what they filter by."""

    offset: int
    id: str
    type: str
    tenant: str
    source: str
    subject: str
    text: bytes
    """The `event` and `data` lines; the `id` line, which names the log's epoch, comes before."""

    _encoded: bytes | None = None
    _line: bytes | None = None

    def encoded(self, epoch: str) -> bytes:
        """Write the whole frame, once: the epoch does not change while streams are served."""
        if self._encoded is None:
            self._encoded = b"id: %s-%d\n%s" % (epoch.encode(), self.offset, self.text)
        return self._encoded

    def line(self, epoch: str) -> bytes:
        """Write it as one line of JSON, once: what server-sent events say in three."""
        if self._line is None:
            data = self.text[len(b"event: \ndata: ") + len(self.type.encode()) : -2]
            head = b'{"id":"%s-%d","event":%s,"data":'
            head %= (epoch.encode(), self.offset, to_json(self.type))
            self._line = b"%s%s}\n" % (head, data)
        return self._line


class UnreadableRecordError(ValueError):
    """A record of the log is no CloudEvent."""


def frame_of(offset: int, tenant: str, body: bytes) -> Frame:
    """Make the frame of a record; raises UnreadableRecordError."""
    try:
        event: Any = from_json(body, cache_strings="keys")
        type_, id_, source = str(event["type"]), str(event["id"]), str(event["source"])
        subject = str(event.get("subject") or "")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableRecordError(str(error)[:200]) from None
    if not type_.isprintable():
        raise UnreadableRecordError("its type has control characters")
    if b"\n" in body or b"\r" in body:
        body = to_json(event)
    return Frame(
        offset=offset,
        id=id_,
        type=type_,
        tenant=tenant,
        source=source,
        subject=subject,
        text=b"event: %s\ndata: %s\n\n" % (type_.encode(), body),
    )


class FellBehindError(LookupError):
    """What follows this offset is no longer in the ring."""


class Ring:
    """Bounded by number and by size; offsets grow, and none is missing after the first."""

    def __init__(self, *, frames_max: int, bytes_max: int) -> None:
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._frames: list[Frame] = []
        self._first = 0
        """Index of the oldest frame that counts; what is before it goes when it is worth it."""
        self._bytes = 0
        self.floor = -1
        """Everything after this offset is in the ring."""
        self.head = -1
        """Offset of the newest record."""

    def begin(self, floor: int) -> None:
        """Forget everything; what follows `floor` will be added."""
        self._frames.clear()
        self._first = self._bytes = 0
        self.floor = self.head = floor

    def add(self, frame: Frame) -> None:
        """Add the newest frame; the oldest make room."""
        self._frames.append(frame)
        self._bytes += len(frame.text)
        self.head = frame.offset
        while (
            len(self._frames) - self._first > self._frames_max or self._bytes > self._bytes_max
        ) and self._first < len(self._frames) - 1:
            oldest = self._frames[self._first]
            self._bytes -= len(oldest.text)
            self.floor = oldest.offset
            self._first += 1
        if self._first > len(self._frames) // 4:
            del self._frames[: self._first]
            self._first = 0

    def skip(self, offset: int) -> None:
        """Count a record that has no frame."""
        self.head = offset

    def covers(self, offset: int) -> bool:
        """Whether everything after this offset is here."""
        return offset >= self.floor

    def after(self, offset: int, limit: int, bytes_max: int | None = None) -> list[Frame]:
        """Give the frames that follow an offset; raises FellBehindError.

        At most `bytes_max` bytes of them, but always one when there is one.
        """
        if not self.covers(offset):
            raise FellBehindError(offset)
        start = bisect_right(self._frames, offset, lo=self._first, key=lambda frame: frame.offset)
        frames = self._frames[start : start + limit]
        if bytes_max is not None:
            for count, size in enumerate(accumulate(len(frame.text) for frame in frames)):
                if size > bytes_max:
                    return frames[: max(1, count)]
        return frames

    def find(self, offset: int) -> Frame | None:
        """Give the frame at an offset; None when it has none or is not here."""
        found = self.after(offset - 1, 1) if self.covers(offset - 1) else []
        return found[0] if found and found[0].offset == offset else None
