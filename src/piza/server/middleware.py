"""What stands before the routes, as plain ASGI: logs and errors, who may ask, and how large and how slow a request may be.

`wrap` puts them around an application: RequestContext(AccessRules(BodyLimits(app))).
"""

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from piza.server.access import AccessRules
from piza.server.errors import (
    INTERNAL,
    BusyError,
    ClientGoneError,
    RequestError,
    describe,
    error_response,
    forget,
)
from piza.server.limits import BodyLimits, has_body
from piza.server.logs import log
from piza.server.metrics import Metrics
from piza.server.store import Limits

# The browser loads everything from this server, runs no script that is not a file of it, and is framed by nobody.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

DRAIN_SECONDS, DRAIN_BODIES = (
    5.0,
    4,
)  # how long and how much is read of what is refused, so that the client hears why


def wrap(
    app: ASGIApp,
    metrics: Metrics,
    limits: Limits,
    max_requests: int,
    allowed_hosts: Sequence[str],
    allowed_origins: Sequence[str] = (),
) -> ASGIApp:
    """The application behind all of them."""
    inner = BodyLimits(app, metrics, limits, max_requests)
    return RequestContext(AccessRules(inner, allowed_hosts, allowed_origins), metrics, limits.max_bytes)


class RequestContext:
    """Outermost: a request id, a line in the log, counters, headers for the browser; no exception gets past it."""

    def __init__(self, app: ASGIApp, metrics: Metrics, max_bytes: int) -> None:
        self.app, self.metrics, self.max_bytes = app, metrics, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request = _Request(
            given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8), scope, receive, send
        )
        started = time.perf_counter()
        try:
            await self.app(scope, request.receive, request.send)
        except ClientGoneError as error:
            request.status = request.status or 499
            forget(error)
        except asyncio.CancelledError:  # the server is shutting down
            request.abandon()
            await self._answer(request, BusyError("the server is shutting down"))
        except Exception as error:
            status = describe(error)[0]
            if status == 408:  # too slow to be waited for again
                request.abandon()
            if status >= 500 and not isinstance(error, RequestError):
                log("fault", 40, error, id=request.id)
            await self._answer(request, error)
            forget(error)
        finally:
            self._record(request, time.perf_counter() - started)

    async def _answer(self, request: "_Request", error: BaseException) -> None:
        if request.status is not None:  # too late to say anything
            return
        status, sentence, headers = describe(error) if isinstance(error, Exception) else (500, INTERNAL, {})
        if request.body_open and not request.abandoned:
            await self._drain(request)
        closing = {"Connection": "close"} if request.body_open else {}
        response = error_response(status, sentence, {**headers, **closing})
        await response(request.scope, request.receive, request.send)

    async def _drain(self, request: "_Request") -> None:
        """Read on and keep nothing: most clients hear an answer only when they have sent all. Not without end, though."""
        if "expect" in Headers(scope=request.scope):  # this one waits for leave to send, and gets none
            return
        end = request.received + DRAIN_BODIES * self.max_bytes
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while request.body_open and request.received < end:
                    await request.receive()
        except TimeoutError:
            pass

    def _record(self, request: "_Request", seconds: float) -> None:
        route = getattr(
            request.scope.get("route"), "path", "none"
        )  # not the path itself: it may hold a token
        method = request.scope["method"] if request.scope["method"] in METHODS else "other"
        status = request.status or 500
        self.metrics.count(
            "piza_requests_total", "Requests answered.", route=route, method=method, status=str(status)
        )
        self.metrics.time(
            "piza_request_seconds", "Time from a request's head to its answer.", seconds, route=route
        )
        self.metrics.count("piza_received_bytes_total", "Bytes of bodies received.", request.received)
        log(
            "request",
            id=request.id,
            method=method,
            route=route,
            status=status,
            milliseconds=round(1000 * seconds, 1),
            received=request.received,
            sent=request.sent,
            client=(request.scope.get("client") or ["?"])[0],
        )


class _Request:
    """What is known of a request in progress. status: once the answer has begun. body_open: more of the body may come."""

    def __init__(self, request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        self.id, self.scope = request_id, scope
        self._receive, self._send = receive, send
        self.status: int | None = None
        self.received = self.sent = 0
        self.abandoned = False
        self.body_open = has_body(Headers(scope=scope))
        scope["piza.headers"] = []  # what AccessRules adds to the answer

    def abandon(self) -> None:
        """Read no more of the body; the connection will not be used again."""
        self.abandoned = True

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.body_open = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(b"x-request-id", self.id.encode()), *SECURITY_HEADERS, *self.scope["piza.headers"]]
            if self.body_open:  # what was not read cannot be followed by another request
                own.append((b"connection", b"close"))
            message = {**message, "headers": [*_without(message["headers"], own), *own]}
        self.sent += len(message.get("body", b""))
        await self._send(message)


def _without(headers: Any, others: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    names = {name for name, _ in others}
    return [(name, value) for name, value in headers if name.lower() not in names]
