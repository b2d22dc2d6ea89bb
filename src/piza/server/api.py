"""The HTTP side of `piza serve`: POST /locate, GET /health, and what the page fetches from /page.

Every refusal is JSON with one sentence: {"error": "..."}.
"""

import base64
import binascii
import json
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from piza import __version__
from piza.cli import demo
from piza.errors import InputError
from piza.image import ImageArray, open_image
from piza.server.queue import BusyError, OneAtATime, TooLongError, read_asked, read_picture, search
from piza.server.store import Kept, Shelf, drawn, look_jpeg, picture_words, preview

T = TypeVar("T")

FORGOTTEN = "this picture is no longer kept; hand it over again"
MEGABYTE = 1_000_000
PATIENCE = 10  # times the largest upload is read of one that is too large, before the connection is closed

# The page needs these of gradio, and nothing else of it answers: neither its uploads nor its reading of files.
GRADIO_PATHS = ("/assets/", "/static/", "/svelte/", "/theme.css", "/config", "/manifest.json")
GRADIO_CALLS = ("queue/join", "queue/data", "heartbeat/", "info", "startup-events", "reset", "cancel")
OWN_PATHS = ("/", "/locate", "/health", "/favicon.ico")

# Whatever the page holds, the browser asks this server only. Gradio compiles its templates, hence the eval.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'"
)


@dataclass
class Desk:
    """What page and API share. models: the loaded ones by name, the first is taken unless another is asked for.
    most_bytes: of a request."""

    models: Mapping[str, Any]
    line: OneAtATime
    most_bytes: int = 50 * MEGABYTE
    shelf: Shelf = field(default_factory=Shelf)
    examples: dict[int, tuple[str, Kept, list[str]]] = field(default_factory=dict)  # those already drawn


def api(desk: Desk) -> FastAPI:
    """The application, without the page. Nothing of FastAPI's own pages, which would fetch scripts from elsewhere."""
    app = FastAPI(title="piza", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Gate, most_bytes=desk.most_bytes)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "version": __version__,
            "models": list(desk.models),
            "searching": desk.line.running,
            "waiting": desk.line.waiting,
            "room": desk.line.room,
        }

    @app.post("/locate")
    async def locate(request: Request) -> Response:
        async def answer() -> Response:
            data, name, fields = await _read(request)
            asked = read_asked(fields, desk.models)
            results = await desk.line.run(
                lambda gone: search(desk.models[asked.model], read_picture(data, name), asked, gone)
            )
            found = [result.to_dict() for result in results]
            return JSONResponse(found[0] if len(found) == 1 else found)

        return await _guarded(answer)

    @app.post("/page/picture")
    async def picture(request: Request) -> Response:
        async def answer() -> Response:
            data, name, _ = await _read(request)
            kept = await desk.line.run(lambda _: _keep(read_picture(data, name), name))
            return JSONResponse(picture_words(desk.shelf.put(kept), kept))

        return await _guarded(answer)

    @app.get("/page/example-{number}.jpg")
    async def example(number: int) -> Response:
        async def answer() -> Response:
            return _file((await example_of(desk, number))[1].preview, "image/jpeg")

        return await _guarded(answer)

    @app.get("/page/{token}/frame.jpg")
    async def frame(token: str) -> Response:
        kept = desk.shelf.get(token)
        return _file(kept.preview, "image/jpeg") if kept else _refusal(404, FORGOTTEN)

    @app.get("/page/{token}/{found}/{number}/{what}")
    async def part(token: str, found: str, number: int, what: str) -> Response:
        kept = desk.shelf.get(token)
        results = kept.searches.get(found) if kept else None
        if kept is None or results is None or not 0 <= number < len(results):
            return _refusal(404, FORGOTTEN)
        result, name = results[number], f"piza-{number + 1}"
        stem, _, suffix = what.partition(".")
        if what == "search.json":
            text = json.dumps(result.to_dict(), indent=2)
            return _file(text.encode(), "application/json", f"{name}.json")
        if what in ("drawing.png", "zoom.webp"):
            kind = {"png": "image/png", "webp": "image/webp"}[suffix]

            async def draw() -> Response:
                data = await desk.line.run(lambda _: drawn(result, f".{suffix}"))
                return _file(data, kind, f"{name}.{suffix}" if suffix == "png" else None)

            return await _guarded(draw)
        look = stem.removeprefix("look-")
        if suffix == "jpg" and look.isascii() and look.isdigit() and int(look) <= len(result.path):
            return _file(look_jpeg(result, int(look)), "image/jpeg")
        return _refusal(404, f"there is no {what[:100]!r} of a search")

    @app.exception_handler(HTTPException)
    async def refuse(_: Request, error: HTTPException) -> Response:
        return _refusal(error.status_code, str(error.detail))

    return app


async def example_of(desk: Desk, number: int) -> tuple[str, Kept, list[str]]:
    """Token, picture and sentences of a drawn street, from 0; drawn when it is first asked for. Raises InputError."""
    if not 0 <= number < len(demo.SCENES):
        raise InputError(f"there is no example {number}")
    if number not in desk.examples:
        kept, sentences = await desk.line.run(lambda _: _draw_example(number))
        if number not in desk.examples:  # two may have asked at the same time
            desk.examples[number] = (desk.shelf.put(kept), kept, sentences)
    return desk.examples[number]


def error_of(error: Exception) -> tuple[int, str]:
    """The status and the sentence an error is answered with; a fault of the program goes to the log in full."""
    if isinstance(error, InputError):
        return 400, str(error)
    if isinstance(error, BusyError):
        return 503, str(error)
    if isinstance(error, TooLongError):
        return 504, str(error)
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    traceback.print_exception(error, file=sys.stderr)
    return 500, "something went wrong inside the server; its log says what"


class Gate:
    """Lets through what piza has to offer, and no request with a larger body than is wanted."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self.app, self.most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most_bytes:
                await self._pass_over(message, receive)
                raise self._too_large()
            return message

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not _offered(scope["path"]):
            await _refusal(404, f"there is nothing at {scope['path'][:100]!r}")(scope, receive, headed)
        elif length.isdigit() and int(length) > self.most_bytes:
            error = self._too_large()
            await self._pass_over(await receive(), receive)
            await _refusal(error.status_code, error.detail)(scope, receive, headed)
        else:
            await self.app(scope, counted, headed)

    async def _pass_over(self, message: Message, receive: Receive) -> None:
        """Read on and keep nothing: most clients hear an answer only when they have sent all. Not without end, though."""
        passed = 0
        while message.get("more_body", False) and passed < PATIENCE * self.most_bytes:
            message = await receive()
            passed += len(message.get("body", b""))

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413, f"the upload is too large: at most {self.most_bytes / MEGABYTE:g} MB are taken"
        )


def _offered(path: str) -> bool:
    if path in OWN_PATHS or path.startswith(("/page/", *GRADIO_PATHS)):
        return ".." not in path
    call = path.removeprefix("/gradio_api/")
    return call != path and call.startswith(GRADIO_CALLS) and ".." not in path


async def _read(request: Request) -> tuple[bytes, str, dict[str, Any]]:
    """The picture of a request, its name, and the other fields."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return _read_json(await request.body())
    if kind == "multipart/form-data":
        return await _read_form(request)
    raise InputError(f"multipart/form-data or application/json is wanted, got {kind or 'no content type'!r}")


async def _read_form(request: Request) -> tuple[bytes, str, dict[str, Any]]:
    fields: dict[str, Any] = {}
    data, name = None, ""
    async with request.form(max_files=1) as form:
        for key, value in form.multi_items():
            if key == "picture":
                if isinstance(value, str):
                    raise InputError("`picture` must be a file, a text was given")
                data, name = (
                    await value.read(),
                    (value.filename or "the picture").replace("\\", "/").split("/")[-1],
                )
            elif not isinstance(value, str):
                raise InputError(f"{key[:100]!r} must be a text, a file was given; the file is `picture`")
            elif key == "sentences":
                fields.setdefault(key, []).append(value)
            elif key in fields:
                raise InputError(f"`{key[:100]}` was given twice")
            else:
                fields[key] = value
    if data is None:
        raise InputError("a picture is wanted: the file `picture` is missing")
    return data, name, fields


def _read_json(body: bytes) -> tuple[bytes, str, dict[str, Any]]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("the body is not valid JSON") from None
    if not isinstance(fields, dict):
        raise InputError("a JSON object is wanted, with `picture` in base64 and `sentences`")
    picture = fields.pop("picture", None)
    if not isinstance(picture, str):
        raise InputError("a picture is wanted: `picture` must be a file in base64")
    encoded = picture.partition(",")[2] if picture.startswith("data:") else picture
    try:
        return base64.b64decode("".join(encoded.split()), validate=True), "the picture", fields
    except (binascii.Error, ValueError):
        raise InputError("`picture` is not valid base64") from None


async def _guarded(answer: Callable[[], Awaitable[Response]]) -> Response:
    try:
        return await answer()
    except Exception as error:
        return _refusal(*error_of(error))


def _refusal(status: int, sentence: str) -> JSONResponse:
    headers = {"Retry-After": "2"} if status == 503 else None
    return JSONResponse({"error": sentence}, status, headers=headers)


def _file(data: bytes, kind: str, name: str | None = None) -> Response:
    headers = {"Cache-Control": "private, max-age=3600"}
    if name:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return Response(data, media_type=kind, headers=headers)


def _keep(picture: ImageArray, name: str, example: bool = False) -> Kept:
    return Kept(name, picture, preview(picture), example=example)


def _draw_example(number: int) -> tuple[Kept, list[str]]:
    seed, size = demo.SCENES[number]
    with tempfile.TemporaryDirectory(prefix="piza-") as folder:
        path = Path(folder) / "street.jpg"
        rows = demo.draw_scene(seed, size, path)
        return _keep(open_image(path), f"street-{number + 1}.jpg", example=True), [row.ref for row in rows]
