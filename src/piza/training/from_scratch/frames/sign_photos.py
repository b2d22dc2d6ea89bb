"""Photos of traffic signs, augmented: signs pasted from one photo into another, and crops that stand for photos.

A few hundred photos hold each kind of sign a few times only, always in its own street. Pasting shows it in others, and
puts look-alikes beside it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from piza.data.frames import Frame
from piza.data.windows import part_of
from piza.image import cut
from piza.training.from_scratch.frames.cache import FrameCache

_PLACE = re.compile(r" (on the (left|right) side|in the middle) of the scene")
_MOUNTED = re.compile(r", mounted (below|above).*")
_RANK = re.compile(r"^The (left|right|upper|lower|leftmost|rightmost|lowest|highest|middle) ")


def core(sentence: str) -> str:
    """The sentence without where its sign stands: "The left stop sign, mounted below ..." -> "The stop sign"."""
    sentence = _PLACE.sub("", _MOUNTED.sub("", sentence.rstrip(".")))
    return _RANK.sub("The ", sentence)


@dataclass
class Cutout:
    """A sign: pixels (h, w, 3) RGB, the share of each pixel that is sign (h, w) in [0, 1], its names, and its kind."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.float32]
    names: list[str]
    kind: int


def kinds_of_names(frames: Sequence[Frame]) -> dict[str, int]:
    """The kind of sign that each name means, as a number: names of one and the same sign mean the same kind."""
    group: dict[str, str] = {}

    def root(name: str) -> str:
        while group.setdefault(name, name) != name:
            name = group[name]
        return name

    for frame in frames:
        name_of: dict[int, str] = {}
        for sentence, _, number in frame.rows:
            name = core(sentence)
            group[root(name)] = root(name_of.setdefault(number, name))
    numbers: dict[str, int] = {}
    return {name: numbers.setdefault(root(name), len(numbers)) for name in sorted(group)}


def shape_mask(names: Sequence[str], width: int, height: int) -> NDArray[np.float32]:
    """The outline that the names mention, inscribed in a box; a disc where they mention none.

    (height, width) shares of each pixel, in [0, 1].
    """
    text = " ".join(names).lower()
    if "upside down" in text or "give way" in text:
        points = [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0)]
    elif "triang" in text or "warning" in text:
        points = [(0.5, 0.0), (1.0, 1.0), (0.0, 1.0)]
    elif "diamond" in text or "standing on its corner" in text:
        points = [(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)]
    else:
        angles = np.linspace(0, 2 * np.pi, 33)[:-1]
        points = [(0.5 + 0.5 * np.cos(a), 0.5 + 0.5 * np.sin(a)) for a in angles]
    zoom = 8
    big = np.zeros((height * zoom, width * zoom), np.uint8)
    cv2.fillPoly(
        big, [np.array([(x * width * zoom, y * height * zoom) for x, y in points]).astype(np.int32)], 255
    )
    small = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)
    return (small / 255).astype(np.float32)


def cutouts(frames: Sequence[Frame], kinds: dict[str, int], min_side: float = 20) -> list[Cutout]:
    """Every sign whose sides are `min_side` to 120 pixels, once."""
    found = []
    for frame in frames:
        seen: dict[int, Cutout] = {}
        for sentence, box, number in frame.rows:
            if number in seen:
                if core(sentence) not in seen[number].names:
                    seen[number].names.append(core(sentence))
                continue
            size = np.maximum(np.round(box[2:] - box[:2]), 1).astype(int)
            if size.min() < min_side or size.max() > 120:
                continue
            pixels = cut(frame.image, box, (int(size[0]), int(size[1])))
            mask = np.zeros((size[1], size[0]), np.float32)
            seen[number] = Cutout(pixels, mask, [core(sentence)], kinds[core(sentence)])
        for cutout in seen.values():
            cutout.mask = shape_mask(cutout.names, cutout.pixels.shape[1], cutout.pixels.shape[0])
            found.append(cutout)
    return found


def paste(
    frame: Frame, signs: Sequence[Cutout], kinds: dict[str, int], rng: np.random.Generator, max_signs: int = 3
) -> Frame:
    """The frame with one to `max_signs` more signs and sentences about them.

    Where a pasted sign is of a kind that stands there already, the sentences of both become "the left ..." and
    "the right ..."; where that would not tell them apart, the sign is not pasted.
    """
    image = np.array(frame.image)
    height, width = image.shape[:2]
    rows = list(frame.rows)
    pasted = 0
    for _ in range(int(rng.integers(1, max_signs + 1))):
        sign = signs[int(rng.integers(len(signs)))]
        long = float(np.exp(rng.uniform(np.log(16), np.log(min(80.0, 1.3 * max(sign.mask.shape))))))
        scale = long / max(sign.mask.shape)
        w, h = (max(8, round(s * scale)) for s in (sign.mask.shape[1], sign.mask.shape[0]))
        x, y = int(rng.integers(4, width - w - 4)), int(rng.integers(height // 4, int(height * 0.65) - h))
        box = np.array([x, y, x + w, y + h], float)
        if any((np.minimum(box[2:], b[2:] + 8) > np.maximum(box[:2], b[:2] - 8)).all() for _, b, _ in rows):
            continue
        same = {owner for ref, _, owner in rows if kinds.get(core(ref)) == sign.kind}
        name = sign.names[int(rng.integers(len(sign.names)))]
        number = 1000 + pasted
        if not same:
            place = ("on the left side", "in the middle", "on the right side")[
                min(2, int(3 * (x + w / 2) / width))
            ]
            clear = abs(3 * (x + w / 2) / width % 1 - 0.5) < 0.35
            sentence = f"{name} {place} of the scene." if clear and rng.random() < 0.4 else f"{name}."
            rows.append((sentence, box, number))
        elif len(same) == 1:
            other_sign = same.pop()
            other = next(b for _, b, owner in rows if owner == other_sign)
            distance = (x + w / 2) - (other[0] + other[2]) / 2
            if abs(distance) < 60:
                continue
            rows = [row for row in rows if row[2] != other_sign]
            for owner, place_of, is_left in ((number, box, distance < 0), (other_sign, other, distance > 0)):
                rows.append((f"The {'left' if is_left else 'right'} {name[4:]}.", place_of, owner))
        else:
            continue
        blend(image, sign, x, y, w, h, rng)
        pasted += 1
    return Frame(image, rows, frame.phrases)


def blend(
    image: NDArray[np.uint8], sign: Cutout, x: int, y: int, w: int, h: int, rng: np.random.Generator
) -> None:
    """Paint a sign into an image in place, its box of (w, h) pixels at (x, y); its light and sharpness vary."""
    method = cv2.INTER_AREA if w < sign.mask.shape[1] else cv2.INTER_LINEAR
    pixels = cv2.resize(sign.pixels, (w, h), interpolation=method).astype(np.float32)
    mask = cv2.GaussianBlur(cv2.resize(sign.mask, (w, h), interpolation=method), (3, 3), 0.6)[..., None]
    pixels = pixels * np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.03, 3))
    if rng.random() < 0.3:
        pixels = cv2.GaussianBlur(pixels, (3, 3), rng.uniform(0.4, 1.0))
    under = image[y : y + h, x : x + w]
    under[:] = np.clip(under * (1 - mask) + pixels * mask, 0, 255).astype(np.uint8)


def crop_frame(frame: Frame, rng: np.random.Generator, min_share: float = 0.5) -> Frame:
    """A part of the frame, `min_share` to 1 of its width at the same aspect, as a frame of its own.

    If none of its sentences stays true in it, the frame is returned as it was.
    """
    width, height = frame.size
    scale = rng.uniform(min_share, 1.0)
    w, h = int(width * scale), int(height * scale)
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    part = part_of(frame, (x, y, x + w, y + h))
    return part if part.rows else frame


class SignPhotos:
    """Photos of signs from a frame cache, cropped and with signs pasted in, by chance."""

    def __init__(self, folder: Path):
        self.cache = FrameCache(folder)
        frames = list(self.cache)
        self.kinds = kinds_of_names(frames)
        self.cutouts = cutouts(frames, self.kinds)

    def draw(self, rng: np.random.Generator) -> Frame:
        """A photo that has at least one sentence."""
        frame = self.cache[int(rng.integers(len(self.cache)))]
        if rng.random() < 0.5:
            frame = crop_frame(frame, rng)
        if not frame.rows or rng.random() < 0.5:
            frame = paste(frame, self.cutouts, self.kinds, rng)
        return frame if frame.rows else self.draw(rng)
