"""A vision-language model behind an OpenAI-compatible endpoint as a grounder: asked in words, answering with JSON.

The endpoint is one of a server on the own machine (vLLM, llama.cpp, Ollama) or of a provider. Every look sends its part of
the image there.
"""

import base64
import http.client
import io
import json
import math
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piza.boxes import clip_xyxy
from piza.errors import InputError, reason
from piza.grounders.json_values import json_values

UNITS = ("pixels", "thousandths")
Y_FIRST = "box_2d"  # models that use this name were trained on [ymin, xmin, ymax, xmax] in thousandths
BOX_NAMES = ("bbox_2d", Y_FIRST, "box", "bbox")
SCORE_NAMES = ("confidence", "score")
UNKNOWN = 0.5  # the score of a box without one
OUTSIDE = 0.05  # of the image's side; boxes further outside are in other units than was asked for
MAX_BYTES = 4_000_000  # of an answer
MAX_CHARACTERS = 50_000  # characters, from the end, in which boxes are looked for
QUALITY = 90  # of the JPEG that is sent


@dataclass(frozen=True)
class ChatBox:
    """A box as a chat model gave it.

    xyxy: four numbers, x first; the corners may be out of order. score: from 0 to 1. thousandths: counted in thousandths of
    the image's width and height, whatever the model was asked for.
    """

    xyxy: list[float]
    score: float = UNKNOWN
    thousandths: bool = False


def chat_grounder(
    url: str,
    model: str,
    api_key: str | None = None,
    coordinates: str = "pixels",
    timeout: float = 60.0,
) -> Callable[[NDArray[np.uint8], str], tuple[NDArray[Any], NDArray[Any]]]:
    """A vision-language model as a `piza.grounders.base.Grounder`: POST {url}/chat/completions, one request a look.

    Args:
        url: of the endpoint, up to the version: "http://localhost:8000/v1". Redirects are not followed, so that the key
            goes nowhere else.
        model: its name there.
        coordinates: how the model gives boxes: "pixels" of the image it was sent, or "thousandths" of its width and
            height (0 to 1000). It is asked for these, but follows what it was trained with. A box under the name "box_2d" is
            read as [ymin, xmin, ymax, xmax] in thousandths in any case, as models are trained to write it.
        timeout: seconds to wait for the server.

    The grounder answers with boxes (n, 4) xyxy in pixels of its image, clipped to it, corners put in order, and scores
    (n,) in [0, 1]: the model's own word for how sure it is, 0.5 where it says nothing. No box where it answers null.

    Raises InputError, never with the key in it, for an address, key or unit that cannot be used and, when called, for no
    connection, an HTTP error, an answer without JSON, or boxes in other units.
    """
    place = _place(url)
    if coordinates not in UNITS:
        raise InputError(f"coordinates must be {' or '.join(map(repr, UNITS))}, got {coordinates!r}")
    if api_key is not None and not re.fullmatch(r"[!-~]+", api_key):
        raise InputError("the key of the chat model is empty or holds characters that no key holds")
    name = f"the chat model {model!r} at {place}"

    def ground(image: NDArray[np.uint8], expression: str) -> tuple[NDArray[Any], NDArray[Any]]:
        size = (image.shape[1], image.shape[0])
        content = [
            {"type": "text", "text": question(expression, size, coordinates)},
            {"type": "image_url", "image_url": {"url": data_uri(image)}},
        ]
        asked = {"model": model, "messages": [{"role": "user", "content": content}]}
        answer = _post(url.rstrip("/") + "/chat/completions", asked, api_key, timeout, name)
        seen = boxes_in(answer)
        if seen is None:
            raise InputError(f"{name} answered without a box in JSON: {_quote(answer, api_key, 80)!r}")
        return _in_pixels(seen, size, coordinates, name)

    return ground


def _place(url: str) -> str:
    """Host and port of a URL, to name it by; the rest of it is nobody's business."""
    expected = "expected the address of a chat model, a URL such as http://localhost:8000/v1"
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise InputError(expected) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(expected)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputError(f"{expected}, without a user, a password or a query")
    return parts.hostname if port is None else f"{parts.hostname}:{port}"


def _quote(text: object, api_key: str | None, longest: int = 200) -> str:
    """The beginning of what somebody else says, without the key in it."""
    said = str(text).replace(api_key, "***") if api_key else str(text)
    return reason(ValueError(said), longest)


def question(expression: str, size_wh: tuple[int, int], coordinates: str) -> str:
    """What the model is asked about an image of (width, height) pixels."""
    width, height = size_wh
    unit = f"pixels of this image, which is {width} wide and {height} high"
    if coordinates == "thousandths":
        unit = "thousandths of the image's width and height, 0 to 1000"
    return (
        f"Find the one object in the image that this sentence describes: {expression.strip()}\n"
        'Answer with JSON only: {"bbox_2d": [x1, y1, x2, y2], "confidence": c}, where x1, y1 is the left top corner and '
        f"x2, y2 the right bottom corner, in {unit}, and c, from 0 to 1, says how sure you are. "
        'If you do not see it, answer {"bbox_2d": null, "confidence": 0}.'
    )


def data_uri(image: NDArray[np.uint8]) -> str:
    """An image, uint8 RGB (h, w, 3), as the base64 of a JPEG."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def boxes_in(answer: str) -> list[ChatBox] | None:
    """The boxes in what a model answered; [] if it says in JSON that there are none, None if there is no such JSON in it.

    Read are objects with a box under one of `BOX_NAMES`, lists of them, objects around them, bare lists of four numbers,
    and null, in code fences or between words. Of several, the first that holds a box counts; what stands in
    <think></think> does not.
    """
    answer = answer.rpartition("</think>")[2][-MAX_CHARACTERS:]
    nothing = answer.strip().strip("`").removeprefix("json").strip() in ("null", "{}")
    for value in _named_values(answer):
        found = _boxes_of(value)
        if found:
            return found
        nothing = nothing or found is not None
    return [] if nothing else None


def _named_values(answer: str) -> Iterator[Any]:
    """Every JSON object and list in a text. Of an object that is cut off, a list comes with its name, which says how a box is to be
    read."""
    for start, value in json_values(answer):
        name = re.search(r'"(\w+)"\s*:\s*$', answer[max(0, start - 40) : start])
        yield {name[1]: value} if name and name[1] in BOX_NAMES else value


def _boxes_of(value: Any) -> list[ChatBox] | None:
    """The boxes of a JSON value; [] where it says that there is none, None where it names none or cannot be understood."""
    if isinstance(value, dict):
        name = next((name for name in BOX_NAMES if name in value), None)
        if name is None:
            return _joined([_boxes_of(inner) for inner in value.values() if isinstance(inner, (dict, list))])
        score = _score(next((value[key] for key in SCORE_NAMES if key in value), None))
        inner = value[name]
        found = _boxes_of(inner) if isinstance(inner, (dict, list)) else []  # null, or a word such as "none"
        if found is None:
            return None
        return [replace(_y_first(box) if name == Y_FIRST else box, score=score) for box in found]
    if not isinstance(value, list):
        return None
    if not value:
        return []
    if len(value) == 4 and not any(isinstance(v, (dict, list)) for v in value):
        numbers = [_number(v) for v in value]
        return None if any(v is None for v in numbers) else [ChatBox([v for v in numbers if v is not None])]
    return _joined([_boxes_of(inner) for inner in value if isinstance(inner, (dict, list))])


def _y_first(box: ChatBox) -> ChatBox:
    """A box that was read as xyxy, but is [ymin, xmin, ymax, xmax] in thousandths."""
    if box.thousandths:  # its name was read already, as of a box inside a box
        return box
    y1, x1, y2, x2 = box.xyxy
    return ChatBox([x1, y1, x2, y2], box.score, thousandths=True)


def _joined(found: list[list[ChatBox] | None]) -> list[ChatBox] | None:
    named = [boxes for boxes in found if boxes is not None]
    return [box for boxes in named for box in boxes] if named else None


def _number(value: Any) -> float | None:
    """A number, also one in quotes; None for what is none, or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _score(value: Any) -> float:
    """A score from 0 to 1, also of "95 %" or 95; `UNKNOWN` for a word."""
    number = _number(value.strip(" %") if isinstance(value, str) else value)
    if number is None:
        return UNKNOWN
    return min(max(number / 100 if number > 1 else number, 0.0), 1.0)


def _in_pixels(
    seen: list[ChatBox], size_wh: tuple[int, int], coordinates: str, name: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Boxes as the model gave them -> (n, 4) xyxy in pixels, clipped, and scores (n,); those without an area left out."""
    boxes = np.array([box.xyxy for box in seen], dtype=np.float64).reshape(-1, 4)
    scores = np.array([box.score for box in seen], dtype=np.float64)
    thousandths = np.array([box.thousandths or coordinates == "thousandths" for box in seen], dtype=bool)
    size = np.tile(np.array(size_wh, dtype=np.float64), 2)
    boxes[thousandths] *= size / 1000
    boxes = np.concatenate([np.fmin(boxes[:, :2], boxes[:, 2:]), np.fmax(boxes[:, :2], boxes[:, 2:])], axis=1)
    clipped = clip_xyxy(boxes, (0.0, 0.0, *map(float, size_wh)))
    outside = (np.abs(boxes - clipped) > OUTSIDE * size).any(axis=1)
    if outside.any():
        box = seen[int(outside.argmax())]
        if box.thousandths:
            raise InputError(
                f"{name} answered with a box outside the image: expected {Y_FIRST!r} as [ymin, xmin, ymax, xmax] from 0 to "
                f"1000, got {[box.xyxy[i] for i in (1, 0, 3, 2)]}"
            )
        raise InputError(
            f"{name} answered with a box outside the image, so not in {coordinates}, as it was asked to; "
            f"it may count in {UNITS[1 - UNITS.index(coordinates)]} or in other units"
        )
    real = ((clipped[:, 2:] - clipped[:, :2]) > 0).all(axis=1)
    return clipped[real], scores[real]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would send the key along to wherever a redirect points."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, asked: dict[str, Any], api_key: str | None, timeout: float, name: str) -> str:
    """Sends a request and returns the text of the first choice. Raises InputError for whatever goes wrong."""
    headers = {"Content-Type": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    request = urllib.request.Request(url, json.dumps(asked).encode(), headers, method="POST")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout) as response:
            body = response.read(MAX_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            why = _quote(_complaint(error) or error.reason or "no reason given", api_key)
        raise InputError(f"{name} answered with HTTP error {error.code}: {why}") from None
    except urllib.error.URLError as error:
        raise InputError(f"{name} cannot be reached: {_quote(error.reason, api_key)}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # too slow, cut off, an odd URL
        raise InputError(f"{name} cannot be reached: {_quote(error, api_key)}") from None
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
        if isinstance(content, list):  # in parts, as some servers answer
            content = "".join(part.get("text") or "" for part in content)
        if not isinstance(content, str):
            raise TypeError
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{name} did not answer as an OpenAI-compatible endpoint does") from None
    return content


def _complaint(error: urllib.error.HTTPError) -> str:
    """What the server says about an HTTP error, as far as it can be read."""
    try:
        said = json.loads(error.read(MAX_BYTES))
        return str(said["error"]["message"] if isinstance(said["error"], dict) else said["error"])
    except Exception:  # it says nothing, or not in JSON; the code is told anyway
        return ""
