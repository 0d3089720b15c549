"""The schema of a submission: what `parameters` must be follows from `type`."""

from collections.abc import Callable
from typing import Any

from lineshaft_contracts.job_types import BUILT_IN
from pydantic import BaseModel

from lineshaft_gateway.job_submission import Submission


def submission_schema(reference: Callable[[type[BaseModel]], str]) -> dict[str, Any]:
    """Write it with a condition for each built-in type."""
    return {
        "allOf": [
            {"$ref": reference(Submission)},
            *(
                {
                    "if": {"required": ["type"], "properties": {"type": {"const": name}}},
                    "then": {
                        "properties": {"parameters": {"$ref": reference(parameters)}},
                        "required": ["parameters"],
                    },
                }
                for name, (parameters, _) in sorted(BUILT_IN.items())
            ),
        ]
    }
