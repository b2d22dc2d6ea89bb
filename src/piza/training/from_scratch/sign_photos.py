"""Augmentation of photos of traffic signs: signs pasted from one photo into another, and crops that stand for photos.

A few hundred photos hold each kind of sign a few times only, always in its own street. Pasting shows it in others, and
puts look-alikes beside it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from piza.data.frames import Frame
from piza.data.windows import part_of
from piza.image import cut

_PLACE = re.compile(r" (on the (left|right) side|in the middle) of the scene")
_MOUNTED = re.compile(r", mounted (below|above).*")
_RANK = re.compile(r"^The (left|right|upper|lower|leftmost|rightmost|lowest|highest|middle) ")


def core(sentence: str) -> str:
    """The sentence without where its sign stands: "The left stop sign, mounted below ..." -> "The stop sign"."""
    sentence = _PLACE.sub("", _MOUNTED.sub("", sentence.rstrip(".")))
    return _RANK.sub("The ", sentence)


@dataclass
class Cutout:
    """A sign: pixels (h, w, 3), how much of each pixel is sign (h, w) in [0, 1], what it may be called, its kind."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.float32]
    names: list[str]
    kind: int


def kinds_of_names(frames: Sequence[Frame]) -> dict[str, int]:
    """Which names mean the same kind of sign: those that were said of one and the same sign, taken together."""
    group: dict[str, str] = {}

    def root(name: str) -> str:
        while group.setdefault(name, name) != name:
            name = group[name]
        return name

    for frame in frames:
        of_thing: dict[int, str] = {}
        for sentence, _, thing in frame.rows:
            name = core(sentence)
            group[root(name)] = root(of_thing.setdefault(thing, name))
    numbers: dict[str, int] = {}
    return {name: numbers.setdefault(root(name), len(numbers)) for name in sorted(group)}


def shape_mask(names: Sequence[str], width: int, height: int) -> NDArray[np.float32]:
    """The outline that the names speak of, inscribed in the box; a disc where they name none."""
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


def cutouts(frames: Sequence[Frame], kinds: dict[str, int], least: float = 20) -> list[Cutout]:
    """Every sign of at least `least` pixels, once."""
    found = []
    for frame in frames:
        seen: dict[int, Cutout] = {}
        for sentence, box, thing in frame.rows:
            if thing in seen:
                if core(sentence) not in seen[thing].names:
                    seen[thing].names.append(core(sentence))
                continue
            size = np.maximum(np.round(box[2:] - box[:2]), 1).astype(int)
            if size.min() < least or size.max() > 120:
                continue
            pixels = cut(frame.picture, box, (int(size[0]), int(size[1])))
            mask = np.zeros((size[1], size[0]), np.float32)
            seen[thing] = Cutout(pixels, mask, [core(sentence)], kinds[core(sentence)])
        for cutout in seen.values():
            cutout.mask = shape_mask(cutout.names, cutout.pixels.shape[1], cutout.pixels.shape[0])
            found.append(cutout)
    return found


def paste(
    frame: Frame, signs: Sequence[Cutout], kinds: dict[str, int], rng: np.random.Generator, most: int = 3
) -> Frame:
    """The frame with one to `most` more signs and sentences about them.

    Where a pasted sign is of a kind that stands there already, the sentences of both become "the left ..." and
    "the right ..."; where that would not tell them apart, the sign is not pasted.
    """
    picture = np.array(frame.picture)
    height, width = picture.shape[:2]
    rows = list(frame.rows)
    pasted = 0
    for _ in range(int(rng.integers(1, most + 1))):
        sign = signs[int(rng.integers(len(signs)))]
        long = float(np.exp(rng.uniform(np.log(16), np.log(min(80.0, 1.3 * max(sign.mask.shape))))))
        scale = long / max(sign.mask.shape)
        w, h = (max(8, round(s * scale)) for s in (sign.mask.shape[1], sign.mask.shape[0]))
        x, y = int(rng.integers(4, width - w - 4)), int(rng.integers(height // 4, int(height * 0.65) - h))
        box = np.array([x, y, x + w, y + h], float)
        if any((np.minimum(box[2:], b[2:] + 8) > np.maximum(box[:2], b[:2] - 8)).all() for _, b, _ in rows):
            continue
        same = {thing for ref, _, thing in rows if kinds.get(core(ref)) == sign.kind}
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
            other_thing = same.pop()
            other = next(b for _, b, thing in rows if thing == other_thing)
            per_sentence_queries = (x + w / 2) - (other[0] + other[2]) / 2
            if abs(per_sentence_queries) < 60:
                continue
            rows = [row for row in rows if row[2] != other_thing]
            for owner, where, left in (
                (number, box, per_sentence_queries < 0),
                (other_thing, other, per_sentence_queries > 0),
            ):
                rows.append((f"The {'left' if left else 'right'} {name[4:]}.", where, owner))
        else:
            continue
        _blend(picture, sign, x, y, w, h, rng)
        pasted += 1
    return Frame(picture, rows, frame.phrases)


def _blend(
    picture: NDArray[np.uint8], sign: Cutout, x: int, y: int, w: int, h: int, rng: np.random.Generator
) -> None:
    way = cv2.INTER_AREA if w < sign.mask.shape[1] else cv2.INTER_LINEAR
    pixels = cv2.resize(sign.pixels, (w, h), interpolation=way).astype(np.float32)
    mask = cv2.GaussianBlur(cv2.resize(sign.mask, (w, h), interpolation=way), (3, 3), 0.6)[..., None]
    pixels = pixels * np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.03, 3))
    if rng.random() < 0.3:
        pixels = cv2.GaussianBlur(pixels, (3, 3), rng.uniform(0.4, 1.0))
    under = picture[y : y + h, x : x + w]
    under[:] = np.clip(under * (1 - mask) + pixels * mask, 0, 255).astype(np.uint8)


def crop_frame(frame: Frame, rng: np.random.Generator, least: float = 0.5) -> Frame:
    """A part of the frame, `least` to 1 of its width at the same aspect, as a frame of its own.

    If none of its sentences stays true in it, the frame is returned as it was.
    """
    width, height = frame.size
    scale = rng.uniform(least, 1.0)
    w, h = int(width * scale), int(height * scale)
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    part = part_of(frame, (x, y, x + w, y + h))
    return part if part.rows else frame
