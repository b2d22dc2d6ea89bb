"""Who may ask: hosts that were named, and pages of other sites only where they were named."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from piza.server.errors import RequestError


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
        """Pass a request on, or raise RequestError."""
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
            raise RequestError(
                f"pages of {origin[:100]!r} may not ask this server; `piza serve --allow-origin` lets them",
                403,
            )
        elif (
            origin is None
            and headers.get("sec-fetch-site") == "cross-site"
            and scope["method"] not in ("GET", "HEAD")
        ):
            raise RequestError(
                "other sites may not ask this server; `piza serve --allow-origin` lets them", 403
            )
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


def allowed_hosts(host: str, named: Sequence[str] = ()) -> list[str]:
    """The hosts to answer for: this computer's own names, the address served at, and those that were named."""
    own = [] if host in ("0.0.0.0", "::", "") else [host]
    return ["localhost", "127.0.0.1", "::1", *own, *named]
