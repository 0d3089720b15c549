"""The response to a client, made from what is stored or is being read."""

from dataclasses import dataclass

from lineshaft_contracts.problems import Problem

from lineshaft_cdn_edge.broadcast import Reader
from lineshaft_cdn_edge.clock import Clock
from lineshaft_cdn_edge.conditional import allows_range, is_not_modified, weak
from lineshaft_cdn_edge.directives import SECONDS_MAX
from lineshaft_cdn_edge.entry import Entry
from lineshaft_cdn_edge.fields import Fields, combined, members, without
from lineshaft_cdn_edge.flights import Incoming
from lineshaft_cdn_edge.messages import Request, Response, Result
from lineshaft_cdn_edge.policy import OTHER
from lineshaft_cdn_edge.ranges import UnsatisfiableError, multipart, parts_of
from lineshaft_cdn_edge.storing import SURROGATE
from lineshaft_cdn_edge.vary import accepted_codings

_OF_THE_BODY = frozenset(
    {"content-encoding", "content-length", "content-md5", "content-range", "content-type"}
)
_OF_THE_PLAIN_FORM = frozenset(
    {"accept-ranges", "content-digest", "content-length", "content-md5", "digest"}
)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How an answer came about, for Cache-Status (RFC 9211) and the counters."""

    result: Result
    parameters: tuple[str, ...] = ()
    """As they are written, without `hit` and `ttl`: `fwd=stale`, `fwd-status=304`, `stored`."""
    shows_age: bool = True
    """Whether the response is used without the origin having been asked for it just now."""


class Answers:
    """Makes responses in the name of one region."""

    def __init__(self, *, region: str, clock: Clock) -> None:
        self._name = f"{SURROGATE}-{region}"
        self._clock = clock

    def from_entry(self, request: Request, entry: Entry, course: Course) -> Response:
        """Answer from a whole stored response: 304, a part, a compressed form, or all of it."""
        fields = self._fields(entry, course)
        success = entry.status == 200
        if success and is_not_modified(request.fields, entry.fields, now=self._clock.wall()):
            return self._not_modified(entry, fields, course)
        if success and request.method == "GET" and "range" in request.fields:
            part = self._part(request, entry, fields, course)
            if part:
                return part
        return self._whole(request, entry, fields, course)

    def from_incoming(
        self, request: Request, incoming: Incoming, body: Reader, course: Course
    ) -> Response:
        """Answer with the body as it arrives at this reader."""
        entry = incoming.entry
        fields = self._fields(entry, course)
        if entry.status == 200 and is_not_modified(
            request.fields, entry.fields, now=self._clock.wall()
        ):
            return self._not_modified(entry, fields, course)
        return Response(
            status=entry.status,
            reason=entry.reason,
            fields=fields,
            body=body,
            length=incoming.length,
            result=course.result,
            asset_class=entry.asset_class,
        )

    def problem(self, problem: Problem, *, detail: str, asset_class: str = OTHER) -> Response:
        """Answer with problem+json; `detail` is the word for it in Cache-Status."""
        fields = Fields(
            {
                "Content-Type": "application/problem+json",
                "Cache-Control": "no-store",
                "Cache-Status": f"{self._name}; detail={detail}",
            }
        )
        if problem.retry_after_seconds is not None:
            fields["Retry-After"] = str(int(problem.retry_after_seconds))
        body = problem.model_dump_json(exclude_none=True).encode()
        return Response(
            status=problem.status,
            fields=fields,
            body=body,
            length=len(body),
            result=Result.ERROR,
            asset_class=asset_class,
        )

    def status_line(self, parameters: tuple[str, ...], upstream: str | None = None) -> str:
        """Write Cache-Status, after the members that caches nearer the origin wrote."""
        mine = "; ".join((self._name, *parameters))
        return f"{upstream}, {mine}" if upstream else mine

    def _fields(self, entry: Entry, course: Course) -> Fields:
        now = self._clock.monotonic()
        fields = entry.fields.copy()
        if course.shows_age:
            fields["Age"] = str(min(int(entry.age(now)), SECONDS_MAX))
        hit = () if any(word.startswith("fwd=") for word in course.parameters) else ("hit",)
        ttl = f"ttl={int(entry.fresh_seconds(now))}"
        fields["Cache-Status"] = self.status_line((*hit, *course.parameters, ttl))
        if entry.granted_control and "cache-control" not in fields:
            fields["Cache-Control"] = entry.granted_control
        if entry.is_negotiated:
            _vary_on_encoding(fields)
        return fields

    def _not_modified(self, entry: Entry, fields: Fields, course: Course) -> Response:
        return Response(
            status=304,
            fields=without(fields, _OF_THE_BODY),
            result=course.result,
            asset_class=entry.asset_class,
        )

    def _part(
        self, request: Request, entry: Entry, fields: Fields, course: Course
    ) -> Response | None:
        """Parts of the plain form; None when the range is to be ignored."""
        length = len(entry.body)
        if not allows_range(request.fields, entry.fields, now=self._clock.wall()):
            return None
        fields = without(fields, {"content-length", "content-md5", "content-digest"})
        status, body = 206, b""
        try:
            parts = parts_of(request.fields["range"], length)
            if parts is None:
                return None
            if len(parts) == 1:
                fields["Content-Range"] = parts[0].content_range(length)
                body = entry.body[parts[0].first : parts[0].last + 1]
            else:
                body, fields["Content-Type"] = multipart(
                    entry.body, parts, entry.fields.get("content-type")
                )
        except UnsatisfiableError:
            status, fields["Content-Range"] = 416, f"bytes */{length}"
        return Response(
            status=status,
            fields=fields,
            body=body,
            length=len(body),
            result=course.result,
            asset_class=entry.asset_class,
        )

    def _whole(self, request: Request, entry: Entry, fields: Fields, course: Course) -> Response:
        body = entry.body
        if entry.is_negotiated and entry.encodings:
            for coding in accepted_codings(combined(request.fields, "accept-encoding")):
                if coding in entry.encodings:
                    body = entry.encodings[coding]
                    fields = encoded(fields, coding)
                    break
        sent = body if request.method == "GET" else b""
        return Response(
            status=entry.status,
            reason=entry.reason,
            fields=fields,
            body=sent,
            length=len(body),
            result=course.result,
            asset_class=entry.asset_class,
            saved_bytes=len(entry.body) - len(body) if sent else 0,
        )


def encoded(fields: Fields, coding: str) -> Fields:
    """Make the fields of a compressed form: its tag is weak, for it is not the same bytes."""
    fields = without(fields, _OF_THE_PLAIN_FORM)
    fields["Content-Encoding"] = coding
    if "etag" in fields:
        fields["ETag"] = weak(fields["etag"])
    return fields


def _vary_on_encoding(fields: Fields) -> None:
    names = members(fields.getall("vary", []))
    if "accept-encoding" not in {name.lower() for name in names}:
        fields["Vary"] = ", ".join([*names, "Accept-Encoding"])
