"""What the server holds: its models and queues, and in memory, within a bound, the images the page works with."""

import io
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from piza.image import ImageArray, cut
from piza.result import STOP_REASONS, Result
from piza.server.metrics import Metrics
from piza.server.queue import WorkQueue
from piza.visualize.animate import encode_animation
from piza.visualize.draw import encode_image, surroundings_xyxy

MEGABYTE = 1_000_000
PREVIEW_SIDE = 1600
"""Longest side of what the page gets of an image, in pixels: the whole one is never sent back."""

CLOSE_UP_SIDE = 480  # of the surroundings of an answer, in pixels
MAX_BYTES = 600 * MEGABYTE  # of decoded images, previews and results
MAX_SEARCHES = 12  # kept of one image
MAX_CANDIDATES = 5  # shown of a look
IMAGE_OVERHEAD, RESULT_OVERHEAD = 20_000, 4_000  # bytes that an entry takes besides its arrays, about


@dataclass(frozen=True)
class Limits:
    """What the server takes and how long it works. See SECURITY.md.

    queue_size: searches that may wait for one model. seconds: the longest a request takes, from its first byte to its
    answer, waiting included. max_bytes: of a request's body; all unanswered bodies together take at most four times as
    much. stall_seconds: how long 16 kB of a body may take.
    """

    queue_size: int = 8
    seconds: float = 60.0
    max_bytes: int = 50 * MEGABYTE
    stall_seconds: float = 10.0
    store_bytes: int = MAX_BYTES


@dataclass
class StoredImage:
    """An image the page was given. searches: the results of each search in it by token, in the order of the sentences."""

    name: str
    image: ImageArray
    preview: bytes
    searches: "OrderedDict[str, list[Result]]" = field(default_factory=OrderedDict)
    example: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        results = [result for results in self.searches.values() for result in results]
        return (
            self.image.nbytes
            + len(self.preview)
            + IMAGE_OVERHEAD
            + sum(_result_bytes(one) for one in results)
        )


class ImageStore:
    """Images by token. A token cannot be guessed, so whoever has it was given it. Used from one event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._images: OrderedDict[str, StoredImage] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """About how much memory the images take."""
        return sum(stored.nbytes for stored in self._images.values())

    def put(self, stored: StoredImage) -> str:
        """Keep an image; the least recently used others are dropped where they are too much. Returns its token."""
        token = secrets.token_urlsafe(12)
        self._images[token] = stored
        self._shrink(token)
        return token

    def get(self, token: str) -> StoredImage | None:
        """None for what was dropped or never here."""
        stored = self._images.get(token)
        if stored is not None:
            self._images.move_to_end(token)
        return stored

    def add(self, token: str, stored: StoredImage, results: list[Result]) -> str:
        """Keep the results of a search in this image. Returns their token."""
        search = secrets.token_urlsafe(12)
        stored.searches[search] = results
        while len(stored.searches) > MAX_SEARCHES:
            stored.searches.popitem(last=False)
        self._shrink(token)
        return search

    def _shrink(self, token: str) -> None:
        total = self.nbytes
        others = [key for key, stored in self._images.items() if key != token and not stored.example]
        for key in others:
            if total <= self.max_bytes:
                break
            total -= self._images.pop(key).nbytes


@dataclass
class AppState:
    """What all routes share. models: the loaded ones by name; the first is taken unless another is asked for."""

    models: Mapping[str, Any]
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=Metrics)
    examples: dict[int, tuple[str, list[str]]] = field(
        default_factory=dict
    )  # token and sentences of those drawn

    def __post_init__(self) -> None:
        size = self.limits.queue_size
        self.store = ImageStore(self.limits.store_bytes)
        self.queues = {name: WorkQueue(size, f"piza-{name[:40]}") for name in self.models}
        self.image_queue = WorkQueue(size + 8, "piza-images")  # decodes, crops and draws
        self.parsers = ThreadPoolExecutor(2, "piza-parse")
        self.metrics.gauge(
            "piza_searches_waiting",
            "Searches that wait for their turn.",
            lambda: {(("model", name),): queue.waiting for name, queue in self.queues.items()},
        )
        self.metrics.gauge(
            "piza_searches_running",
            "Searches in progress.",
            lambda: {(("model", name),): int(queue.running) for name, queue in self.queues.items()},
        )
        self.metrics.gauge(
            "piza_stored_bytes", "Memory that stored images take.", lambda: {(): self.store.nbytes}
        )

    @property
    def max_requests(self) -> int:
        """How many requests with a body may be unanswered at a time."""
        return (self.limits.queue_size + 1) * len(self.queues)

    @property
    def busy(self) -> bool:
        """Whether any search is in progress."""
        return any(queue.running for queue in self.queues.values())

    def close(self) -> None:
        """Drop what waits; what runs is told to give up."""
        for queue in (*self.queues.values(), self.image_queue):
            queue.cancel_all()


def preview(image: ImageArray) -> bytes:
    """The image as a JPEG file, no side longer than `PREVIEW_SIDE`."""
    height, width = image.shape[:2]
    return crop_jpeg(image, (0, 0, width, height), PREVIEW_SIDE)


def crop_jpeg(image: ImageArray, window_xyxy: Sequence[float], max_side: int, enlarge: bool = False) -> bytes:
    """A window of an image, in its pixels, as a JPEG file with no side longer than `max_side`."""
    width, height = window_xyxy[2] - window_xyxy[0], window_xyxy[3] - window_xyxy[1]
    scale = max_side / max(width, height)
    scale = scale if enlarge else min(scale, 1.0)
    return jpeg(cut(image, window_xyxy, (max(round(width * scale), 1), max(round(height * scale), 1))))


def jpeg(image: ImageArray) -> bytes:
    """Pixels as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=88)
    return file.getvalue()


def look_jpeg(image: ImageArray, result: Result, number: int) -> bytes:
    """What the model was given at this look of the path, from 0; after the last one, the surroundings of the answer."""
    if number < len(result.path):
        step = result.path[number]
        return jpeg(cut(image, step.window_xyxy, step.input_size))
    window = surroundings_xyxy(result.box_xyxy, result.frame_size)
    return crop_jpeg(image, window, CLOSE_UP_SIDE, enlarge=True)


def draw_file(result: Result, suffix: str) -> bytes:
    """The drawing (".png") or the animation (".webp") of a search, as the bytes of a file that is never on a disk."""
    return encode_animation(result, suffix) if suffix == ".webp" else encode_image(result.draw(), suffix)


def image_dict(token: str, stored: StoredImage) -> dict[str, Any]:
    """What the page needs to show an image."""
    width, height = stored.size
    return {
        "token": token,
        "name": stored.name,
        "width": width,
        "height": height,
        "preview": f"page/{token}/frame.jpg",
        "preview_side": PREVIEW_SIDE,
    }


def result_dict(token: str, search: str, number: int, result: Result) -> dict[str, Any]:
    """What the page needs to show one sentence's search: numbers, and the addresses of small images."""
    place = f"page/{token}/{search}/{number}"
    looks = [
        {
            "window": _floats(step.window_xyxy),
            "size": [int(value) for value in step.input_size],
            "progress": float(step.progress),
            "stop": float(step.stop),
            "boxes": [_floats(box) for box in step.candidates_xyxy[:MAX_CANDIDATES]],
            "scores": _floats(step.candidate_scores[:MAX_CANDIDATES]),
            "image": f"{place}/look-{index}.jpg",
        }
        for index, step in enumerate(result.path)
    ]
    return {
        "sentence": result.expression,
        "box": _floats(result.box_xyxy),
        "score": float(result.score),
        "found": bool(result.found),
        "looks": result.looks_in_words,
        "stopped": STOP_REASONS.get(result.stopped, result.stopped),
        "milliseconds": float(result.milliseconds),
        "unknown_words": list(result.unknown_words),
        "path": looks,
        "close_up": {
            "window": _floats(surroundings_xyxy(result.box_xyxy, result.frame_size)),
            "image": f"{place}/look-{len(looks)}.jpg",
        },
        "detours": [_floats(window) for window in result.detours],
        "rejected": [{"box": _floats(box), "score": float(score)} for box, score in result.rejected],
        "drawing": f"{place}/drawing.png",
        "film": f"{place}/zoom.webp",
        "json": f"{place}/search.json",
    }


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]


def _result_bytes(result: Result) -> int:
    arrays = sum(step.candidates_xyxy.nbytes + step.candidate_scores.nbytes for step in result.path)
    return RESULT_OVERHEAD + arrays + 2 * len(result.expression)
