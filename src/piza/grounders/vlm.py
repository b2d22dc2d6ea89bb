"""A vision-language model behind an OpenAI-compatible endpoint as a grounder: asked in words, answering with JSON.

The endpoint is one of a server on the own machine (vLLM, llama.cpp, Ollama) or of a provider. Every look sends its part of
the picture there.
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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piza.boxes import clip_xyxy
from piza.errors import InputError, reason

UNITS = ("pixels", "thousandths")
BOX_NAMES = ("bbox_2d", "box_2d", "box", "bbox")
SCORE_NAMES = ("confidence", "score")
UNKNOWN = 0.5  # the score of a box without one
OUTSIDE = 0.05  # of the picture's side; boxes further outside are in other units than was asked for
MOST_BYTES = 4_000_000  # of an answer
LONGEST = 50_000  # characters, from the end, in which boxes are looked for
QUALITY = 90  # of the JPEG that is sent


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
        coordinates: how the model gives boxes: "pixels" of the picture it was sent, or "thousandths" of its width and
            height (0 to 1000). It is asked for these, but follows what it was trained with.
        timeout: seconds to wait for the server.

    The grounder answers with boxes (n, 4) xyxy in pixels of its picture, clipped to it, and scores (n,) in [0, 1]: the
    model's own word for how sure it is, 0.5 where it says nothing. No box where it answers null.

    Raises InputError, never with the key in it, for an address, key or unit that cannot be used and, when called, for no
    connection, an HTTP error, an answer without JSON, or boxes in other units.
    """
    place = _place(url)
    if coordinates not in UNITS:
        raise InputError(f"coordinates must be {' or '.join(map(repr, UNITS))}, got {coordinates!r}")
    if api_key is not None and not re.fullmatch(r"[!-~]+", api_key):
        raise InputError("the key of the chat model is empty or holds characters that no key holds")
    name = f"the chat model {model!r} at {place}"

    def ground(picture: NDArray[np.uint8], expression: str) -> tuple[NDArray[Any], NDArray[Any]]:
        size = (picture.shape[1], picture.shape[0])
        content = [
            {"type": "text", "text": question(expression, size, coordinates)},
            {"type": "image_url", "image_url": {"url": data_uri(picture)}},
        ]
        asked = {"model": model, "messages": [{"role": "user", "content": content}]}
        said = _post(url.rstrip("/") + "/chat/completions", asked, api_key, timeout, name)
        seen = boxes_in(said)
        if seen is None:
            raise InputError(f"{name} answered without a box in JSON: {_quote(said, api_key, 80)!r}")
        return _in_pixels(seen, size, coordinates, name)

    return ground


def _place(url: str) -> str:
    """Host and port of a URL, to name it by; the rest of it is nobody's business."""
    wanted = "the address of a chat model must be a URL such as http://localhost:8000/v1"
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise InputError(wanted) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(wanted)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputError(f"{wanted}, without a user, a password or a query")
    return parts.hostname if port is None else f"{parts.hostname}:{port}"


def _quote(text: object, api_key: str | None, longest: int = 200) -> str:
    """The beginning of what somebody else says, without the key in it."""
    said = str(text).replace(api_key, "***") if api_key else str(text)
    return reason(ValueError(said), longest)


def question(expression: str, size_wh: tuple[int, int], coordinates: str) -> str:
    """What the model is asked about a picture of (width, height) pixels."""
    width, height = size_wh
    unit = f"pixels of this picture, which is {width} wide and {height} high"
    if coordinates == "thousandths":
        unit = "thousandths of the picture's width and height, 0 to 1000"
    return (
        f"Find the one thing in the picture that this sentence describes: {expression.strip()}\n"
        'Answer with JSON only: {"bbox_2d": [x1, y1, x2, y2], "confidence": c}, where x1, y1 is the left top corner and '
        f"x2, y2 the right bottom corner, in {unit}, and c, from 0 to 1, says how sure you are. "
        'If you do not see it, answer {"bbox_2d": null, "confidence": 0}.'
    )


def data_uri(picture: NDArray[np.uint8]) -> str:
    """A picture, uint8 RGB (h, w, 3), as the base64 of a JPEG."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def boxes_in(said: str) -> list[tuple[list[float], float]] | None:
    """The boxes in what a model said, as four numbers and a score from 0 to 1 each; [] if it said in JSON that there are
    none, None if there is no such JSON in it.

    Read are objects with a box under one of `BOX_NAMES`, lists of them, objects around them, bare lists of four numbers,
    and null, in code fences or between words. Of several, the first that holds a box counts; what stands in
    <think></think> does not.
    """
    said = said.rpartition("</think>")[2][-LONGEST:]
    nothing = said.strip().strip("`").removeprefix("json").strip() in ("null", "{}")
    for value in _json_values(said):
        found = _boxes_of(value)
        if found:
            return found
        nothing = nothing or found is not None
    return [] if nothing else None


def _json_values(said: str) -> Iterator[Any]:
    """Every JSON object and list in a text, the outermost of those that are inside each other."""
    decoder = json.JSONDecoder()
    at = 0
    while match := re.compile(r"[\[{]").search(said, at):
        try:
            value, at = decoder.raw_decode(said, match.start())
        except ValueError:  # a bracket in prose
            at = match.end()
            continue
        except (
            RecursionError
        ):  # brackets in brackets without end, which would take as long to read again and again
            return
        yield value


def _boxes_of(value: Any) -> list[tuple[list[float], float]] | None:
    """The boxes of a JSON value; [] where it says that there is none, None where it names none or cannot be understood."""
    if isinstance(value, dict):
        names = [name for name in BOX_NAMES if name in value]
        if not names:
            return _joined([_boxes_of(inner) for inner in value.values() if isinstance(inner, (dict, list))])
        score = next((value[name] for name in SCORE_NAMES if name in value), None)
        inner = value[names[0]]
        found = _boxes_of(inner) if isinstance(inner, (dict, list)) else []  # null, or a word such as "none"
        return None if found is None else [(box, _score(score)) for box, _ in found]
    if not isinstance(value, list):
        return None
    if not value:
        return []
    if len(value) == 4 and not any(isinstance(v, (dict, list)) for v in value):
        numbers = [_number(v) for v in value]
        return None if any(v is None for v in numbers) else [([v for v in numbers if v is not None], UNKNOWN)]
    return _joined([_boxes_of(inner) for inner in value if isinstance(inner, (dict, list))])


def _joined(found: list[list[tuple[list[float], float]] | None]) -> list[tuple[list[float], float]] | None:
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
    seen: list[tuple[list[float], float]], size_wh: tuple[int, int], coordinates: str, name: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Boxes as the model gave them -> (n, 4) xyxy in pixels, clipped, and scores (n,); those without an area left out."""
    boxes = np.array([box for box, _ in seen], dtype=np.float64).reshape(-1, 4)
    scores = np.array([score for _, score in seen], dtype=np.float64)
    size = np.tile(np.array(size_wh, dtype=np.float64), 2)
    if coordinates == "thousandths":
        boxes = boxes * size / 1000
    frame = (0.0, 0.0, *map(float, size_wh))
    clipped = clip_xyxy(boxes, frame)
    if (np.abs(boxes - clipped) > OUTSIDE * size).any():
        raise InputError(
            f"{name} answered with a box outside the picture, so not in {coordinates}, as it was asked to; "
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
            body = response.read(MOST_BYTES)
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
        said = json.loads(error.read(MOST_BYTES))
        return str(said["error"]["message"] if isinstance(said["error"], dict) else said["error"])
    except Exception:  # it says nothing, or not in JSON; the code is told anyway
        return ""
