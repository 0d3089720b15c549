"""`POST /api/jobs/batch`: many jobs in one call."""

from collections.abc import Callable
from typing import Annotated, Any

from aiohttp import web
from lineshaft_contracts.problems import Problem, ProblemError
from pydantic import BaseModel, ConfigDict, Field

from lineshaft_gateway.job_batch import BATCH_BYTES_MAX, BATCH_MAX, BatchDesk, BatchResult
from lineshaft_gateway.job_checks import IDEMPOTENCY_KEY
from lineshaft_gateway.job_submission import Submission
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.limits import StreamLimits
from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.guard import read_bytes, unsupported_type
from lineshaft_gateway.routes.job_schema import submission_schema
from lineshaft_gateway.routes.jobs import SUBMISSION_EXAMPLE

BATCHES_MAX = 4
"""Read at once: together with BATCH_BYTES_MAX it bounds the memory."""
BATCHES_PER_TENANT_MAX = 2


class Batch(BaseModel):
    """Jobs to run; each is accepted or refused by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    jobs: Annotated[tuple[Submission, ...], Field(min_length=1, max_length=BATCH_MAX)]


class BatchRoutes:
    """Handlers."""

    def __init__(self, desk: BatchDesk) -> None:
        self._desk = desk
        self._places = StreamLimits(
            total_max=BATCHES_MAX, per_tenant_max=BATCHES_PER_TENANT_MAX, problem=TOO_MANY_BATCHES
        )

    async def submit(self, call: Call) -> web.Response:
        """200 when all were decided, 202 when the job-runner was away for some."""
        if call.request.content_type != "application/json":
            raise ProblemError(unsupported_type(self.operation))
        with self._places.opened(call.principal.tenant):
            result = await self._desk.submit(
                await read_bytes(call.request, BATCH_BYTES_MAX),
                tenant=call.principal.tenant,
                header_key=call.request.headers.get(IDEMPOTENCY_KEY),
            )
        return json_answer(result, status=202 if result.accepted else 200)

    @property
    def operation(self) -> Operation:
        """The row of the route table."""
        return Operation(
            id="submitJobs",
            method="POST",
            path="/api/jobs/batch",
            tag="Jobs",
            summary="Submit many jobs",
            description=(
                f"Up to {BATCH_MAX:,} jobs and {BATCH_BYTES_MAX // 1024**2} MiB in one call; one "
                "that is refused does not hinder the others. Every job whose outcome is not "
                "`refused` is durable."
            ),
            handle=self.submit,
            scope=Scope.JOBS_WRITE,
            reads_body=False,
            body=Batch,
            body_schema=batch_schema,
            parameters=(
                Parameter(
                    name=IDEMPOTENCY_KEY,
                    place="header",
                    description="For all jobs without a key of their own: key, `/` and index.",
                    schema={"type": "string", "maxLength": 251},
                ),
            ),
            answers=(
                Answer(status=200, description="What became of each", model=BatchResult),
                Answer(
                    status=202,
                    description="The job-runner is away; those `accepted` are safe",
                    model=BatchResult,
                ),
            ),
            problems={
                413: "body_too_large, batch_too_large",
                429: "too_many_requests, too_many_batches",
            },
            example={"jobs": [SUBMISSION_EXAMPLE, {**SUBMISSION_EXAMPLE, "priority": "low"}]},
        )

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (self.operation,)


def batch_schema(reference: Callable[[type[BaseModel]], str]) -> dict[str, Any]:
    """Write it with the conditions of a submission."""
    return {
        "type": "object",
        "properties": {
            "jobs": {
                "type": "array",
                "minItems": 1,
                "maxItems": BATCH_MAX,
                "items": submission_schema(reference),
            }
        },
        "required": ["jobs"],
        "additionalProperties": False,
    }


TOO_MANY_BATCHES = Problem(
    code="too_many_batches",
    title="Too many batches are under way",
    detail="Wait for the answer to one of them.",
    status=429,
    retry_after_seconds=1,
)
