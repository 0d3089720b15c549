"""What a service answered to the items of one chunk, as it is kept for other attempts."""

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from lineshaft_job_runner.job_type import PermanentError
from lineshaft_job_runner.types.batching.outcomes import DONE, Failure, Outcomes
from lineshaft_job_runner.types.batching.records import Record, RecordChunk


class Answers:
    """Items of a chunk, by their place in it: open until they are answered."""

    def __init__(
        self, taken: RecordChunk, noted: Mapping[str, Any] | None, *, batch: str, first: int
    ) -> None:
        self.first = first
        self.outcomes = Outcomes.of(len(taken.records), taken.failures)
        self.answered = 0
        """Items that an earlier attempt, or job, brought to an end."""
        self.is_dirty = False
        self._taken = taken
        self._statuses: dict[int, int] = {}
        if noted is not None:
            self._take_over(noted, batch)

    def skip(self, count: int) -> None:
        """Take the first items for done by an earlier job."""
        for place in range(min(max(count, 0), len(self.outcomes.letters))):
            if not self.outcomes.letters[place]:
                self.outcomes.letters[place] = DONE
                self.answered += 1

    def open(self) -> Iterator[tuple[int, Record]]:
        """Iterate over the items that have no outcome yet."""
        for place, record in enumerate(self._taken.records):
            if record is not None and not self.outcomes.letters[place]:
                yield place, record

    def answer(self, place: int, status: int | None, failure: Failure | None) -> None:
        """Note an answer; None for `failure` when it is a good one."""
        self.is_dirty = True
        if status is not None:
            self._statuses[place] = status
        if failure is None:
            self.outcomes.letters[place] = DONE
        else:
            self.outcomes.fail(place, failure)

    def statuses(self) -> list[tuple[int | None]]:
        """Return the HTTP status for each item."""
        return [(self._statuses.get(place),) for place in range(len(self.outcomes.letters))]

    def note(self) -> dict[str, Any]:
        """Return what is answered, as a JSON document of at most 2 KiB."""
        # Without those that got no answer at all: another attempt tries them again.
        answers = {place: status for place, status in self._statuses.items() if status}
        packed = zlib.compress(json.dumps(answers, separators=(",", ":")).encode(), 9)
        failed = "".join(
            "1" if place in self.outcomes.failures else "0"
            for place in range(len(self.outcomes.letters))
        )
        return {
            "digest": self._taken.digest,
            "answers": base64.b64encode(packed).decode(),
            "failed": f"{int('1' + failed, 2):x}",
        }

    def _take_over(self, noted: Mapping[str, Any], batch: str) -> None:
        if noted["digest"] != self._taken.digest:
            raise PermanentError(
                "batch_changed",
                f"items {self.first + 1} and following differ from those that an earlier attempt "
                f"sent; submit the batch again with resume {batch}@{self.first}",
            )
        answers = json.loads(zlib.decompress(base64.b64decode(noted["answers"])))
        failed = f"{int(noted['failed'], 16):b}"[1:]
        for key, status in answers.items():
            place = int(key)
            refused = Failure("http_refused", f"HTTP {status} in an earlier attempt")
            self.answer(place, status, refused if failed[place] == "1" else None)
        self.answered = len(answers)
        self.is_dirty = False
