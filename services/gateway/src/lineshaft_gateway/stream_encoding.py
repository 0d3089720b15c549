"""How a live stream is written: as server-sent events, or as lines of JSON for WebSockets."""

from typing import Protocol

from pydantic_core import to_json

from lineshaft_gateway.ring import Frame


class Encoding(Protocol):
    """Writes what one stream is told; the pieces may be joined."""

    opening: bytes
    """What comes first."""
    heartbeat: bytes
    """What shows that the stream is alive; one chunk of its own."""

    def frame(self, frame: Frame, epoch: str) -> bytes:
        """Write an event of the log."""
        ...

    def event(self, name: str, data: dict[str, str], id_: str | None) -> bytes:
        """Write an event of the stream's own, and the position that it stands for."""
        ...


class ServerSentEvents:
    """The `text/event-stream` of the HTML standard."""

    opening = b"retry: 2000\n\n"
    heartbeat = b": heartbeat\n\n"

    def frame(self, frame: Frame, epoch: str) -> bytes:
        """See Encoding."""
        return frame.encoded(epoch)

    def event(self, name: str, data: dict[str, str], id_: str | None) -> bytes:
        """See Encoding."""
        line = b"" if id_ is None else b"id: %s\n" % id_.encode()
        return line + b"event: %s\ndata: %s\n\n" % (name.encode(), to_json(data))


class JsonLines:
    """One object `{"id", "event", "data"}` per line; whoever sends it pings at a heartbeat."""

    opening = b""
    heartbeat = b""

    def frame(self, frame: Frame, epoch: str) -> bytes:
        """See Encoding."""
        return frame.line(epoch)

    def event(self, name: str, data: dict[str, str], id_: str | None) -> bytes:
        """See Encoding."""
        return to_json({"id": id_, "event": name, "data": data}) + b"\n"


SERVER_SENT_EVENTS = ServerSentEvents()
JSON_LINES = JsonLines()
