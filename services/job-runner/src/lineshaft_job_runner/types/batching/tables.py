"""Items that are rows of a table: chunk after chunk, each with its part of the ledger."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

from lineshaft_contracts.batches import ITEMS_MAX, BatchMode, BatchParameters, TableChange

from lineshaft_job_runner.job_data import (
    Change,
    Noted,
    Operation,
    RowsRefusedError,
    Staging,
    Target,
    Transaction,
)
from lineshaft_job_runner.job_type import JobContext, PermanentError, RetryableError
from lineshaft_job_runner.types.batching.outcomes import (
    MESSAGE_CHARACTERS_MAX,
    Failure,
    OutcomeFile,
    Outcomes,
    Tally,
    TooManyFailuresError,
)
from lineshaft_job_runner.types.batching.records import Records
from lineshaft_job_runner.types.batching.rows import RowChunk, Shape
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

TRIES = 4
RETRIED = frozenset({"source_locked", "source_conflict"})
"""What passes by itself: rows that somebody else holds, and deadlocks."""
WAIT_SECONDS = 0.2

REFUSALS = {
    Operation.INSERT: Failure("item_key_exists", "the key is there, with other values"),
    Operation.UPDATE: Failure("item_key_unknown", "the key is not there"),
}


class _TakenBackError(Exception):
    """Ends a transaction whose changes are not to stay."""


class _Ahead:
    """Reads the next chunk while the database works on the one before."""

    def __init__(self, read: Callable[[], Coroutine[Any, Any, RowChunk]]) -> None:
        self._read = read
        self._reading: asyncio.Task[RowChunk] | None = None

    def begin(self) -> None:
        """Begin now: whoever knows when there is nothing else to do says so."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())

    async def take(self) -> RowChunk:
        """Return the next chunk, an empty one at the end."""
        self.begin()
        reading = self._reading or asyncio.create_task(self._read())
        chunk = await reading
        self._reading = None
        return chunk

    async def close(self) -> None:
        """Wait: a thread cannot be stopped, and must not outlive the file that it reads."""
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)


class TableBatch:
    """Applies one batch to one entity."""

    def __init__(
        self,
        context: JobContext,
        parameters: BatchParameters,
        change: TableChange,
        *,
        batch: str,
        tally: Tally,
        file: OutcomeFile,
    ) -> None:
        self._context = context
        self._parameters = parameters
        self._change = change
        self._batch = batch
        self._tally = tally
        self._file = file
        self._read_ahead: Callable[[], None] = _nothing
        self._operation = Operation(change.operation)
        self._work = hashlib.sha256(change.model_dump_json().encode()).hexdigest()
        self._is_one = parameters.dry_run or parameters.mode is BatchMode.ALL_OR_NOTHING

    async def run(self, records: Records, digest: Callable[[str], None]) -> None:
        """Apply every item; raises TooManyFailuresError when more fail than may."""
        async with self._context.target(self._change.source) as target:
            entity = target.entity(self._change.entity)
            self._file.begin(entity.key)
            shape = Shape(entity, self._change, records)
            if not self._is_one:
                async with aclosing(self._chunks(records, shape, digest)) as chunks:
                    async for part, chunk in chunks:
                        await self._patiently(target, shape, part, chunk)
                return
            with suppress(_TakenBackError):
                async with (
                    target.transaction() as transaction,
                    aclosing(self._chunks(records, shape, digest)) as chunks,
                ):
                    async for part, chunk in chunks:
                        outcomes, replayed = await self._apply(transaction, shape, part, chunk)
                        self._keep(chunk, outcomes, replayed=replayed)
                    if self._parameters.dry_run:
                        raise _TakenBackError
                    if self._tally.failed:
                        raise self._rejected()

    async def _chunks(
        self, records: Records, shape: Shape, digest: Callable[[str], None]
    ) -> AsyncGenerator[tuple[int, RowChunk]]:
        """Convert items, and read the next ones while the database works on these."""
        ahead = _Ahead(partial(self._read, records, shape))
        self._read_ahead = ahead.begin
        part = 0
        try:
            while (chunk := await ahead.take()).keys:
                stop_if_cancelled(self._context)
                if self._tally.items + len(chunk.keys) > ITEMS_MAX:
                    raise PermanentError(
                        "batch_too_large", f"a batch has at most {ITEMS_MAX} items: split it"
                    )
                digest(chunk.digest)
                yield part, chunk
                done, total = records.progress()
                self._context.progress(min(done, total), total, f"{self._tally.items} items")
                part += 1
        finally:
            await ahead.close()

    async def _read(self, records: Records, shape: Shape) -> RowChunk:
        taken = await records.take(self._change.chunk_rows)
        return await asyncio.to_thread(shape.convert, taken)

    async def _patiently(self, target: Target, shape: Shape, part: int, chunk: RowChunk) -> None:
        """Apply a chunk in a transaction of its own, again when others were in the way."""
        for number in range(1, TRIES + 1):
            try:
                async with target.transaction() as transaction:
                    outcomes, replayed = await self._apply(transaction, shape, part, chunk)
            except RetryableError as error:
                if error.code not in RETRIED or number == TRIES:
                    raise
                stop_if_cancelled(self._context)
                await asyncio.sleep(WAIT_SECONDS * 2**number)
            else:
                self._keep(chunk, outcomes, replayed=replayed)
                return

    async def _apply(
        self, transaction: Transaction, shape: Shape, part: int, chunk: RowChunk
    ) -> tuple[Outcomes, bool]:
        """Return the outcomes of a chunk, and whether they were noted before."""
        digest, batch = f"{self._work}:{chunk.digest}", self._batch
        noted = await transaction.claim(batch, part, digest)
        if noted is not None and noted.digest != digest:
            self._check_same_work(noted)
            # What the query gives has changed since; these operations may be repeated.
            batch = f"{batch}~{chunk.digest[:32]}"
            noted = await transaction.claim(batch, part, digest)
        if noted is not None:
            return Outcomes.noted(noted.note), True
        outcomes = Outcomes.of(len(chunk.keys), chunk.failures)
        self._check(outcomes)
        if chunk.rows:
            staging = await transaction.stage(self._change.entity, shape.columns, chunk.rows)
            self._read_ahead()
            await self._merge(transaction, staging, chunk, outcomes)
        await transaction.note(batch, part, outcomes.note())
        return outcomes, False

    async def _merge(
        self, transaction: Transaction, staging: Staging, chunk: RowChunk, outcomes: Outcomes
    ) -> None:
        """Apply all rows at once; when the database refuses some, find them by halving."""
        waiting = [range(staging.rows)]
        while waiting:
            stop_if_cancelled(self._context)
            rows = waiting.pop()
            try:
                letters = await transaction.apply(
                    staging, self._operation, add=self._change.add, within=rows
                )
            except RowsRefusedError as error:
                if len(rows) > 1:
                    middle = rows.start + len(rows) // 2
                    waiting += [range(middle, rows.stop), range(rows.start, middle)]
                    continue
                message = f"{error} (SQLSTATE {error.sqlstate})"[:MESSAGE_CHARACTERS_MAX]
                outcomes.fail(chunk.places[rows.start], Failure("item_refused", message))
            else:
                for row, letter in zip(rows, letters, strict=True):
                    outcomes.letters[chunk.places[row]] = letter
                    if letter == Change.REFUSED:
                        outcomes.fail(chunk.places[row], REFUSALS[self._operation])
            self._check(outcomes)

    def _keep(self, chunk: RowChunk, outcomes: Outcomes, *, replayed: bool) -> None:
        first = self._tally.items
        self._tally.add(first, outcomes, replayed=replayed)
        self._file.write(first, chunk.keys, outcomes)

    def _check(self, outcomes: Outcomes) -> None:
        """Raise when more items have failed than may, before anything of the chunk is kept."""
        if len(outcomes.failures) <= self._tally.failures_left:
            return
        done = self._tally.items
        self._tally.add(done, outcomes)
        if self._parameters.mode is BatchMode.ALL_OR_NOTHING and not self._parameters.dry_run:
            raise self._rejected()
        raise TooManyFailuresError(
            "too_many_failures",
            f"more than {self._parameters.max_failures} items failed: {self._tally.told()}. "
            + (
                "Nothing was applied"
                if self._is_one
                else f"Items 1 to {done} are done; resume with {self._batch}@{done}"
            ),
        )

    def _rejected(self) -> PermanentError:
        return PermanentError(
            "batch_rejected",
            f"{self._tally.failed} items failed and nothing was applied: {self._tally.told()}. "
            "With dry_run the outcome of each item is written to a file",
        )

    def _check_same_work(self, noted: Noted) -> None:
        if noted.digest.partition(":")[0] != self._work or self._change.add:
            raise PermanentError(
                "batch_changed",
                f"items {self._tally.items + 1} and following of batch {self._batch!r} were "
                "applied before, but they, or what is done with them, differ now: use another "
                "batch_id",
            )


def _nothing() -> None:
    """Read nothing ahead."""
