"""`piza serve`. A door like cli.py: it reads arguments and calls the library."""

import argparse
from typing import Any

from piza.cli.main import _at_least
from piza.server.app import HOST, MEGABYTES, PORT, ROOM, SECONDS, serve


def add_serve(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser("serve", help="a page in the browser, and an HTTP interface")
    parser.add_argument(
        "--model",
        metavar="NAME",
        action="append",
        help="mini, a model folder or a hub name; repeat it to offer several (default: mini)",
    )
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument(
        "--host", default=HOST, help=f"the address to answer at (default: {HOST}, this computer only)"
    )
    parser.add_argument(
        "--port", type=_port, default=PORT, help=f"the port (default: {PORT}); 0 takes a free one"
    )
    parser.add_argument(
        "--room",
        metavar="N",
        type=_at_least(0),
        default=ROOM,
        help=f"searches that may wait (default: {ROOM}); more are told to come back",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_positive,
        default=SECONDS,
        help=f"the longest a request takes, waiting included (default: {SECONDS:g})",
    )
    parser.add_argument(
        "--upload",
        metavar="MB",
        type=_positive,
        default=MEGABYTES,
        help=f"the largest upload in megabytes (default: {MEGABYTES:g})",
    )
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    serve(
        options.model or ["mini"],
        options.device,
        options.host,
        options.port,
        options.room,
        options.timeout,
        options.upload,
    )


def _port(text: str) -> int:
    value = _at_least(0)(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"a port from 0 to 65535 is wanted, got {text}")
    return value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number above 0 is wanted, got {text!r}")
    return value
