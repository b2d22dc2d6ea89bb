"""The files of the pages, from the package: an address is a key of a table and never becomes a path."""

import hashlib
import mimetypes
from collections.abc import Mapping
from importlib import resources

from fastapi import APIRouter, Request, Response

from piza.server.errors import NotFoundError


def add_static_routes(router: APIRouter, pages: Mapping[str, str]) -> None:
    """Add /static/NAME, and each of `pages`: addresses, and the names of the files that are there."""
    folder = resources.files("piza.server") / "static"
    files = {
        file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith((".", "_"))
    }

    def answer(name: str, request: Request) -> Response:
        if name not in files:
            raise NotFoundError(f"there is no file {name[:100]!r}")
        tag = f'"{hashlib.sha256(files[name]).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        kind = {"js": "text/javascript", "svg": "image/svg+xml"}.get(name.rsplit(".", 1)[-1])
        return Response(files[name], media_type=kind or mimetypes.guess_type(name)[0], headers=headers)

    def add_page(address: str, name: str) -> None:
        @router.get(address)
        async def page(request: Request) -> Response:
            return answer(name, request)

    for address, name in {**pages, "/favicon.ico": "icon.svg"}.items():
        add_page(address, name)

    @router.get("/static/{name}")
    async def static(name: str, request: Request) -> Response:
        return answer(name, request)
