"""Photos at the size of a first look, kept on disk without coding, and regions cut out of them as the network cuts them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from piza.image import open_image
from piza.search.region_crops import SIDE, square_crop
from piza.training.from_scratch.cached_lists import view_of
from piza.training.from_scratch.frame_cache import FrameCache

DRAWN = "scenes"  # the source of drawn scenes


@dataclass
class NamedRegion:
    """A region (x1, y1, x2, y2 in pixels of its photo or scene); phrase: "" where only attributes are known; known: kinds of
    attributes that `attributes` tell, all of them for a drawn object."""

    key: str
    xyxy: tuple[float, ...]
    phrase: str = ""
    attributes: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()


class RegionFrames:
    """Frames by key: "SOURCE/NAME" of photos, "scenes/NUMBER" of drawn ones.

    folders: where the photos of each source are. scenes: a cache of drawn scenes. work: where frames are kept.
    """

    def __init__(self, folders: dict[str, Path], scenes: Path | None, work: Path):
        self.folders = folders
        self.scenes = FrameCache(scenes) if scenes else None
        self.pixels, self.index = work / "frames.bin", work / "frames.jsonl"
        self.places: dict[str, tuple[int, tuple[int, int], tuple[int, int]]] = {}
        self._read()

    def _read(self) -> None:
        if self.index.exists():
            for line in self.index.read_text().splitlines():
                key, start, shape, size = json.loads(line)
                self.places[key] = (start, tuple(shape), tuple(size))

    def prepare(self, keys: Iterable[str]) -> None:
        """Keep the photos that are not kept yet."""
        missing = sorted({key for key in keys if not key.startswith(DRAWN)} - set(self.places))
        self.index.parent.mkdir(parents=True, exist_ok=True)
        start = max((at + 3 * h * w for at, (h, w), _ in self.places.values()), default=0)
        with (
            open(self.pixels, "r+b" if self.pixels.exists() else "w+b") as out,
            open(self.index, "a") as index,
        ):
            out.seek(start)
            for key in missing:
                image = self._photo(key)
                frame = view_of(image, 0, np.random.default_rng(0))
                out.write(np.ascontiguousarray(frame).tobytes())
                out.flush()
                index.write(json.dumps([key, start, frame.shape[:2], image.shape[:2]]) + "\n")
                start += frame.size
        self._read()

    def _photo(self, key: str) -> NDArray[np.uint8]:
        source, name = key.split("/")
        return open_image(self.folders[source] / name)

    def frame(self, key: str) -> tuple[NDArray[np.uint8], float]:
        """Pixels (height, width, 3) and how many of these a pixel of the photo is."""
        source, name = key.split("/")
        if source == DRAWN:
            assert self.scenes is not None
            return self.scenes.images[int(name)], 1.0
        if key not in self.places:
            image = self._photo(key)
            frame = view_of(image, 0, np.random.default_rng(0))
            return frame, frame.shape[1] / image.shape[1]
        start, shape, size = self.places[key]
        frame = np.memmap(self.pixels, np.uint8, "r", start, (*shape, 3))
        return frame, shape[1] / size[1]

    def drawn(self) -> list[NamedRegion]:
        """The objects of the drawn scenes."""
        return [
            NamedRegion(f"{DRAWN}/{number}", tuple(map(float, box)), "", tuple(words))
            for number, frame in enumerate(self.scenes or ())
            for box, words in zip(frame.objects, frame.attributes, strict=True)
        ]


def region_of(
    frame: tuple[NDArray[np.uint8], float],
    xyxy: Sequence[float],
    mirrored: bool,
    rng: np.random.Generator | None,
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """A crop (SIDE, SIDE, 3) as `region_crops` cuts it, and the size of its box; with `rng` of a box that is moved a little,
    in another light, now and then blurred."""
    pixels, scale = frame
    x1, y1, x2, y2 = (scale * float(value) for value in xyxy)
    width, height = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
    center = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    if rng is not None:
        center += rng.normal(0, 0.06, 2) * (width, height)
        width, height = np.exp(rng.normal(0, 0.1, 2)) * (width, height)
    corners = np.concatenate([center - (width / 2, height / 2), center + (width / 2, height / 2)])
    crop: NDArray[Any] = square_crop(pixels, corners)
    if mirrored:
        crop = crop[:, ::-1]
    if rng is not None:
        crop = _in_other_light(crop, rng)
    sizes = (float(np.log(width / height)), float(np.log(max(width, height) / SIDE)))
    return np.ascontiguousarray(crop, dtype=np.uint8), sizes


def _in_other_light(crop: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    values: NDArray[Any] = crop.astype(np.float32)
    gray = values.mean(2, keepdims=True)
    values = gray + (values - gray) * np.exp(rng.normal(0, 0.15))
    middle = values.mean()
    values = (values - middle) * np.exp(rng.normal(0, 0.15)) + middle + rng.normal(0, 10)
    if rng.random() < 0.25:
        small = int(rng.integers(20, SIDE))
        values = cv2.resize(cv2.resize(values, (small, small), interpolation=cv2.INTER_AREA), (SIDE, SIDE))
    return values.clip(0, 255).astype(np.uint8)
