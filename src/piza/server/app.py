"""`piza serve`: the page and the HTTP interface, in one process, for this computer unless told otherwise."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from piza.errors import InputError, reason

HOST, PORT = "127.0.0.1", 7860
ROOM, SECONDS, MEGABYTES = 8, 60.0, 50.0
LAST_CALL = 2  # seconds that open connections get when the server ends


def serve(
    names: Sequence[str] = ("mini",),
    device: str = "cpu",
    host: str = HOST,
    port: int = PORT,
    room: int = ROOM,
    seconds: float = SECONDS,
    megabytes: float = MEGABYTES,
) -> None:
    """Answer until Ctrl-C.

    names: the models on offer, the first one preselected. port: 0 takes a free one. room: how many searches may wait.
    seconds: the longest a request takes, waiting included. megabytes: the largest upload. Raises InputError when the
    packages of piza[serve] are missing, a model cannot be loaded, or the address cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="piza-serve-") as folder:
        check_installed(folder)
        address = listen(host, port)
        try:
            application = build(load_models(names, device), room, seconds, megabytes)
            shown = f"[{host}]" if ":" in host else host
            print(
                f"piza: http://{shown}:{address.getsockname()[1]} (Ctrl-C ends it)",
                file=sys.stderr,
                flush=True,
            )
            run(application, address)
        finally:
            address.close()


def check_installed(folder: str) -> None:
    """Import gradio, told beforehand to tell nobody and to keep its files in `folder`. Raises InputError without it."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = folder
    try:
        import gradio  # noqa: F401
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


def build(
    models: dict[str, Any], room: int = ROOM, seconds: float = SECONDS, megabytes: float = MEGABYTES
) -> Any:
    """The application: a FastAPI, page and HTTP interface."""
    from piza.server.api import MEGABYTE, Desk, api
    from piza.server.page import mount_page
    from piza.server.queue import OneAtATime

    desk = Desk(models, OneAtATime(room, seconds), int(megabytes * MEGABYTE))
    return mount_page(api(desk), desk)


def listen(host: str, port: int) -> socket.socket:
    """A socket at this address, taken before models are loaded. Raises InputError when it cannot be had."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        address = socket.socket(family, kind)
    except OSError as error:
        raise InputError(f"cannot serve at {host!r}: {error.strerror or error}") from None
    try:
        address.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address.bind(place)
        address.listen(128)
    except OSError as error:
        address.close()
        raise InputError(f"cannot serve at {host}, port {port}: {error.strerror or error}") from None
    return address


def run(application: Any, address: socket.socket) -> None:
    """Serve the application at the socket until SIGINT or SIGTERM."""
    import uvicorn

    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)  # so that what was begun is cleaned up
    config = uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=LAST_CALL)
    try:
        uvicorn.Server(config).run(sockets=[address])
    except KeyboardInterrupt:
        pass
