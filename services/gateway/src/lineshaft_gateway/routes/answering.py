"""Writing a model as a JSON response."""

from aiohttp import web
from pydantic import BaseModel
from pydantic_core import to_json


def json_answer(
    model: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Write the model as it is declared; absent values are null."""
    return web.Response(
        body=to_json(model, inf_nan_mode="null"),
        status=status,
        headers={"Content-Type": "application/json; charset=utf-8", **(headers or {})},
    )
