"""The monitor's own spans, on their short way into its own buffer."""

import asyncio
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from lineshaft_monitor.settings import MonitorSettings
from lineshaft_monitor.spans import SpanBuffer, decode


class OwnSpans(SpanExporter):
    """Hands spans over inside the process; those from before `connect` are dropped."""

    def __init__(self) -> None:
        self._buffer: SpanBuffer | None = None
        self._loop = asyncio.get_running_loop()

    @classmethod
    def wanted(cls, settings: MonitorSettings) -> "OwnSpans | None":
        """Make one, unless spans are sent elsewhere."""
        return cls() if settings.keeps_own_spans else None

    def connect(self, buffer: SpanBuffer) -> None:
        """Say where spans go."""
        self._buffer = buffer

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take a batch; called in the thread of the span processor."""
        buffer = self._buffer
        if buffer is not None and not self._loop.is_closed():
            decoded, _ = decode(encode_spans(spans).SerializeToString())
            self._loop.call_soon_threadsafe(buffer.take, decoded)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Forget the buffer: nobody stores it any more."""
        self._buffer = None
