"""Errors as OpenAI's API has them: `{"error": {"message", "type", "param", "code"}}` with an HTTP status.

In: any exception. Out: an `ApiError`. What is no fault of the client is logged with its traceback and told without it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.responses import JSONResponse

from grammars.errors import (
    BudgetError,
    ConstraintLimitError,
    ConstraintSyntaxError,
    GrammarError,
    UnsatisfiableConstraintError,
    UnsupportedConstraintError,
)
from runtime.errors import EngineStopped, PromptTooLongError, RequestAborted, RequestError
from sgl_lite.errors import ArgumentError

log = logging.getLogger("sgl_lite.server")

_TYPES = {401: "authentication_error", 429: "rate_limit_error"}
_CONSTRAINT_CODES: tuple[tuple[type[GrammarError], str], ...] = (
    (ConstraintSyntaxError, "invalid_constraint"),
    (UnsupportedConstraintError, "unsupported_constraint"),
    (UnsatisfiableConstraintError, "unsatisfiable_constraint"),
    (ConstraintLimitError, "constraint_too_large"),
    (GrammarError, "invalid_constraint"),
)
_BODY_CODES = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter"}
_NAMED = re.compile(r"(\w+)[=:]")
"""How the runtime's messages begin that are about one argument."""


class ApiError(Exception):
    """What the client is told. param: the field at fault, a path with dots. retry_after: seconds."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)


def invalid(param: str, message: str, code: str = "invalid_value") -> ApiError:
    """A 400 about one field."""
    return ApiError(400, f"{param}: {message}", param=param, code=code)


def as_api_error(error: BaseException, param: str | None = None, prompt: str = "prompt") -> ApiError:
    """param: the field that holds the constraint, if there is one. prompt: the field that holds the prompt."""
    match error:
        case ApiError():
            return error
        case BudgetError():
            return ApiError(400, str(error), param="max_tokens", code="max_tokens_too_small")
        case GrammarError():
            code = next(code for kind, code in _CONSTRAINT_CODES if isinstance(error, kind))
            return ApiError(400, f"{param or 'constraint'}: {error}", param=param, code=code)
        case PromptTooLongError():
            return ApiError(400, str(error), param=prompt, code="context_length_exceeded")
        case RequestError() | ArgumentError():
            named = _NAMED.match(str(error))
            field = prompt if named and named[1] == "prompt" else named and named[1]
            return ApiError(400, str(error), param=field, code="invalid_value")
        case RequestAborted():
            return ApiError(504, "the answer took longer than this server allows", code="timeout")
        case EngineStopped():
            return ApiError(503, "the engine has stopped", code="engine_stopped")
        case RecursionError():
            return ApiError(400, "something in the request nests too deeply", param=param, code="invalid_value")
    log.error("unexpected error", exc_info=error)
    return ApiError(500, "the server failed; its log says why", code="internal_error")


def invalid_body(error: ValidationError, body: bytes) -> ApiError:
    """The deepest thing that is wrong with a body: where several types are possible, that of the likeliest one."""
    wrong = error.errors(include_url=False, include_context=False, include_input=False)
    if wrong[0]["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON: {wrong[0]['msg']}", code="invalid_json")
    given = json.loads(body)
    steps, first = max(((_path(one, given), one) for one in wrong), key=lambda pair: len(pair[0]))
    param = ".".join(steps)
    message = {"missing": "this field is needed", "extra_forbidden": "there is no such field"}.get(
        first["type"], first["msg"]
    )
    code = _BODY_CODES.get(first["type"], "invalid_type" if first["type"].endswith("_type") else "invalid_value")
    return ApiError(400, f"{param or 'the body'}: {message}", param=param or None, code=code)


def _path(error: ErrorDetails, value: Any) -> list[str]:
    """Where the error is in the body: pydantic's location without the names of a union's branches."""
    steps: list[str] = []
    location = error["loc"]
    for index, step in enumerate(location):
        if _has(value, step):
            value = value[step]
        elif error["type"] != "missing" or index < len(location) - 1:
            continue
        steps.append(str(step)[:100])
    return steps


def _has(value: Any, step: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, Mapping) and step in value
