"""The page: its files, and what its scripts ask of the server under /page.

An image is uploaded once and known by a token from then on; what comes back are a preview and the small images that
the model was given.
"""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from piza.data.scenes import examples
from piza.errors import InputError
from piza.result import Result
from piza.server.bodies import Form, read_body
from piza.server.errors import NotFoundError
from piza.server.queue import IsCancelled
from piza.server.schemas import MAX_SENTENCES, Questions, Upload, read
from piza.server.search import locate_all, read_image, search
from piza.server.static_files import add_static_routes
from piza.server.store import (
    MEGABYTE,
    AppState,
    StoredImage,
    crop_jpeg,
    draw_file,
    image_dict,
    look_jpeg,
    preview,
    result_dict,
)
from piza.server.tables import TABLES
from piza.visualize.primitives import BOX_COLOR, DETOUR_COLOR, WINDOW_COLORS

FORGOTTEN = "this image is no longer stored; upload it again"
CROP_SIDE = 1600  # longest side of a part of an image that was zoomed into, in pixels
MAX_DIGITS = 9  # of a number in an address


def page_routes(state: AppState) -> APIRouter:
    """/, /docs, /static/..., and everything under /page."""
    router = APIRouter(include_in_schema=False)
    add_static_routes(router, {"/": "index.html", "/docs": "docs.html"})
    _image_routes(router, state)
    _search_routes(router, state)
    _file_routes(router, state)
    return router


def _image_routes(router: APIRouter, state: AppState) -> None:
    @router.get("/page/config")
    async def config() -> Response:
        return JSONResponse(
            {
                "models": [_model_dict(name, model) for name, model in state.models.items()],
                "megabytes": state.limits.max_bytes / MEGABYTE,
                "max_sentences": MAX_SENTENCES,
                "examples": len(examples.SCENES),
                "colors": {
                    "windows": [_css(color) for color in WINDOW_COLORS],
                    "box": _css(BOX_COLOR),
                    "gray": _css(DETOUR_COLOR),
                },
            }
        )

    @router.post("/page/images")
    async def upload(request: Request) -> Response:
        image = await read_body(request, state.parsers, _only_image, _no_json)
        stored = await state.image_queue.run(lambda _: _store(image))
        return JSONResponse(image_dict(state.store.put(stored), stored))

    @router.post("/page/examples/{number}")
    async def example(number: str) -> Response:
        token, stored, sentences = await _example(state, number)
        return JSONResponse({"image": image_dict(token, stored), "sentences": sentences})

    @router.get("/page/examples/{number}/frame.jpg")
    async def example_preview(number: str) -> Response:
        return _file((await _example(state, number))[1].preview, "image/jpeg")

    @router.get("/page/{token}")
    async def image(token: str) -> Response:
        return JSONResponse(image_dict(token, _stored(state, token)))

    @router.get("/page/{token}/frame.jpg")
    async def frame(token: str) -> Response:
        return _file(_stored(state, token).preview, "image/jpeg")

    @router.get("/page/{token}/crop/{window}.jpg")
    async def crop(token: str, window: str) -> Response:
        stored = _stored(state, token)
        box = _window(window, stored.size)
        data = await state.image_queue.run(lambda _: crop_jpeg(stored.image, box, CROP_SIDE))
        return _file(data, "image/jpeg")


def _search_routes(router: APIRouter, state: AppState) -> None:
    @router.post("/page/{token}/searches")
    async def ask(token: str, request: Request) -> Response:
        stored = _stored(state, token)
        questions = await read_body(request, state.parsers, _no_form, lambda values: read(Questions, values))

        def work(model: Any, is_cancelled: IsCancelled) -> list[Result]:
            return locate_all(model, stored.image, questions.sentences, questions, is_cancelled)

        results = await search(state, questions, work, len(questions.sentences))
        return _results(token, state.store.add(token, stored, results), results)

    @router.get("/page/{token}/{found}")
    async def again(token: str, found: str) -> Response:
        return _results(token, found, _found(_stored(state, token), found))


def _file_routes(router: APIRouter, state: AppState) -> None:
    @router.get("/page/{token}/{found}/{table}")
    async def table(token: str, found: str, table: str) -> Response:
        stored = _stored(state, token)
        results = _found(stored, found)
        if table not in TABLES:
            raise NotFoundError(f"there is no {table[:100]!r} of a search")
        kind, write = TABLES[table]
        return _file(write(stored.name, results).encode(), kind, f"piza-{table}")

    @router.get("/page/{token}/{found}/{number}/{file}")
    async def part(token: str, found: str, number: str, file: str) -> Response:
        stored = _stored(state, token)
        results = _found(stored, found)
        index = _index(number, len(results))
        if index is None:
            raise NotFoundError(f"this search has {len(results)} answers, from 0")
        result, name = results[index], f"piza-{index + 1}"
        if file == "search.json":
            return _file(json.dumps(result.to_dict(), indent=2).encode(), "application/json", f"{name}.json")
        if file == "drawing.png":
            data = await state.image_queue.run(lambda _: draw_file(result, ".png"))
            return _file(data, "image/png", f"{name}.png")
        if file == "zoom.webp":
            data = await state.image_queue.run(lambda _: draw_file(result, ".webp"))
            return _file(data, "image/webp")
        look = _index(file.removeprefix("look-").removesuffix(".jpg"), len(result.path) + 1)
        if look is None or file != f"look-{look}.jpg":
            raise NotFoundError(f"there is no {file[:100]!r} of a search")
        data = await state.image_queue.run(lambda _: look_jpeg(stored.image, result, look))
        return _file(data, "image/jpeg")


async def _example(state: AppState, text: str) -> tuple[str, StoredImage, list[str]]:
    """Token, image and sentences of a drawn street, which is drawn when it is first asked for."""
    number = _index(text, len(examples.SCENES))
    if number is None:
        raise NotFoundError(f"there is no example {text[:100]!r}")
    known = state.examples.get(number)
    if known is None or state.store.get(known[0]) is None:
        stored, sentences = await state.image_queue.run(lambda _: _draw_example(number))
        if state.examples.get(number) == known:  # two may have asked at the same time
            state.examples[number] = state.store.put(stored), sentences
    token, sentences = state.examples[number]
    return token, _stored(state, token), sentences


def _draw_example(number: int) -> tuple[StoredImage, list[str]]:
    seed, size = examples.SCENES[number]
    image, rows = examples.render_scene(seed, size)
    stored = StoredImage(f"street-{number + 1}.jpg", image, preview(image), example=True)
    return stored, [row.ref for row in rows]


def _store(upload: Upload) -> StoredImage:
    image = read_image(upload)
    return StoredImage(upload.name, image, preview(image))


def _only_image(form: Form) -> Upload:
    if len(form.images) != 1 or form.values:
        raise InputError("expected one file, `image`, and nothing else")
    return form.images[0]


def _no_json(_: dict[str, Any]) -> Upload:
    raise InputError("expected multipart/form-data with the file `image`, got application/json")


def _no_form(_: Form) -> Questions:
    raise InputError("expected application/json, got multipart/form-data")


def _stored(state: AppState, token: str) -> StoredImage:
    stored = state.store.get(token)
    if stored is None:
        raise NotFoundError(FORGOTTEN)
    return stored


def _found(stored: StoredImage, search: str) -> list[Result]:
    results = stored.searches.get(search)
    if results is None:
        raise NotFoundError("this search is no longer stored; search again")
    return results


def _results(token: str, search: str, results: list[Result]) -> Response:
    place = f"page/{token}/{search}"
    return JSONResponse(
        {
            "token": search,
            "results": [result_dict(token, search, number, result) for number, result in enumerate(results)],
            "tables": {table: f"{place}/{table}" for table in TABLES},
        }
    )


def _index(text: str, count: int) -> int | None:
    """A number in an address, from 0; None where it is none, or not below `count`."""
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        return None
    return int(text) if int(text) < count else None


def _window(text: str, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """Corners "x1-y1-x2-y2" in pixels of the image. Raises InputError."""
    parts = [_index(part, max(size_wh) + 1) for part in text.split("-", 4)]
    x1, y1, x2, y2 = parts if len(parts) == 4 else (None,) * 4
    if (
        x1 is None
        or y1 is None
        or x2 is None
        or y2 is None
        or not (x1 < x2 <= size_wh[0] and y1 < y2 <= size_wh[1])
    ):
        raise InputError(
            f"expected a window x1-y1-x2-y2 inside an image of {size_wh[0]} x {size_wh[1]} pixels"
        )
    return x1, y1, x2, y2


def _model_dict(name: str, model: Any) -> dict[str, Any]:
    own = model.config.search
    return {"name": name, "budget": own.budget, "accept_threshold": own.accept_threshold}


def _file(data: bytes, kind: str, name: str | None = None) -> Response:
    headers = {"Cache-Control": "private, max-age=3600"}
    if name:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return Response(data, media_type=kind, headers=headers)


def _css(color: tuple[int, int, int]) -> str:
    return f"rgb{color}"
