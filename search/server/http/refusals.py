"""Errors as HTTP answers: a status, a kind, and the sentence that a person is told."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ....schemas.errors import (
    LibraryError,
    MediaError,
    ModelError,
    VidsimError,
)
from ....schemas.results import Result


class ForbiddenError(VidsimError):
    """A request that is not allowed: another site's, without the token, or out of bounds."""


class TooLargeError(VidsimError):
    """An upload that is over a limit."""


class ConflictError(VidsimError):
    """A request that contradicts an earlier one."""


class BusyError(VidsimError):
    """More requests wait than may.

    Attributes:
        retry_s: After how many seconds to ask again.
    """

    def __init__(self, retry_s: float) -> None:
        """Say when to ask again."""
        self.retry_s = max(1, math.ceil(retry_s))
        super().__init__(f"The server has too much to do; ask again in {self.retry_s} s.")


_STATUS: Mapping[type[VidsimError], int] = {
    ForbiddenError: 403,
    LibraryError: 404,
    ConflictError: 409,
    TooLargeError: 413,
    MediaError: 422,
    ModelError: 422,
    BusyError: 429,
}
"""503 for all others: what is asked is right, and cannot be answered now."""


class Refusal(Result):
    """Why a request was not answered."""

    kind: str = Field(description="of error, such as LibraryError", examples=["LibraryError"])
    message: str = Field(
        description="one sentence that says what to do next",
        examples=["Nothing is stored yet; run 'vidsim ingest FOLDER' first."],
    )


class Refused(Result):
    """The body of every answer that is no success."""

    error: Refusal


def refused(kind: str, message: str, status: int) -> JSONResponse:
    """Return the answer to a request that is not served."""
    body = Refused(error=Refusal(kind=kind, message=message))
    return JSONResponse(body.model_dump(), status)


def answer_errors(app: FastAPI) -> None:
    """Have an app answer every error in one form."""
    app.add_exception_handler(VidsimError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)


def _ours(_: Request, error: Exception) -> JSONResponse:
    status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 503)
    answer = refused(type(error).__name__, str(error), status)
    if isinstance(error, BusyError):
        answer.headers["Retry-After"] = str(error.retry_s)
    return answer


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    why = first["msg"].removeprefix("Value error, ").rstrip(".")
    said = f"{where}: {why}" if where else why
    return refused("RequestError", f"{said}; /v1/openapi.json says what is understood.", 422)


def _of_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = refused(
        "RequestError",
        f"{error.detail}; /v1/openapi.json says what there is.",
        error.status_code,
    )
    answer.headers.update(error.headers or {})
    return answer


def _gone(_: Request, __: Exception) -> JSONResponse:
    """Answer nobody: that a client goes while it sends is nothing for the log."""
    return refused("RequestError", "The client went before it had sent all.", 400)


def _unexpected(_: Request, error: Exception) -> JSONResponse:
    said = (
        f"The server failed unexpectedly ({type(error).__name__}); please report it, with its log."
    )
    return refused("InternalError", said, 500)
