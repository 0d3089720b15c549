"""What became of each item: in letters while the batch runs, in a file at its end."""

import base64
import csv
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lineshaft_contracts.batches import OutcomeFormat
from lineshaft_contracts.job_parameters import ERRORS_MAX
from lineshaft_contracts.jobs import JobError

from lineshaft_job_runner.job_data import Change
from lineshaft_job_runner.job_type import PermanentError

FAILED = "f"
DONE = "o"
"""A request that was answered, or a job that was submitted."""
WORDS: Mapping[str, str] = {
    Change.INSERTED: "inserted",
    Change.UPDATED: "updated",
    Change.DELETED: "deleted",
    Change.UNCHANGED: "unchanged",
    DONE: "ok",
    FAILED: "failed",
}
MESSAGE_CHARACTERS_MAX = 200
UNSAFE = re.compile(r"(?:^|\n)[=+\-@\t\r]")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection)."""


@dataclass(frozen=True)
class Failure:
    """Why one item was not applied."""

    code: str
    message: str


class ItemError(Exception):
    """An item cannot be applied as it is."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(code, message[:MESSAGE_CHARACTERS_MAX])


@dataclass
class Outcomes:
    """What became of the items of one chunk, by their place in it."""

    letters: list[str]
    failures: dict[int, Failure] = field(default_factory=dict[int, Failure])

    @classmethod
    def of(cls, size: int, failures: Mapping[int, Failure]) -> Self:
        """Begin with the items that failed before anything was tried."""
        outcomes = cls([""] * size)
        for place, failure in failures.items():
            outcomes.fail(place, failure)
        return outcomes

    def fail(self, place: int, failure: Failure) -> None:
        """Note that an item was not applied."""
        self.letters[place] = FAILED
        self.failures[place] = failure

    def note(self) -> dict[str, Any]:
        """Return them as a small JSON document."""
        packed = zlib.compress("".join(self.letters).encode(), 1)
        return {
            "letters": base64.b64encode(packed).decode(),
            "failures": [[place, one.code, one.message] for place, one in self.failures.items()],
        }

    @classmethod
    def noted(cls, note: Mapping[str, Any]) -> Self:
        """Return what `note` gave."""
        letters = zlib.decompress(base64.b64decode(note["letters"])).decode()
        failures = {place: Failure(code, text) for place, code, text in note["failures"]}
        return cls(list(letters), failures)


class Tally:
    """Counts over all chunks, and the first failures; ends the batch when there are too many."""

    def __init__(self, *, failures_max: int) -> None:
        self.letters: Counter[str] = Counter()
        self.replayed = 0
        self.first: list[JobError] = []
        self._failures_max = failures_max

    @property
    def items(self) -> int:
        """How many items have an outcome."""
        return self.letters.total()

    @property
    def failed(self) -> int:
        """How many items failed."""
        return self.letters[FAILED]

    @property
    def failures_left(self) -> int:
        """How many more items may fail."""
        return self._failures_max - self.failed

    def add(self, first: int, outcomes: Outcomes, *, replayed: bool = False) -> None:
        """Count a chunk; its first item has this number, from 0."""
        for place in sorted(outcomes.failures):
            if len(self.first) == ERRORS_MAX:
                break
            failure = outcomes.failures[place]
            message = f"item {first + place + 1}: {failure.message}"
            self.first.append(JobError(code=failure.code, message=message, retryable=False))
        self.letters.update(outcomes.letters)
        self.replayed += len(outcomes.letters) if replayed else 0

    def demote(self, count: int) -> None:
        """Count items as failed that seemed to be done."""
        self.letters[DONE] -= count
        self.letters[FAILED] += count

    def told(self, most: int = 5) -> str:
        """Say the first failures in one line."""
        return "; ".join(error.message for error in self.first[:most])


class TooManyFailuresError(PermanentError):
    """More items failed than the request allows; the message says what was applied."""


class OutcomeFile:
    """Writes a line for each item, in order."""

    def __init__(self, path: Path, kind: OutcomeFormat) -> None:
        self.rows = 0
        self._file = path.open("w", encoding="utf-8", newline="")
        self._kind = kind
        self._names: tuple[str, ...] = ()
        self._csv = csv.writer(self._file, lineterminator="\n")

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def begin(self, names: Sequence[str]) -> None:
        """Say what `keys` will hold; once, before the first line."""
        self._names = ("item", *names, "outcome", "code", "message")
        if self._kind is OutcomeFormat.CSV:
            self._csv.writerow(self._names)

    def write(self, first: int, keys: Sequence[tuple[Any, ...]], outcomes: Outcomes) -> None:
        """Write the lines of a chunk; `keys` has a tuple for each item, of what `begin` named."""
        size = len(outcomes.letters)
        self.rows += size
        # By column: a line is made for each of millions of items.
        columns: list[Iterable[Any]] = [
            range(first + 1, first + size + 1),
            *zip(*keys, strict=True),
            [WORDS[letter] for letter in outcomes.letters],
            *_told(outcomes, size),
        ]
        if self._kind is OutcomeFormat.CSV:
            made = [_cells(one) if number else one for number, one in enumerate(columns)]
            self._csv.writerows(zip(*made, strict=True))
            return
        for line in zip(*columns, strict=True):
            named = dict(zip(self._names, line, strict=True))
            for name in ("code", "message"):
                named[name] = named[name] or None
            self._file.write(json.dumps(named, ensure_ascii=False, default=str) + "\n")


def _told(outcomes: Outcomes, size: int) -> tuple[list[str], list[str]]:
    """Return the codes and the messages, empty for what did not fail."""
    codes, messages = [""] * size, [""] * size
    for place, failure in outcomes.failures.items():
        codes[place], messages[place] = failure.code, failure.message
    return codes, messages


def _cells(column: Iterable[Any]) -> Iterable[Any]:
    cells = list(column)
    if set(map(type, cells)) == {str}:
        joined = "\n".join(cells)
        if joined.isascii() and not UNSAFE.search(joined):
            return cells
    return [_safe(cell) if isinstance(cell, str) else cell for cell in cells]


def _safe(cell: str) -> str:
    if cell.isascii() and not cell.startswith(FORMULA):
        return cell
    text = cell.encode("utf-8", "replace").decode()
    return f"'{text}" if text.startswith(FORMULA) else text
