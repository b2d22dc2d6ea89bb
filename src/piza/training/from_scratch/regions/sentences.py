"""Sentences about regions that somebody named: the name alone, where it lies, and beside what.

"Silver hatchback from behind" may fit more things than the one it was said of: those that were not named, and those with
almost the same name. So a sentence about a region is judged only among regions with other names.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from piza.training.from_scratch.lists.listed_frames import Frames
from piza.training.from_scratch.lists.object_lists import ObjectList
from piza.training.from_scratch.regions.named import (
    NOTHING,
    NamedPhoto,
    NamedRegion,
    alike,
    read_named,
    words_of,
)

VARIANTS = 3  # sentences about a region
NEAR = 6.0  # two regions are neighbors up to so many times their size apart
_BEYOND = 1.5  # the distance along one axis over that along the other, from which on it gives the direction


def named_frames(path: Path) -> Frames:
    """Photos with sentences about their named regions."""
    return frames_about(path, _list_of, 3)


def frames_about(
    path: Path, list_of: Callable[[NamedPhoto, np.random.Generator], ObjectList], seed: int
) -> Frames:
    """The photos of a file of named regions, with the sentences that `list_of` finds; those without any are left out."""
    frames = Frames([], [])
    for photo in read_named(path):
        one = list_of(photo, np.random.default_rng([seed, *photo.key.encode()]))
        if one.rows:
            frames.keys.append(photo.key)
            frames.lists.append(one)
    return frames


def _list_of(photo: NamedPhoto, rng: np.random.Generator) -> ObjectList:
    regions = photo.regions
    words = [set(words_of(region.phrase)) for region in regions]
    doubles = [
        [other for other, theirs in enumerate(words) if other != place and alike(own, theirs)]
        for place, own in enumerate(words)
    ]
    rows: list[Any] = []
    doubtful: dict[tuple[str, int], list[int]] = {}
    for place, region in enumerate(regions):
        if region.phrase == NOTHING or not words[place]:
            continue
        said = {_sentence(place, photo, doubles, rng) for _ in range(VARIANTS)}
        rows += [(sentence, place, None) for sentence in sorted(said)]
        doubtful |= {(sentence, place): doubles[place] for sentence in said}
    boxes = np.array([region.xyxy for region in regions], float)
    return ObjectList(boxes, photo.size, [[] for _ in regions], rows, doubtful=doubtful)


def _sentence(place: int, photo: NamedPhoto, doubles: list[list[int]], rng: np.random.Generator) -> str:
    name = f"the {photo.regions[place].phrase}"
    kind = rng.random()
    clause = ""
    if kind < 0.25:
        clause = _where(photo.regions[place].xyxy, photo.size)
    elif kind < 0.7:
        clause = _beside(place, photo.regions, doubles, rng)
    if clause and rng.random() < 0.2:
        return f"{clause[0].upper()}{clause[1:]}, {name}."
    if clause:
        clause = f", {clause}" if rng.random() < 0.3 else f" {clause}"
    return f"{name[0].upper()}{name[1:]}{clause}."


def _where(box: Sequence[float], size: tuple[int, int]) -> str:
    x, y = (box[0] + box[2]) / 2 / size[0], (box[1] + box[3]) / 2 / size[1]
    across = "on the left" if x < 0.33 else "on the right" if x > 0.67 else "in the middle"
    if x < 0.12 or x > 0.88:
        across = across.replace("on the", "on the far")
    along = "at the top" if y < 0.25 else "at the bottom" if y > 0.75 else ""
    return f"{along} {across}".strip()


def _beside(
    place: int, regions: Sequence[NamedRegion], doubles: list[list[int]], rng: np.random.Generator
) -> str:
    """Where the region lies, seen from a neighbor whose name is its own in the photo; "" where there is none."""
    boxes = np.array([region.xyxy for region in regions], float)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    away = np.abs(centers - centers[place])
    reach = NEAR * np.maximum(sides, sides[place])
    near = [
        other
        for other in range(len(regions))
        if other != place
        and regions[other].phrase != NOTHING
        and not doubles[other]
        and away[other].max() < reach[other]
    ]
    if not near:
        return ""
    other = near[int(rng.integers(len(near)))]
    name = f"the {regions[other].phrase}"
    dx, dy = centers[place] - centers[other]
    if abs(dx) > _BEYOND * abs(dy):
        side = "left" if dx < 0 else "right"
        return str(rng.choice([f"to the {side} of {name}", f"{side} of {name}", f"next to {name}"]))
    if abs(dy) > _BEYOND * abs(dx):
        return f"{'above' if dy < 0 else 'below'} {name}"
    return f"near {name}"
