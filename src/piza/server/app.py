"""`piza serve`: the page and the HTTP interface, in one process, for this computer unless told otherwise."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piza.errors import MAX_COUNT, MAX_SECONDS, InputError, check_whole, reason

HOST, PORT = "127.0.0.1", 7860
QUEUE_SIZE, SECONDS, MEGABYTES = 8, 60.0, 50.0
LAST_CALL = 2  # seconds that requests in flight get when the server ends
END_SECONDS = 10.0  # from the signal to the end of the process, whatever it is doing


@dataclass(frozen=True)
class ServeConfig:
    """How to serve.

    host, port: the address; port 0 takes a free one. queue_size: searches that may wait for one model. seconds: the
    longest a request takes, waiting included. megabytes: the largest upload. allowed_hosts: further names this server is
    called by. allowed_origins: other sites whose pages may ask, as "https://app.example".
    """

    host: str = HOST
    port: int = PORT
    queue_size: int = QUEUE_SIZE
    seconds: float = SECONDS
    megabytes: float = MEGABYTES
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()


def serve(names: Sequence[str] = ("mini",), device: str = "auto", config: ServeConfig | None = None) -> None:
    """Answer until Ctrl-C or SIGTERM, which ends the process.

    names: the models on offer, the first one preselected. Raises InputError when the packages of piza[serve] are missing,
    a model cannot be loaded, or the address cannot be used.
    """
    config = config or ServeConfig()
    _check(config)
    check_installed()
    address = listen(config.host, config.port)
    try:
        app = create_app(load_models(names, device), config)
        shown = f"[{config.host}]" if ":" in config.host else config.host
        print(
            f"piza: http://{shown}:{address.getsockname()[1]} (Ctrl-C ends it)", file=sys.stderr, flush=True
        )
        run(app, address)
    finally:
        address.close()
    leave()  # tearing down torch and its threads takes over a second of CPU: minutes on a busy machine


def check_installed() -> None:
    """Raises InputError where the packages of piza[serve] are missing."""
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"`piza serve` needs the extra: pip install 'piza[serve]' ({reason(error)})"
        ) from None


def load_models(names: Sequence[str], device: str) -> dict[str, Any]:
    """The models by the names they are chosen by: a folder goes by its last part. Raises InputError."""
    import piza

    models: dict[str, Any] = {}
    for name in names:
        short = Path(name).resolve().name if Path(name).is_dir() else name
        if short in models:
            raise InputError(f"two models are called {short!r}; give their folders different names")
        models[short] = piza.load(name, device=device)
    return models


@dataclass(frozen=True)
class App:
    """An ASGI application, and what its routes share."""

    asgi: Any
    state: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        await self.asgi(scope, receive, send)


def create_app(models: Mapping[str, Any], config: ServeConfig | None = None) -> App:
    """The application, page and HTTP interface, behind its middleware."""
    from piza.server.access import allowed_hosts
    from piza.server.api import create_api
    from piza.server.middleware import wrap
    from piza.server.page import page_routes
    from piza.server.store import MEGABYTE, AppState, Limits

    config = config or ServeConfig()
    limits = Limits(config.queue_size, config.seconds, int(config.megabytes * MEGABYTE))
    state = AppState(models, limits)
    api = create_api(state)
    api.include_router(page_routes(state))
    hosts = allowed_hosts(config.host, config.allowed_hosts)
    return App(wrap(api, state.metrics, limits, state.max_requests, hosts, config.allowed_origins), state)


def listen(host: str, port: int) -> socket.socket:
    """A socket at this address, taken before models are loaded. Raises InputError when it cannot be had."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        address = socket.socket(family, kind)
    except (OSError, UnicodeError) as error:
        raise InputError(f"cannot serve at {host!r}: {reason(error)}") from None
    try:
        address.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address.bind(place)
        address.listen(128)
    except OSError as error:
        address.close()
        raise InputError(f"cannot serve at {host}, port {port}: {error.strerror or error}") from None
    return address


def uvicorn_server(app: App) -> Any:
    """A uvicorn server for the application, not yet running."""
    import uvicorn

    from piza.server.protocol import BoundedProtocol

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=LAST_CALL,
        )
    )


def run(app: App, address: socket.socket) -> None:
    """Serve the application at the socket until SIGINT or SIGTERM; searches in progress are not waited for.

    `END_SECONDS` after the signal the process ends, even where a client that does not read, or a thread, would hold it.
    """
    from piza.server.logs import log_to_stderr

    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)  # uvicorn raises the signal again when it has ended
    log_to_stderr()
    server = uvicorn_server(app)
    handle_exit = server.handle_exit
    deadlines: list[threading.Timer] = []

    def begin_to_end(*signal_and_frame: Any) -> None:
        deadlines.append(_exit_in(END_SECONDS))
        handle_exit(*signal_and_frame)

    server.handle_exit = begin_to_end
    try:
        server.run(sockets=[address])
    except KeyboardInterrupt:
        pass
    app.state.close()
    if app.state.busy:  # a model cannot be interrupted, and the interpreter would crash under it
        leave()
    for deadline in deadlines:
        deadline.cancel()


def leave() -> None:
    """End the process now, with exit code 0: no thread is waited for and nothing is torn down."""
    _exit_in(LAST_CALL)  # should nobody read what is left to be written
    with suppress(OSError, ValueError):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _exit_in(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
    return timer


def _check(config: ServeConfig) -> None:
    """Raise InputError for a number that cannot be."""
    check_whole("port", config.port, 0, 65535)
    check_whole("queue_size", config.queue_size, 0)
    for name, value, most in (
        ("seconds", config.seconds, MAX_SECONDS),
        ("megabytes", config.megabytes, MAX_COUNT),
    ):
        if not 0 < value <= most:
            raise InputError(f"{name}: expected a number over 0, at most {most}, got {value}")
