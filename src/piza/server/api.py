"""The HTTP interface: POST /locate and /batch, GET /health, /metrics, /openapi.json and /docs.

Every refusal is JSON with one sentence: {"error": "..."}.
"""

from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter, ValidationError

from piza import __version__
from piza.errors import InputError
from piza.server.bodies import Form, clean_name, decode_base64, parse_items, read_body
from piza.server.errors import add_handlers
from piza.server.queue import IsCancelled
from piza.server.schemas import (
    MAX_BATCH_IMAGES,
    MAX_BATCH_SENTENCES,
    OPTIONS,
    BatchAnswers,
    BatchRequest,
    ErrorAnswer,
    FormItem,
    Health,
    LocateRequest,
    Questions,
    ResultAnswer,
    SearchOptions,
    Upload,
    read,
)
from piza.server.search import locate_all, read_image, search
from piza.server.store import AppState

Item = tuple[int, Upload, list[str]]
"""Which image of the request, from 0, the image, and the sentences about it."""

STATUSES = {
    400: "The image, a sentence or a field cannot be used.",
    403: "This host or origin was not named.",
    408: "The request came too slowly.",
    413: "The request is larger than the server takes.",
    503: "Too many requests wait; Retry-After says when to come back.",
    504: "The answer was not there in time.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text} for status, text in STATUSES.items()
}


def create_api(state: AppState) -> FastAPI:
    """The routes of the HTTP interface."""
    app = FastAPI(
        title="piza",
        version=__version__,
        summary="Find the small object that a sentence describes in a large image.",
        docs_url=None,  # FastAPI's own pages fetch scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses={403: ERRORS[403]},
    )
    add_handlers(app)
    app.include_router(_search_routes(state))
    app.include_router(_status_routes(state))
    return app


def _status_routes(state: AppState) -> APIRouter:
    router = APIRouter(tags=["status"])

    @router.head("/health", response_model=None, include_in_schema=False)  # as balancers of load ask
    @router.get("/health", response_model=Health)
    async def health() -> Health:
        """Whether the server is there, and how busy it is. Answered at once, whatever else goes on."""
        return Health(
            status="ok",
            version=__version__,
            models=list(state.models),
            searching=state.busy,
            waiting=sum(queue.waiting for queue in state.queues.values()),
            queue_size=state.limits.queue_size,
        )

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counters in the text format of Prometheus."""
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _search_routes(state: AppState) -> APIRouter:
    router = APIRouter(tags=["search"], responses=ERRORS)

    @router.post(
        "/locate",
        openapi_extra=_request_body(LocateRequest, _form_schema(several=False)),
        responses={
            200: {"model": ResultAnswer | list[ResultAnswer], "description": "One result, or a list."}
        },
    )
    async def locate(request: Request) -> Response:
        """Find what sentences describe in an image: an object for one sentence, a list for several, in their order."""
        upload, questions = await read_body(request, state.parsers, _locate_form, _locate_json)

        def work(model: Any, is_cancelled: IsCancelled) -> list[dict[str, Any]]:
            image = read_image(upload)
            results = locate_all(model, image, questions.sentences, questions, is_cancelled)
            return [result.to_dict() for result in results]

        found = await search(state, questions, work, len(questions.sentences))
        return JSONResponse(found[0] if len(found) == 1 else found)

    @router.post(
        "/batch",
        openapi_extra=_request_body(BatchRequest, _form_schema(several=True)),
        responses={200: {"model": BatchAnswers, "description": "An answer an item, in their order."}},
    )
    async def batch(request: Request) -> Response:
        """Search in several images. An image that cannot be used has an `error`, and the others their results."""
        items, options = await read_body(request, state.parsers, _batch_form, _batch_json)
        total = sum(len(sentences) for *_, sentences in items)

        def work(model: Any, is_cancelled: IsCancelled) -> list[dict[str, Any]]:
            return [_answer(model, item, options, is_cancelled) for item in items]

        return JSONResponse({"answers": await search(state, options, work, total)})

    return router


def _answer(model: Any, item: Item, options: SearchOptions, is_cancelled: IsCancelled) -> dict[str, Any]:
    """The entry of one image in the answer of a batch."""
    number, upload, sentences = item
    entry: dict[str, Any] = {"image": number, "name": upload.name, "results": None, "error": None}
    try:
        results = locate_all(model, read_image(upload), sentences, options, is_cancelled)
        entry["results"] = [result.to_dict() for result in results]
    except InputError as error:
        entry["error"] = str(error)
    return entry


def _locate_form(form: Form) -> tuple[Upload, Questions]:
    if len(form.images) != 1:
        raise InputError(
            f"expected one image, the file `image`, got {len(form.images) or 'none'}; see /batch"
        )
    return form.images[0], read(Questions, form.values)


def _locate_json(values: dict[str, Any]) -> tuple[Upload, Questions]:
    if not isinstance(values.get("image"), str):
        raise InputError("an image is expected: `image` should be the bytes of a file in base64")
    request = read(LocateRequest, values)
    return Upload(decode_base64(request.image), "the image"), request


def _batch_form(form: Form) -> tuple[list[Item], SearchOptions]:
    values = dict(form.values)
    text, sentences = values.pop("items", None), values.pop("sentences", None)
    options = read(SearchOptions, values)
    if not 1 <= len(form.images) <= MAX_BATCH_IMAGES:
        raise InputError(f"expected 1 to {MAX_BATCH_IMAGES} files `image`, got {len(form.images)}")
    if (text is None) == (sentences is None):
        raise InputError("expected either `sentences`, asked of every image, or `items`")
    if text is None:
        asked = read(Questions, {"sentences": sentences}).sentences
        return _bounded([(number, upload, asked) for number, upload in enumerate(form.images)]), options
    items: list[Item] = []
    for item in _form_items(text):
        if item.image >= len(form.images):
            raise InputError(f"`items` names image {item.image}, but only {len(form.images)} were uploaded")
        items.append((item.image, form.images[item.image], item.sentences))
    unnamed = set(range(len(form.images))) - {number for number, *_ in items}
    if unnamed:
        raise InputError(f"`items` does not name image {min(unnamed)}, which was uploaded")
    return _bounded(items), options


def _form_items(text: str) -> list[FormItem]:
    values = parse_items(text)
    try:
        items = TypeAdapter(list[FormItem]).validate_python(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part)[:50] for part in ("items", *fault["loc"]))
        raise InputError(f"`{place}`: {fault['msg'].removeprefix('Value error, ')}") from None
    if not 1 <= len(items) <= MAX_BATCH_IMAGES:
        raise InputError(f"`items`: expected 1 to {MAX_BATCH_IMAGES} items, got {len(items)}")
    return items


def _batch_json(values: dict[str, Any]) -> tuple[list[Item], SearchOptions]:
    request = read(BatchRequest, values)
    return _bounded(
        [
            (number, Upload(decode_base64(item.image), clean_name(item.name or "the image")), item.sentences)
            for number, item in enumerate(request.items)
        ]
    ), request


def _bounded(items: list[Item]) -> list[Item]:
    total = sum(len(sentences) for *_, sentences in items)
    if total > MAX_BATCH_SENTENCES:
        raise InputError(
            f"a batch may hold at most {MAX_BATCH_SENTENCES} sentences over all images, got {total}"
        )
    return items


def _form_schema(several: bool) -> dict[str, Any]:
    """The schema of the form that a route takes besides JSON."""
    options = SearchOptions.model_json_schema()["properties"]
    file = {"type": "string", "format": "binary"}
    sentences = {
        "type": "array",
        "items": {"type": "string"},
        "description": "May be repeated, or a JSON list.",
    }
    properties: dict[str, Any] = {"image": file, "sentences": sentences}
    required = ["image", "sentences"]
    if several:
        items = {"type": "string", "description": 'JSON: [{"image": 0, "sentences": ["..."]}, ...]'}
        properties = {"image": {"type": "array", "items": file}, "sentences": sentences, "items": items}
        required = ["image"]
    properties |= {name: options[name] for name in ("model", *OPTIONS)}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _request_body(schema: type[LocateRequest] | type[BatchRequest], form: dict[str, Any]) -> dict[str, Any]:
    json_schema = schema.model_json_schema(mode="validation", ref_template="#/components/schemas/{model}")
    definitions = json_schema.pop("$defs", {})
    content = {
        "application/json": {"schema": _inlined(json_schema, definitions)},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with its references written out: FastAPI does not know these models."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    return {key: _inlined(part, definitions) for key, part in schema.items()}
