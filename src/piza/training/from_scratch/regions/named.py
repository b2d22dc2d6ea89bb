"""Regions of pictures with what people call them: "silver hatchback from behind", and what that says in numbers.

A file has a line for each photo: {"key", "size", "regions"}, a region [x1, y1, x2, y2, phrase] in pixels; the phrase is "-" where it
shows nothing.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from piza.data.frames import Frame
from piza.training.from_scratch.lists.object_lists import swap_sides

DRAWN = "scenes"  # the source of drawn scenes
WORDS = "words.json"
NOTHING = "-"  # the phrase of a region that shows no thing
LOOSE = ("tl_china", "camvid")  # sources whose labels do not hold what can be seen of a thing
MIN_COUNT = 5  # a word in so many phrases is asked for
NO_WORDS = frozenset("a an the of in on at to and with by from for its his her is are it".split())
ALIKE = 0.4  # share of words in common from which on two phrases may mean the same


@dataclass
class NamedRegion:
    """A region (x1, y1, x2, y2 in pixels of its photo or scene); phrase: "" where only attributes are known; known: kinds of
    attributes that `attributes` tell, all of them for a drawn object; tight: whether the sides are exactly those of the thing."""

    key: str
    xyxy: tuple[float, ...]
    phrase: str = ""
    attributes: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()
    tight: bool = False


def whole_pixels(box: Iterable[float]) -> bool:
    """Whether a box was drawn by a person."""
    return all(float(value).is_integer() for value in box)


def words_of(phrase: str) -> list[str]:
    """The words of a phrase that say something."""
    return [word for word in re.findall(r"[a-z0-9]+", phrase.lower()) if word not in NO_WORDS]


def alike(words: Set[str], others: Set[str]) -> bool:
    """Whether two phrases may mean the same, by the words that they say something with."""
    return len(words & others) >= ALIKE * max(len(words | others), 1)


@dataclass
class NamedPhoto:
    """A photo of a size (width, height) in pixels with regions that have phrases."""

    key: str
    size: tuple[int, int]
    regions: list[NamedRegion]


def read_named(path: Path) -> list[NamedPhoto]:
    """Photos with named regions."""
    photos = []
    for line in path.read_text(encoding="utf-8").splitlines():
        content = json.loads(line)
        key = content["key"]
        regions = [
            NamedRegion(key, tuple(box), phrase, tight=phrase != NOTHING and whole_pixels(box))
            for *box, phrase in content["regions"]
        ]
        photos.append(NamedPhoto(key, tuple(content["size"]), regions))
    return photos


def named_regions(path: Path) -> list[NamedRegion]:
    """The regions of all photos."""
    return [region for photo in read_named(path) for region in photo.regions]


def labeled_regions(path: Path) -> list[NamedRegion]:
    """Objects of `streets.rows` of which more than the category is known."""
    return [
        NamedRegion(
            photo["key"],
            tuple(one["xyxy"]),
            attributes=tuple(one["attributes"]),
            known=frozenset(one["known"]),
            tight=photo["key"].split("/")[0] not in LOOSE,
        )
        for photo in json.loads(path.read_text())["photos"]
        for one in photo["objects"]
        if one["certain"] and len(one["known"]) > 1
    ]


def drawn_regions(scenes: Iterable[Frame]) -> list[NamedRegion]:
    """The objects of drawn scenes."""
    return [
        NamedRegion(f"{DRAWN}/{number}", tuple(map(float, box)), attributes=tuple(words), tight=True)
        for number, frame in enumerate(scenes)
        for box, words in zip(frame.objects, frame.attributes, strict=True)
    ]


def placed(regions: Sequence[NamedRegion], sizes: Mapping[str, tuple[int, int]]) -> Tensor:
    """Boxes (n, 4) cxcywh, normalized, of regions of pictures whose (width, height) are known by key."""
    corners = np.array([one.xyxy for one in regions]) / np.array([sizes[one.key] * 2 for one in regions])
    boxes = np.hstack([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]])
    return torch.from_numpy(boxes.astype(np.float32))


def may_mirror(one: NamedRegion) -> bool:
    """Whether a mirrored one is still what is said of it: what is written or pointed at on signs is not."""
    return "sign" not in one.phrase and "plate" not in one.phrase and "category=sign" not in one.attributes


class RegionTargets:
    """What is told of regions, in numbers. words: of phrases; attributes: "color=red"."""

    def __init__(self, words: Sequence[str], attributes: Sequence[str]):
        self.words = {word: place for place, word in enumerate(words)}
        self.attributes = {word: place for place, word in enumerate(attributes)}
        self.kinds = np.array([word.partition("=")[0] for word in attributes])

    def of(self, regions: Sequence[NamedRegion], mirrored: Sequence[bool]) -> tuple[Tensor, Tensor, Tensor]:
        """said, attributes and known, as in `namer.RegionBatch`."""
        said = torch.zeros(len(regions), len(self.words))
        attributes = torch.zeros(len(regions), len(self.attributes))
        known = torch.zeros_like(attributes)
        for row, (one, mirror) in enumerate(zip(regions, mirrored, strict=True)):
            for word in words_of(swap_sides(one.phrase) if mirror else one.phrase):
                if word in self.words:
                    said[row, self.words[word]] = 1
            for word in one.attributes:
                word = swap_sides(word) if mirror else word
                if word in self.attributes:
                    attributes[row, self.attributes[word]] = 1
            if one.attributes:
                told = np.isin(self.kinds, list(one.known)) if one.known else np.ones(len(self.kinds), bool)
                known[row] = torch.from_numpy(told.astype(np.float32))
        return said, attributes, known


def asked_words(named: Sequence[NamedRegion], folder: Path) -> list[str]:
    """The words of the run in a folder, or else those that are in so many phrases."""
    if (folder / WORDS).exists():
        words: list[str] = json.loads((folder / WORDS).read_text())
        return words
    counts = Counter(word for one in named for word in set(words_of(one.phrase)))
    return sorted(word for word, count in counts.items() if count >= MIN_COUNT)
