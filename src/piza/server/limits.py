"""How many requests are taken at a time, how large, how slow, and for how long."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from piza.server.errors import BusyError, ClientGoneError, RequestError
from piza.server.metrics import Metrics
from piza.server.store import MEGABYTE, Limits

PIECE = 16_384  # bytes of a body that have to come within Limits.stall_seconds
BODIES = 4  # times the largest body: the memory that all unanswered bodies may take together


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
        """Pass a request on, or raise RequestError or ClientGoneError."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        deadline = asyncio.get_running_loop().time() + self.limits.seconds
        if not has_body(headers):
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


def has_body(headers: Headers) -> bool:
    """Whether a request says that a body follows."""
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip() not in ("", "0")
