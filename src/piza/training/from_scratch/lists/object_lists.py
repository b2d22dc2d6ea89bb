"""Photos and scenes as lists of objects with sentences: what the matcher is taught on, without any picture.

A first look sees less than is known, and sometimes something else. So what is told of the objects is thinned and blurred,
the more so in some lists than in others: what their attributes do not tell, relations and places have to.
"""

import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piza.data.sorec import Row, read_rows
from piza.model.region_encoder import STATE as REGION_STATE
from piza.training.from_scratch.frames.cache import RELEVANCE_CODES
from piza.training.from_scratch.words.target_words import target_words

NONE = -1  # the target of a sentence that is true of nothing in the list
IGNORED = -100  # the target where there is no sentence
HELD_OUT = 10  # one photo of SOREC in so many is held out
_ALIKE = (
    ("car", "van", "truck"), ("bus", "truck"), ("motorcycle", "bicycle", "scooter"), ("person", "cyclist", "motorcyclist"),
    ("traffic light", "pedestrian light"), ("pole", "lamp", "bollard"), ("sign", "banner", "box"),
)  # fmt: skip


@dataclass
class ObjectList:
    """A photo or scene. xyxy (n, 4) in pixels; size (width, height), 0 where it is not known; words: of each object.

    rows: (sentence, index of the object it means, (n, 3) relevance in [0, 1] or None). absent: sentences true of nothing.
    uncertain: (n,) whether the object only may be there. doubtful: by sentence and index, which other objects it may mean as well;
    None where all sentences mean one object.
    """

    xyxy: NDArray[np.float64]
    size: tuple[float, float]
    words: list[list[str]]
    rows: list[tuple[str, int, NDArray[np.float32] | None]]
    absent: list[str] = field(default_factory=list)
    uncertain: NDArray[np.bool_] | None = None
    doubtful: dict[tuple[str, int], list[int]] | None = None


def read_drawn(path: Path) -> list[ObjectList]:
    """Lists that `lists.drawn` wrote."""
    lists = []
    for line in path.read_text().splitlines():
        content = json.loads(line)
        if content["objects"] and content["rows"]:
            rows = [(ref, index, _relevance(letters)) for ref, index, letters in content["rows"]]
            lists.append(_list_of(content, rows, content["absent"]))
    return lists


def read_street_rows(path: Path) -> list[ObjectList]:
    """Lists that `streets.rows` wrote, of photos with sentences."""
    content = json.loads(path.read_text())
    rows: dict[str, list[Any]] = {}
    for row in content["rows"]:
        rows.setdefault(row["key"], []).append((row["sentence"], row["index"], _relevance(row["relevance"])))
    return [
        _list_of(photo, rows[photo["key"]], photo.get("absent", ()))
        for photo in content["photos"]
        if photo["key"] in rows
    ]


def _relevance(letters: list[str]) -> NDArray[np.float32]:
    return np.array([[RELEVANCE_CODES[letter] for letter in column] for column in letters], np.float32).T


def _list_of(content: dict[str, Any], rows: list[Any], absent: Sequence[str] = ()) -> ObjectList:
    objects = content["objects"]
    return ObjectList(
        np.array([o["xyxy"] for o in objects], float).reshape(-1, 4),
        (content["width"], content["height"]),
        [o["attributes"] for o in objects],
        rows,
        list(absent),
        np.array([not o.get("certain", True) for o in objects]),
    )


def is_held_out(image: str) -> bool:
    """Whether a photo of SOREC is kept from training, told by its name."""
    return zlib.crc32(image.encode()) % HELD_OUT == 0


def sorec_lists(paths: Sequence[Path], held_out: bool, min_objects: int = 2) -> list[ObjectList]:
    """SOREC's photos as lists: each box once, with what its own sentences say that it is."""
    by_image: dict[str, list[Row]] = {}
    for path in paths:
        for row in read_rows(path):
            by_image.setdefault(row.image, []).append(row)
    lists = []
    for image, of_image in by_image.items():
        boxes = list(dict.fromkeys(row.box_xyxy for row in of_image))
        if is_held_out(image) != held_out or len(boxes) < min_objects:
            continue
        words: list[dict[str, None]] = [{} for _ in boxes]
        for row in of_image:
            words[boxes.index(row.box_xyxy)] |= dict.fromkeys(target_words(row.expression))
        rows: list[Any] = [(row.expression, boxes.index(row.box_xyxy), None) for row in of_image]
        lists.append(ObjectList(np.array(boxes, float), (0, 0), [list(found) for found in words], rows))
    _lend_sentences(lists)
    return lists


def _lend_sentences(lists: Sequence[ObjectList], count: int = 4, seed: int = 0) -> None:
    """Give every list sentences of others about a category that it lacks: true of nothing in it."""
    rng = np.random.default_rng(seed)
    everything = [(row[0], _category(one.words[row[1]])) for one in lists for row in one.rows]
    for one in lists:
        own = {_category(words) for words in one.words} | {""}
        for at in rng.integers(len(everything), size=3 * count):
            sentence, category = everything[int(at)]
            if category not in own and len(one.absent) < count:
                one.absent.append(sentence)


def _category(words: Sequence[str]) -> str:
    """A rough one, as "vehicle" may be a car."""
    if "category=vehicle" in words:
        return "vehicle"
    return next((word for word in words if word.startswith("category=")), "")


def frame_of(boxes: NDArray[np.float64], rng: np.random.Generator | None) -> tuple[float, float]:
    """A size for a photo of SOREC, which is not written anywhere: targets lie about the middle from left to right.

    Without `rng` the likeliest: as wide as leaves the same margin on both sides, 3:2. With it, one that may be.
    """
    left, right, bottom = boxes[:, 0].min(), boxes[:, 2].max(), boxes[:, 3].max()
    width, shape = max(1.05 * right, right + left), 2 / 3
    if rng is not None:
        width = max(1.02 * right, (right + left) * rng.uniform(0.85, 1.15))
        shape = (3 / 4, 2 / 3, 9 / 16)[int(rng.integers(3))]
    return width, max(width * shape, 1.03 * bottom)


def swap_sides(text: str) -> str:
    """The text with the words left and right exchanged, as a mirrored picture needs."""
    other = {"left": "right", "right": "left"}

    def swapped(match: re.Match[str]) -> str:
        word = other[match[0].lower()]
        return word.capitalize() if match[0][0].isupper() else word

    return re.sub(r"left|right", swapped, text, flags=re.IGNORECASE)


@dataclass
class ToldLists:
    """A batch in the shapes that the matcher reads; k objects a list.

    ids, mask: (lists, sentences, tokens). features: (lists, k, states + words + regions + 1). boxes: (lists, k, 4) cxcywh, normalized.
    aspect: height over width, (lists,). target: (lists, sentences), NONE or IGNORED. relevance: (lists, sentences,
    k, 3), 0.5 where it is not known. kind: of lists. weight: of this batch's loss.
    """

    ids: Tensor
    mask: Tensor
    features: Tensor
    boxes: Tensor
    aspect: Tensor
    target: Tensor
    relevance: Tensor
    kind: str
    weight: float


@dataclass(frozen=True)
class Blur:
    """How much of what is known is told. keep: range of the share of attributes that stay, category: of categories that do;
    missing: the share of objects that are left out; noise: of wrong words, boxes and scores, from 0 to 1."""

    keep: tuple[float, float] = (0.3, 0.95)
    category: tuple[float, float] = (0.8, 1.0)
    missing: float = 0.05
    noise: float = 1.0


@dataclass
class _Told:
    features: NDArray[np.float32]
    boxes: NDArray[np.float32]
    place: dict[int, int]
    aspect: float
    mirrored: bool


class ListTeller:
    """Makes batches of lists. words: attribute word -> place; states: width of what comes before them in `features`."""

    def __init__(
        self,
        words: dict[str, int],
        states: int,
        prompter: Callable[[list[list[str]]], tuple[Tensor, Tensor, Tensor]],
    ):
        self.words, self.states, self.prompter = words, states, prompter

    def tell(
        self,
        lists: Sequence[ObjectList],
        k: int,
        max_rows: int,
        rng: np.random.Generator,
        blur: Blur,
        kind: str = "lists",
        weight: float = 1.0,
    ) -> ToldLists:
        """A batch of lists of k entries; what is left over is filled with what is seen twice, or is nothing at all."""
        told = [self._told(one, k, rng, blur) for one in lists]
        asked = [self._asked(one, at, max_rows, rng, blur) for one, at in zip(lists, told, strict=True)]
        longest = max(1, max(len(rows) for rows in asked))
        target = torch.full((len(lists), longest), IGNORED)
        relevance = torch.full((len(lists), longest, k, 3), 0.5)
        prompts = []
        for number, (rows, at) in enumerate(zip(asked, told, strict=True)):
            prompts += [[swap_sides(ref) if at.mirrored else ref] for ref, _, _ in rows]
            prompts += [["nothing"]] * (longest - len(rows))
            for row, (_, index, values) in enumerate(rows):
                target[number, row] = at.place.get(index, NONE)
                if values is not None:
                    relevance[number, row] = 0.0
                    for old, new in at.place.items():
                        relevance[number, row, new] = torch.from_numpy(values[old])
        ids, mask, _ = self.prompter(prompts)
        shape = (len(lists), longest, -1)
        return ToldLists(
            ids.view(shape),
            mask.bool().view(shape),
            torch.from_numpy(np.stack([at.features for at in told])),
            torch.from_numpy(np.stack([at.boxes for at in told])),
            torch.tensor([at.aspect for at in told]),
            target,
            relevance,
            kind,
            weight,
        )

    def _asked(
        self, one: ObjectList, at: _Told, max_rows: int, rng: np.random.Generator, blur: Blur
    ) -> list[tuple[str, int, NDArray[np.float32] | None]]:
        order = [int(i) for i in rng.permutation(len(one.rows))]
        rows = [one.rows[i] for i in order if one.rows[i][1] in at.place or rng.random() < 2 * blur.missing]
        few = min(len(one.absent), int(rng.integers(0, 3))) if blur.missing else 0
        absent: list[Any] = [
            (one.absent[int(i)], NONE - 1, None) for i in rng.permutation(len(one.absent))[:few]
        ]
        return rows[: max_rows - few] + absent

    def _told(self, one: ObjectList, k: int, rng: np.random.Generator, blur: Blur) -> _Told:
        noise, count = blur.noise * rng.random(), len(one.words)
        kept = [i for i in range(count) if rng.random() >= blur.missing * rng.random() * 2] or [0]
        if len(kept) > k:
            kept = sorted(int(i) for i in rng.permutation(kept)[:k])
        real = len(kept)
        random_frame = rng if blur.noise else None
        width, height = one.size if one.size[0] else frame_of(one.xyxy, random_frame)
        mirrored = bool(blur.noise and rng.random() < 0.4)
        corners = one.xyxy[kept] / np.array([width, height, width, height])
        if mirrored:
            corners[:, [0, 2]] = 1 - corners[:, [2, 0]]
        boxes = np.empty((k, 4))
        boxes[:real] = np.hstack([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]])
        words = np.zeros((k, len(self.words)), np.float32)
        keep, category = rng.uniform(*blur.keep), rng.uniform(*blur.category)
        for new, old in enumerate(kept):
            shown = [swap_sides(word) if mirrored else word for word in one.words[old]]
            for word in _seen_words(shown, rng, keep, category, noise):
                if word in self.words:
                    words[new, self.words[word]] = 1
        score = 0.3 * rng.random(k)
        score[:real] = 1 - 0.5 * noise * rng.random(real)
        if one.uncertain is not None:
            doubtful = one.uncertain[kept]
            score[:real][doubtful] = rng.uniform(0.1, 0.5, int(doubtful.sum()))
        for number in range(real, k):  # half are seen twice, half are nothing at all
            like = int(rng.integers(real))
            words[number] = words[like] * (rng.random(words.shape[1]) < 0.5)
            boxes[number] = (
                boxes[like] + 0.3 * np.array([rng.normal(), rng.normal(), 0, 0]) * boxes[like][[2, 3, 2, 3]]
            )
            if rng.random() < 0.5:
                boxes[number] = *rng.random(2), *boxes[like, 2:]
        words *= 1 - 0.5 * noise * rng.random((k, 1)) * rng.random(words.shape)
        for _ in range(4):
            words[np.arange(k), rng.integers(words.shape[1], size=k)] += 0.4 * noise * rng.random(k)
        boxes[:, :2] += 0.1 * noise * rng.normal(size=(k, 2)) * boxes[:, 2:]
        boxes[:, 2:] *= np.exp(0.1 * noise * rng.normal(size=(k, 2)))
        unseen = np.zeros((k, self.states)), np.zeros((k, REGION_STATE))
        features = np.hstack([unseen[0], words.clip(0, 1), unseen[1], score[:, None]])
        place = {old: new for new, old in enumerate(kept)}
        return _Told(features.astype(np.float32), boxes.astype(np.float32), place, height / width, mirrored)


def _seen_words(
    words: list[str], rng: np.random.Generator, keep: float, category: float, noise: float
) -> list[str]:
    """What a first look tells of an object of which `words` are true."""
    found = []
    for word in words:
        name, _, value = word.partition("=")
        if name != "category":
            if rng.random() < keep:
                found.append(word)
            continue
        if rng.random() >= category:
            continue
        alike = [other for group in _ALIKE if value in group for other in group if other != value]
        if alike and rng.random() < 0.1 * noise:
            value = alike[int(rng.integers(len(alike)))]
        found.append(f"category={value}")
    return found
