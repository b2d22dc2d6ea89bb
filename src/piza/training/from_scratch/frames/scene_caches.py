"""Drawing frames, and parts of them, from caches of scenes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from piza.data.frames import Frame
from piza.data.windows import part_of, window_around
from piza.training.from_scratch.frames.cache import FrameCache


class SceneCaches:
    """The frames of several caches as one."""

    def __init__(self, *folders: Path):
        self.caches = [FrameCache(folder) for folder in folders]

    def draw(self, rng: np.random.Generator) -> Frame:
        """A frame that has at least one sentence."""
        index = int(rng.integers(sum(map(len, self.caches))))
        for cache in self.caches:
            if index < len(cache):
                frame = cache[index]
                return frame if frame.rows else self.draw(rng)
            index -= len(cache)
        raise AssertionError("the index is below the number of frames")

    def __iter__(self) -> Iterator[Frame]:
        return (frame for cache in self.caches for frame in cache)


def any_box(frame: Frame, rng: np.random.Generator) -> NDArray[np.float64]:
    """The box of an object that a sentence or a phrase is about, xyxy in pixels of the frame."""
    if frame.phrases and rng.random() < 0.5:
        boxes = frame.phrases[int(rng.integers(len(frame.phrases)))][1]
        return np.asarray(boxes[int(rng.integers(len(boxes)))])
    return frame.rows[int(rng.integers(len(frame.rows)))][1]


def part_around_target(frame: Frame, rng: np.random.Generator, size: tuple[int, int]) -> Frame:
    """A part of a frame around one of its targets, in the shape of `size` (width, height), three to seven tenths of the frame
    wide."""
    box = frame.rows[int(rng.integers(len(frame.rows)))][1]
    width = frame.size[0]
    window = window_around(box, frame.size, rng, 0.3 * width, 0.7 * width, size[0] / size[1])
    x0, y0, x1, y1 = (int(v) for v in window)
    return part_of(frame, (x0, y0, x1, y1))


def part_in_shape(frame: Frame, size: tuple[int, int], rng: np.random.Generator) -> Frame:
    """A part of a frame in the shape of `size` (width, height), at least six tenths as large as fits."""
    width, height = frame.size
    scale = min(width / size[0], height / size[1]) * rng.uniform(0.6, 1.0)
    w, h = int(size[0] * scale), int(size[1] * scale)
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    return part_of(frame, (x, y, x + w, y + h))
