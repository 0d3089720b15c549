"""Reads a REST resource page by page: by number, by offset, by cursor or by link."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any, NoReturn, Protocol, cast
from urllib.parse import quote, urlencode, urljoin, urlsplit

from lineshaft_contracts.inventory_sources import (
    CursorPages,
    LinkedPages,
    NumberedPages,
    OffsetPages,
    StockPages,
)

from lineshaft_job_runner.job_type import PermanentError
from lineshaft_job_runner.types.inventory.requesting import Answer
from lineshaft_job_runner.types.inventory.stating import field

Record = dict[str, Any]


class Requests(Protocol):
    """Sends requests; see `Requester`."""

    async def get(self, path: str) -> Answer:
        """Fetch a path and query."""
        ...


async def read_pages(
    requests: Requests, pages: StockPages, query: Mapping[str, str]
) -> AsyncIterator[tuple[bytes, list[Record]]]:
    """Yield the body and the objects of each page, until the resource says that it was the last.

    `query` is sent with each request. Raises PermanentError for an answer of another shape, for
    more than `pages_max` pages, and for a page that leads to one that was read already.
    """
    path: str | None = _path(pages.path, {**query, **_first(pages)})
    seen: set[str] = set()
    read = 0
    for number in range(1, pages.pages_max + 1):
        if path in seen:
            raise PermanentError(
                "pages_repeat",
                f"page {number} of {pages.path!r} is one that was read already: its paging goes "
                "round in circles",
            )
        seen.add(path)
        answer = await requests.get(path)
        document = parse(answer.body)
        records = objects_at(document, pages.items)
        yield answer.body, records
        read += len(records)
        path = _following(
            pages, query, answer, document, page=number, size=len(records), read=read
        )
        if path is None:
            return
    raise PermanentError(
        "pages_too_many",
        f"{pages.path!r} has more than {pages.pages_max} pages: ask for larger ones, or raise "
        "pages_max",
    )


def _first(pages: StockPages) -> dict[str, str]:
    match pages.paging:
        case NumberedPages(parameter=parameter, first=first):
            return {parameter: str(first), **_size(pages.paging)}
        case OffsetPages(parameter=parameter):
            return {parameter: "0", **_size(pages.paging)}
        case CursorPages() | LinkedPages():
            return {}


def _size(paging: NumberedPages | OffsetPages) -> dict[str, str]:
    return {paging.size_parameter: str(paging.size)} if paging.size_parameter else {}


def _following(
    pages: StockPages,
    query: Mapping[str, str],
    answer: Answer,
    document: Any,
    *,
    page: int,
    size: int,
    read: int,
) -> str | None:
    """Give the path of the next page; None after the last one."""
    paging = pages.paging
    match paging:
        case NumberedPages():
            number = {paging.parameter: str(paging.first + page), **_size(paging)}
            return _path(pages.path, {**query, **number}) if size >= _least(paging) else None
        case OffsetPages():
            offset = {paging.parameter: str(read), **_size(paging)}
            return _path(pages.path, {**query, **offset}) if size >= _least(paging) else None
        case CursorPages():
            cursor = field(document, paging.next)
            if isinstance(cursor, bool) or not isinstance(cursor, str | int) or cursor == "":
                return None
            return _path(pages.path, {**query, paging.parameter: str(cursor)})
        case LinkedPages():
            return next_link(answer)


def _least(paging: NumberedPages | OffsetPages) -> int:
    """Give how many objects a page has at least that another one follows."""
    return paging.size if paging.end == "short" else 1


def _path(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query, quote_via=quote)}" if query else path


_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[a-zA-Z*]+\s*=\s*(?:\"[^\"]*\"|[^\s\";,]+))*)")
_REL = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s\";,]+))", re.IGNORECASE)


def next_link(answer: Answer) -> str | None:
    """Find the link with the relation `next` (RFC 8288), as path and query of the same service."""
    for target, parameters in _LINK.findall(answer.link):
        relation = _REL.search(parameters)
        if relation and "next" in (relation[1] or relation[2]).lower().split():
            here, there = urlsplit(answer.url), urlsplit(urljoin(answer.url, target))
            if (here.scheme, here.netloc) != (there.scheme, there.netloc):
                raise PermanentError(
                    "source_path_refused", f"the next page {target[:200]!r} is of another service"
                )
            return there.path + (f"?{there.query}" if there.query else "")
    return None


def parse(body: bytes) -> Any:
    """Read JSON with exact numbers; raises PermanentError for anything else."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise PermanentError(
            "source_answer_unfit", f"the source does not answer JSON: {error}"
        ) from None


def objects_at(document: Any, path: str | None) -> list[Record]:
    """Return the array of objects at a path; raises PermanentError when there is none."""
    found = document if path is None else field(document, path)
    if not isinstance(found, list) or not all(
        isinstance(one, dict) for one in cast("list[object]", found)
    ):
        where = "the answer" if path is None else f"{path!r} of the answer"
        raise PermanentError(
            "source_answer_unfit", f"{where} is no array of objects; correct `items`"
        )
    return cast("list[Record]", found)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
