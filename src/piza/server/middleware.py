"""What stands before the routes, as plain ASGI: logs and errors, who may ask, and how large and how slow a request may be.

`wrap` puts them around an application: RequestContext(AccessRules(BodyLimits(app))).
"""

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from piza.server.errors import INTERNAL, BusyError, ClientGoneError, RequestError, describe, error_response
from piza.server.logs import log
from piza.server.metrics import Metrics
from piza.server.store import MEGABYTE, Limits

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

PIECE = 16_384  # bytes of a body that have to come within Limits.stall_seconds
BODIES = 4  # times the largest body: the memory that all unanswered bodies may take together
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
        except ClientGoneError:
            request.status = request.status or 499
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
        self.body_open = _has_body(Headers(scope=scope))
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


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip() not in ("", "0")


class AccessRules:
    """Answers only for hosts that were named, and other sites only where they were named.

    allowed_hosts: host names without ports. A browser that was sent here under another name (DNS rebinding) is refused.
    allowed_origins: such as "https://app.example"; all others get no cross-origin answer and may not post.
    """

    def __init__(
        self, app: ASGIApp, allowed_hosts: Sequence[str], allowed_origins: Sequence[str] = ()
    ) -> None:
        self.app = app
        self.hosts = {_plain_host(host) for host in allowed_hosts}
        self.origins = {origin.lower() for origin in allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            raise RequestError("there are no web sockets here", 404)
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or _host_of(host) not in self.hosts:
            raise RequestError(
                f"this server does not answer for the host {host[:100]!r}; name it with --allow-host when it starts",
                403,
            )
        origin = headers.get("origin")
        if origin is not None and origin.lower() in self.origins:
            scope["piza.headers"] += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"vary", b"Origin"),
            ]
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _preflight(scope, receive, send)
                return
        elif origin is not None and not _same_origin(origin, host):
            raise RequestError(f"pages of {origin[:100]!r} may not ask this server; see --allow-origin", 403)
        elif (
            origin is None
            and headers.get("sec-fetch-site") == "cross-site"
            and scope["method"] not in ("GET", "HEAD")
        ):
            raise RequestError("other sites may not ask this server; see --allow-origin", 403)
        await self.app(scope, receive, send)


async def _preflight(scope: Scope, receive: Receive, send: Send) -> None:
    allowed = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"Content-Type, X-Request-Id"),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": allowed})
    await send({"type": "http.response.body", "body": b""})


def _host_of(header: str) -> str:
    try:
        return _plain_host(urlsplit(f"//{header}").hostname or "")
    except ValueError:
        return ""


def _plain_host(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _same_origin(origin: str, host: str) -> bool:
    """Whether a page of this origin came from here. The scheme is not compared: a proxy may speak https for the server."""
    scheme, _, authority = origin.lower().partition("://")
    return scheme in ("http", "https") and authority == host.lower()


class BodyLimits:
    """Bounds what requests take before anything is done for them: how many at a time, how large, how slow, how long.

    The time counts from the first byte of the body to the end of the answer. The body is read whole before the
    application sees it; a client that leaves has its request cancelled.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, limits: Limits, max_requests: int) -> None:
        self.app, self.metrics, self.limits, self.max_requests = app, metrics, limits, max_requests
        self.requests = 0  # with a body, unanswered
        self.buffered = 0  # bytes of their bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        deadline = asyncio.get_running_loop().time() + self.limits.seconds
        if not _has_body(headers):
            await self._run(scope, [b""], receive, send, deadline)
            return
        length = headers.get("content-length", "0").strip()
        if (
            length.isascii()
            and length.isdigit()
            and (len(length) > 18 or int(length) > self.limits.max_bytes)
        ):
            raise self._refused("large", self._too_large())
        if self.requests >= self.max_requests:
            waiting = self.max_requests - 1
            busy = f"the server is busy: it has {waiting + 1} unanswered requests; try again in a moment"
            raise self._refused("busy", BusyError(busy))
        chunks: list[bytes] = []
        held = [0]
        self.requests += 1
        try:
            await self._read(receive, deadline, chunks, held)
            body = [chunks[0] if len(chunks) == 1 else b"".join(chunks)]
            chunks.clear()
            await self._run(scope, body, receive, send, deadline)
        finally:
            self.requests -= 1
            self.buffered -= held[0]

    async def _read(self, receive: Receive, deadline: float, chunks: list[bytes], held: list[int]) -> None:
        """Read the whole body into `chunks`; held[0] counts its bytes. Raises RequestError 408, 413 or 503."""
        now = asyncio.get_running_loop().time
        mark, due = 0, min(now() + self.limits.stall_seconds, deadline)
        while True:
            try:
                async with asyncio.timeout_at(due):
                    message = await receive()
            except TimeoutError:
                raise self._refused("slow", self._too_slow(now() >= deadline)) from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk = message.get("body", b"")
            chunks.append(chunk)
            held[0] += len(chunk)
            self.buffered += len(chunk)
            if held[0] > self.limits.max_bytes:
                raise self._refused("large", self._too_large())
            if self.buffered > BODIES * self.limits.max_bytes:
                raise self._refused(
                    "busy", BusyError("the server is busy with other uploads; try again in a moment")
                )
            if not message.get("more_body", False):
                return
            if held[0] - mark >= PIECE:
                mark, due = held[0], min(now() + self.limits.stall_seconds, deadline)

    async def _run(
        self, scope: Scope, body: list[bytes], receive: Receive, send: Send, deadline: float
    ) -> None:
        """Run the application with a body that was read; cancel it when the client leaves or time is up."""
        begun = complete = False

        async def replay() -> Message:
            if body:
                return {"type": "http.request", "body": body.pop(), "more_body": False}
            await asyncio.Event().wait()  # until cancelled: `watch` listens for the client
            raise AssertionError

        async def noted(message: Message) -> None:
            nonlocal begun, complete
            begun = True
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if complete:  # the end of the answer, which is told in the same way
                await asyncio.Event().wait()

        tasks = [asyncio.ensure_future(self.app(scope, replay, noted)), asyncio.ensure_future(watch())]
        loop = asyncio.get_running_loop()
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=max(deadline - loop.time(), 0), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if tasks[0] in done:
            tasks[0].result()
        elif done:
            raise self._refused("gone", ClientGoneError())
        elif not begun:
            raise self._refused("slow", self._too_slow(True, working=True))
        else:
            raise ClientGoneError  # it reads too slowly; uvicorn closes the connection

    def _refused(self, reason: str, error: Exception) -> Exception:
        self.metrics.count("piza_refused_total", "Requests given up, by reason.", reason=reason)
        return error

    def _too_large(self) -> RequestError:
        return RequestError(
            f"the upload is too large: at most {self.limits.max_bytes / MEGABYTE:g} MB are taken", 413
        )

    def _too_slow(self, late: bool, working: bool = False) -> RequestError:
        seconds = f"{self.limits.seconds:g} seconds"
        if working:
            return RequestError(f"the search was not done within {seconds} and was given up", 504)
        if late:
            return RequestError(f"the request did not come within {seconds}", 408)
        return RequestError("the request comes too slowly and was given up", 408)


def allowed_hosts(host: str, named: Sequence[str] = ()) -> list[str]:
    """The hosts to answer for: this computer's own names, the address served at, and those that were named."""
    own = [] if host in ("0.0.0.0", "::", "") else [host]
    return ["localhost", "127.0.0.1", "::1", *own, *named]
