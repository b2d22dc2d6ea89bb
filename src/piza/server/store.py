"""The pictures the page works with, and the searches in them: kept in memory, the oldest forgotten when it gets too much."""

import io
import secrets
import tempfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from piza.cli.main import STOPPED
from piza.image import ImageArray, cut
from piza.result import Result
from piza.visualize.draw import surroundings_xyxy

PREVIEW = 1600
"""Longest side of the picture as the page shows it, in pixels: the whole one is never sent back."""

CLOSE_UP = 480  # side of the surroundings of an answer, in pixels
MOST_BYTES = 600_000_000  # of decoded pixels
MOST_SEARCHES = 12  # of one picture
SHOWN = 5  # candidates of a look


@dataclass
class Kept:
    """A picture the page was given. searches: the results of each search in it by token, in the order of the sentences."""

    name: str
    picture: ImageArray
    preview: bytes
    searches: "OrderedDict[str, list[Result]]" = field(default_factory=OrderedDict)
    example: bool = False


class Shelf:
    """Pictures by token. A token cannot be guessed, so whoever has it was given it. Used from one event loop."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def put(self, kept: Kept) -> str:
        """Keeps a picture; the oldest others are forgotten where there are too many. Returns its token."""
        token = secrets.token_urlsafe(12)
        self._kept[token] = kept
        others = [other for other, kept in self._kept.items() if other != token and not kept.example]
        while others and sum(kept.picture.nbytes for kept in self._kept.values()) > self.most_bytes:
            del self._kept[others.pop(0)]
        return token

    def get(self, token: Any) -> Kept | None:
        """None for what was forgotten or never here."""
        kept = self._kept.get(token) if isinstance(token, str) else None
        if kept is not None:
            self._kept.move_to_end(token)
        return kept

    def add(self, kept: Kept, results: list[Result]) -> str:
        """Keeps the results of a search in this picture. Returns their token."""
        token = secrets.token_urlsafe(12)
        kept.searches[token] = results
        while len(kept.searches) > MOST_SEARCHES:
            kept.searches.popitem(last=False)
        return token


def preview(picture: ImageArray) -> bytes:
    """The picture as a JPEG file, no side longer than `PREVIEW`."""
    height, width = picture.shape[:2]
    scale = min(PREVIEW / max(width, height), 1.0)
    return jpeg(
        cut(picture, (0, 0, width, height), (max(round(width * scale), 1), max(round(height * scale), 1)))
    )


def jpeg(picture: ImageArray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=88)
    return file.getvalue()


def look_jpeg(result: Result, number: int) -> bytes:
    """What the model was given at this look of the path, from 0; after the last one, the surroundings of the answer."""
    if number < len(result.path):
        step = result.path[number]
        return jpeg(cut(result.image, step.window_xyxy, step.input_size))
    window = surroundings_xyxy(result.box_xyxy, result.frame_size)
    scale = CLOSE_UP / max(window[2] - window[0], window[3] - window[1])
    size = (max(round((window[2] - window[0]) * scale), 1), max(round((window[3] - window[1]) * scale), 1))
    return jpeg(cut(result.image, window, size))


def drawn(result: Result, suffix: str) -> bytes:
    """The drawing (".png") or the animation (".webp") of a search, as a file."""
    with tempfile.TemporaryDirectory(prefix="piza-") as folder:
        path = Path(folder) / f"search{suffix}"
        if suffix == ".webp":
            result.animate(path)
        else:
            result.save_drawing(path)
        return path.read_bytes()


def picture_words(token: str, kept: Kept) -> dict[str, Any]:
    """What the page needs to show a picture."""
    height, width = kept.picture.shape[:2]
    return {
        "token": token,
        "name": kept.name,
        "width": width,
        "height": height,
        "image": f"page/{token}/frame.jpg",
    }


def search_words(token: str, search: str, number: int, result: Result) -> dict[str, Any]:
    """What the page needs to show one sentence's search: numbers, and the addresses of small pictures."""
    place = f"page/{token}/{search}/{number}"
    looks = [
        {
            "window": [float(value) for value in step.window_xyxy],
            "size": [int(value) for value in step.input_size],
            "progress": float(step.progress),
            "stop": float(step.stop),
            "boxes": [[float(value) for value in box] for box in step.candidates_xyxy[:SHOWN]],
            "scores": [float(value) for value in step.candidate_scores[:SHOWN]],
            "image": f"{place}/look-{index}.jpg",
        }
        for index, step in enumerate(result.path)
    ]
    return {
        "sentence": result.expression,
        "box": [float(value) for value in result.box_xyxy],
        "score": float(result.score),
        "found": result.found,
        "looks": result.looks_in_words,
        "stopped": STOPPED.get(result.stopped, result.stopped),
        "milliseconds": float(result.milliseconds),
        "path": looks,
        "close_up": {
            "window": list(surroundings_xyxy(result.box_xyxy, result.frame_size)),
            "image": f"{place}/look-{len(looks)}.jpg",
        },
        "detours": [[float(value) for value in window] for window in result.detours],
        "rejected": [
            {"box": [float(v) for v in box], "score": float(score)} for box, score in result.rejected
        ],
        "drawing": f"{place}/drawing.png",
        "film": f"{place}/zoom.webp",
        "json": f"{place}/search.json",
    }
