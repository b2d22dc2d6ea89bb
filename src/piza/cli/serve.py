"""`piza serve`: a page in the browser, and an HTTP interface."""

import argparse
from typing import Any

from piza.cli.common import add_device_option, at_least, host_name, over, port
from piza.errors import MAX_COUNT, MAX_SECONDS
from piza.server.app import HOST, MEGABYTES, PORT, QUEUE_SIZE, SECONDS, ServeConfig, serve


def add_serve(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser("serve", help="a page in the browser, and an HTTP interface")
    parser.add_argument(
        "--model",
        metavar="NAME",
        action="append",
        help="mini, a model folder or a hub name; repeat it to offer several (default: mini)",
    )
    add_device_option(parser)
    parser.add_argument(
        "--host", default=HOST, help=f"the address to answer at (default: {HOST}, this computer only)"
    )
    parser.add_argument(
        "--port", type=port, default=PORT, help=f"the port (default: {PORT}); 0 takes a free one"
    )
    parser.add_argument(
        "--queue-size",
        metavar="N",
        type=at_least(0),
        default=QUEUE_SIZE,
        help=f"searches that may wait for a model (default: {QUEUE_SIZE}); more are told to come back",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=over(0, MAX_SECONDS),
        default=SECONDS,
        help=f"the longest a request takes, waiting included (default: {SECONDS:g})",
    )
    parser.add_argument(
        "--upload",
        metavar="MB",
        type=over(0, MAX_COUNT),
        default=MEGABYTES,
        help=f"the largest upload in megabytes (default: {MEGABYTES:g})",
    )
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        type=host_name,
        action="append",
        default=[],
        help="a name by which this server is called, besides its address and localhost; may be repeated",
    )
    parser.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        type=_origin,
        action="append",
        default=[],
        help="another site whose pages may ask, such as https://app.example; may be repeated (default: none)",
    )
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    config = ServeConfig(
        options.host,
        options.port,
        options.queue_size,
        options.timeout,
        options.upload,
        tuple(options.allow_host),
        tuple(options.allow_origin),
    )
    serve(options.model or ["mini"], options.device, config)


def _origin(text: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or "@" in parts.netloc
        or parts.path.strip("/")
    ):
        raise argparse.ArgumentTypeError(f"expected an origin such as https://app.example, got {text!r}")
    return f"{parts.scheme}://{parts.netloc}".lower()
