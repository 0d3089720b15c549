"""Cursors of lists: the id of the last entry, since ids are time-ordered."""

from uuid import UUID

from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError


def read_cursor(text: str | None) -> UUID | None:
    """Read a cursor, which is an id; problem `invalid_input` for anything else."""
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise ProblemError(
            Problem(
                code="invalid_input",
                title="The cursor is not one of ours",
                status=422,
                errors=(
                    FieldProblem(
                        pointer="/cursor", code="cursor", message="pass next_cursor unchanged"
                    ),
                ),
            )
        ) from None
