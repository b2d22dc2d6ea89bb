"""Reading the body of a request: an upload as a form or as JSON, in memory, with bounds on the number of its parts."""

import asyncio
import base64
import binascii
import codecs
import unicodedata
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import pydantic_core
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, MultipartState, parse_options_header

from piza import files
from piza.errors import InputError
from piza.server.schemas import MAX_BATCH_IMAGES, MAX_BATCH_SENTENCES, Upload

T = TypeVar("T")

MAX_PARTS = MAX_BATCH_IMAGES + MAX_BATCH_SENTENCES + 20
MAX_NAME = 200  # characters of a file's name
IMAGE_FIELDS = ("image", "picture")
LIST_FIELDS = ("sentences",)


@dataclass
class Form:
    """A form: its image files in their order, and the values of its other fields."""

    images: list[Upload] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


async def read_body(
    request: Request,
    threads: Executor,
    read_form: Callable[[Form], T],
    read_json: Callable[[dict[str, Any]], T],
) -> T:
    """The request of a form or of JSON, whichever the content type says.

    Parsing goes on in one of `threads`, so that other requests are answered meanwhile.
    Raises InputError for another content type and for a body that is not what it says.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise InputError(f"expected a body as it is, got one in the encoding {encoding[:100]!r}")
    header = request.headers.get("content-type", "")
    kind = header.partition(";")[0].strip().lower()
    if kind not in ("application/json", "multipart/form-data"):
        raise InputError(
            f"expected multipart/form-data or application/json, got {kind[:100] or 'no content type'!r}"
        )
    chunks = [chunk async for chunk in request.stream() if chunk]
    body = chunks.pop() if len(chunks) == 1 else b"".join(chunks)
    chunks.clear()
    if kind == "application/json":
        work = partial(_chained, parse_json, read_json)
    else:
        work = partial(_chained, partial(parse_form, header), read_form)
    return await asyncio.get_running_loop().run_in_executor(threads, work, body)


def _chained(parse: Callable[[bytes], Any], read: Callable[[Any], T], body: bytes) -> T:
    return read(parse(body))


def parse_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises InputError."""
    values = _strict_json(body, "the body")
    if not isinstance(values, dict):
        raise InputError("expected a JSON object")
    for old in IMAGE_FIELDS[1:]:
        if old in values and "image" not in values:
            values["image"] = values.pop(old)
    return values


def parse_items(text: str) -> Any:
    """The field `items` of a form. Raises InputError."""
    return _strict_json(text.encode(), "`items`")


def _strict_json(body: bytes, what: str) -> Any:
    """JSON in UTF-8 without half surrogates, each field once. Raises InputError."""
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        values = pydantic_core.from_json(body)
        files.parse_json(body, what)
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError(f"{what} is not valid JSON") from None
    return values


def parse_form(content_type: str, body: bytes) -> Form:
    """A form of multipart/form-data. `sentences` may be repeated, nothing else but images may. Raises InputError."""
    form = Form()
    parts = 0

    def count() -> None:
        nonlocal parts
        parts += 1
        if parts > MAX_PARTS:
            raise InputError(f"expected a form of at most {MAX_PARTS} parts")

    def on_field(part: Field) -> None:
        count()
        name = _text(part.field_name, "a field's name")
        if name in IMAGE_FIELDS:
            raise InputError(f"`{name}` must be a file, with a file name, got a text")
        value = _text(part.value, "a field")
        if name in LIST_FIELDS:
            form.values.setdefault(name, []).append(value)
        elif name in form.values:
            raise InputError(f"`{name[:100]}` was given twice")
        else:
            form.values[name] = value

    def on_file(part: File) -> None:
        count()
        name = _text(part.field_name, "a field's name")
        if name not in IMAGE_FIELDS:
            raise InputError(f"{name[:100]!r} must be a text, got a file; the file is `image`")
        part.file_object.seek(0)
        form.images.append(
            Upload(part.file_object.read(), clean_name(_text(part.file_name, "a file's name")))
        )
        part.close()

    _, options = parse_options_header(content_type)
    parser = None
    try:
        parser = FormParser(
            "multipart/form-data",
            on_field,
            on_file,
            boundary=options.get(b"boundary"),
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},
        )
        parser.write(body)
        parser.finalize()
        if getattr(parser.parser, "state", None) != MultipartState.END:  # its last part may have been cut off
            raise InputError("the form cannot be read: its end is missing")
    except FormParserError as error:
        raise InputError(f"the form cannot be read: {str(error)[:100] or 'it is damaged'}") from None
    finally:
        if parser is not None:
            parser.parser = (
                None  # which refers back to it: the files would stay until Python looks for such circles
            )
    return form


def decode_base64(text: str) -> bytes:
    """The bytes of `image` in JSON, with or without a `data:` prefix. Raises InputError."""
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InputError("`image` is not valid base64") from None


def clean_name(name: str) -> str:
    """What a client calls a file, to be shown: its last part, without control characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()
    return kept[:MAX_NAME] or "the image"


def _text(value: bytes | None, what: str) -> str:
    try:
        return (value or b"").decode()
    except UnicodeDecodeError:
        raise InputError(f"{what} is not valid UTF-8 text") from None
