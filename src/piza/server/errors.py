"""Refusals, all of one shape: a status and `{"error": "one sentence"}`, whoever refuses."""

import traceback
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from piza.errors import InputError

INTERNAL = "something went wrong inside the server; its log says what"


class RequestError(Exception):
    """A request that is not answered with what it asked for. The message is one sentence for the client."""

    status = 400

    def __init__(self, sentence: str, status: int | None = None, headers: Mapping[str, str] | None = None):
        super().__init__(sentence)
        self.status = self.status if status is None else status
        self.headers = dict(headers or {})


class BusyError(RequestError):
    """No room for another request now."""

    status = 503

    def __init__(self, sentence: str = "the server is busy; try again in a moment") -> None:
        super().__init__(sentence, headers={"Retry-After": "2"})


class NotFoundError(RequestError):
    """Nothing at this address, or no longer."""

    status = 404


class ClientGoneError(Exception):
    """The client closed the connection; nobody is left to hear an answer."""


def error_response(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The one shape of an error."""
    return JSONResponse({"error": sentence}, status, headers=dict(headers or {}))


def describe(error: Exception) -> tuple[int, str, Mapping[str, str]]:
    """Status, sentence and headers that an error is answered with; a fault of the program is not described."""
    if isinstance(error, RequestError):
        return error.status, str(error), error.headers
    if isinstance(error, InputError):
        return 400, str(error), {}
    if isinstance(error, RequestValidationError):
        fault = error.errors()[0]
        return 422, f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"[:300], {}
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)[:300], error.headers or {}
    return 500, INTERNAL, {}


def forget(error: BaseException) -> None:
    """Let go of what an error that was answered holds: a body of 50 MB, a decoded image.

    Its traceback has the local variables of every function it came through, and often one of these leads back to the error,
    so that all of it would stay until Python looks for such circles, which it does by their number and not by their size.
    """
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None:
            continue
        left += [one.__cause__, one.__context__]
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = one.__cause__ = one.__context__ = None


def add_handlers(app: FastAPI) -> None:
    """Answer every exception of a route in the one shape. A fault is raised on, so that it is logged."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        status, sentence, headers = describe(error)
        if status == 404 and isinstance(error, HTTPException):
            sentence = f"there is nothing at {request.url.path[:100]!r}"
        elif status == 405:
            sentence = f"{request.method[:20]} is not offered here"
        if status < 500:
            forget(error)
        return error_response(status, sentence, headers)

    for kind in (RequestError, InputError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)
