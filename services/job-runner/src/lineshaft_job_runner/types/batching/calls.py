"""Items that become requests to a service: within a rate, tried again, each with one key."""

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

from lineshaft_contracts.batches import REQUEST_ITEMS_MAX, BatchParameters, ServiceCalls

from lineshaft_job_runner.job_data import Endpoint
from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.batching.answers import Answers
from lineshaft_job_runner.types.batching.members import members, picked, text_of
from lineshaft_job_runner.types.batching.outcomes import (
    DONE,
    ItemError,
    OutcomeFile,
    Tally,
    TooManyFailuresError,
)
from lineshaft_job_runner.types.batching.pacing import LOOK_SECONDS, Pace
from lineshaft_job_runner.types.batching.records import Record, Records
from lineshaft_job_runner.types.batching.requesting import Call, Requests
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

CHUNK_ITEMS = 200
"""Items of one recorded entry."""
FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]{0,62})\}")


class CallBatch:
    """Sends one request for each item, and records durably which are answered."""

    def __init__(
        self,
        context: JobContext,
        parameters: BatchParameters,
        work: ServiceCalls,
        *,
        batch: str,
        tally: Tally,
        file: OutcomeFile,
    ) -> None:
        self._context = context
        self._parameters = parameters
        self._work = work
        self._batch = batch
        self._tally = tally
        self._file = file
        self._endpoint: Endpoint = context.endpoint(work.source)

    async def run(self, records: Records, digest: Callable[[str], None], *, start: int) -> None:
        """Send what is not answered yet; items before `start` are done by an earlier job."""
        self._file.begin(("status",))
        known = await self._context.recorded()
        pace = Pace(self._context, self._work.requests_per_second)
        async with Requests(self._endpoint, self._work, pace) as requests:
            part = 0
            while (taken := await records.take(CHUNK_ITEMS)).records:
                stop_if_cancelled(self._context)
                first = self._tally.items
                if first + len(taken.records) > REQUEST_ITEMS_MAX:
                    raise PermanentError(
                        "batch_too_large",
                        f"a batch of requests has at most {REQUEST_ITEMS_MAX} items: split it",
                    )
                digest(taken.digest)
                progress = Answers(taken, known.get(_entry(part)), batch=self._batch, first=first)
                progress.skip(start - first)
                await self._finish(progress, records, requests, part)
                self._context.progress(*records.progress(), f"{self._tally.items} items")
                part += 1

    async def _finish(
        self, answers: Answers, records: Records, requests: Requests, part: int
    ) -> None:
        """Bring a chunk to its end, and count it."""
        before = answers.answered
        calls: list[tuple[int, Call]] = []
        for place, record in answers.open():
            try:
                calls.append((place, self._call(record, records, answers.first + place)))
            except ItemError as error:
                answers.outcomes.fail(place, error.failure)
        if self._parameters.dry_run:
            for place, _ in calls:
                answers.outcomes.letters[place] = DONE
        else:
            await self._send(answers, calls, requests, part)
        self._tally.add(answers.first, answers.outcomes)
        self._tally.replayed += before
        self._file.write(answers.first, answers.statuses(), answers.outcomes)

    async def _send(
        self,
        answers: Answers,
        calls: list[tuple[int, Call]],
        requests: Requests,
        part: int,
    ) -> None:
        waiting = iter(calls)
        tasks = [
            asyncio.create_task(self._work_off(waiting, answers, requests))
            for _ in range(min(self._work.concurrency, len(calls)))
        ]
        try:
            while tasks and not all(task.done() for task in tasks):
                done, _ = await asyncio.wait(
                    tasks, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in done:
                    task.result()
                stop_if_cancelled(self._context)
                await self._record(answers, part)
            for task in tasks:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._record(answers, part)

    async def _work_off(
        self, waiting: Iterator[tuple[int, Call]], answers: Answers, requests: Requests
    ) -> None:
        for place, call in waiting:
            status, failure = await requests.send(call)
            answers.answer(place, status, failure)
            self._check(answers)

    async def _record(self, answers: Answers, part: int) -> None:
        if answers.is_dirty:
            answers.is_dirty = False
            await self._context.record({_entry(part): answers.note()})

    def _check(self, answers: Answers) -> None:
        failed = len(answers.outcomes.failures)
        if failed <= self._tally.failures_left:
            return
        done = self._tally.items
        self._tally.add(done, answers.outcomes)
        raise TooManyFailuresError(
            "too_many_failures",
            f"more than {self._parameters.max_failures} items failed: {self._tally.told()}. "
            f"Items 1 to {done} are done; resume with {self._batch}@{done}",
        )

    def _call(self, record: Record, records: Records, number: int) -> Call:
        item = members(record, records)
        path = FIELD.sub(lambda found: quote(text_of(item, found[1]), safe=""), self._work.path)
        try:
            url = self._endpoint.resolve(path)
        except PermanentError as error:
            raise ItemError(error.code, str(error)) from None
        body = b""
        if self._work.method != "DELETE" or self._work.body:
            body = json.dumps(picked(item, self._work.body), ensure_ascii=False).encode(
                "utf-8", "replace"
            )
        # With its content: other items under the same batch are other requests.
        content = hashlib.sha256(f"{self._work.method} {url}\n".encode() + body).hexdigest()
        return Call(url=url, body=body, key=f"{self._batch}:{number + 1}:{content[:16]}")


def _entry(part: int) -> str:
    return f"calls{part:06d}"
