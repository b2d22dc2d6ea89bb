"""Where proposals come from: the embedded model's list, label files, any function; models of transformers: `pipelines.py`.

A `Detector` takes one image. An object of a ten-thousandth of a photo's area has a few pixels in a network's input,
so `tiled` runs the detector on the photo and on overlapping parts of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from piza.data.labels import LabeledPhoto
from piza.data.sorec import canonical_name
from piza.errors import MAX_TILES_A_SIDE, InputError, check_whole
from piza.image import ImageArray, cut
from piza.search.region_crops import Detail
from piza.search.zoom_path import frame_window, input_size

if TYPE_CHECKING:
    from piza.model.piza import Piza

Box: TypeAlias = tuple[float, float, float, float]

ATTRIBUTE = 0.5  # probability from which on a word is said of an object
OVERLAP = 0.15  # of a tile's side that its neighbor shows too
WHOLE_SHARE = 1 / 3  # of the whole in what a candidate is worth, the rest being its score's
LARGE = 2000  # pixels: parts of larger photos fill the input of a detector
RIM = 2.0  # pixels: what comes so near to a tile's inner rim is cut off there
EXCLUSIVE = ("category",)  # groups of words that are no attributes here


@dataclass(frozen=True)
class Candidate:
    """An object that a detector found: corners in pixels of the image, category ("" unknown), score, words ("color=red").

    whole: probability that the box shows one whole thing, not a part of one or nothing; None where nobody has asked.
    """

    xyxy: Box
    category: str = ""
    score: float = 1.0
    attributes: tuple[str, ...] = ()
    whole: float | None = None

    @property
    def worth(self) -> float:
        """By what candidates are chosen: the score, or a geometric mean of it and the whole."""
        if self.whole is None:
            return self.score
        return float(max(self.score, 0.0) ** (1 - WHOLE_SHARE) * self.whole**WHOLE_SHARE)


Detector: TypeAlias = Callable[[ImageArray], Sequence[Candidate]]
"""uint8 (height, width, 3) RGB -> what is in it."""

Proposer: TypeAlias = Callable[[ImageArray, str], Sequence[Candidate]]
"""The same for a photo and its name."""


def tiled(detector: Detector, tiles: int | None = None) -> Proposer:
    """A detector that is run on the photo, and on its tiles x tiles overlapping parts; 1: on the photo alone.

    None takes 2 for photos of more than `LARGE` pixels on the longer side, and 1 for others: parts of these, enlarged, show
    nothing new. What the inner edge of a part cuts off is left to its neighbor. An object that is found twice is returned twice.
    Raises InputError for a number of tiles out of range.
    """
    if tiles is not None:
        check_whole("tiles", tiles, 1, MAX_TILES_A_SIDE)

    def propose(image: ImageArray, name: str) -> list[Candidate]:
        height, width = image.shape[:2]
        found: list[Candidate] = []
        for x1, y1, x2, y2 in windows((width, height), tiles or (2 if max(width, height) > LARGE else 1)):
            part = np.ascontiguousarray(image[y1:y2, x1:x2])
            for candidate in detector(part):
                left, top, right, bottom = candidate.xyxy
                cut_off = (
                    (x1 > 0 and left < RIM)
                    or (y1 > 0 and top < RIM)
                    or (x2 < width and right > x2 - x1 - RIM)
                    or (y2 < height and bottom > y2 - y1 - RIM)
                )
                if not cut_off:
                    found.append(replace(candidate, xyxy=(left + x1, top + y1, right + x1, bottom + y1)))
        return found

    return propose


def windows(size: tuple[int, int], tiles: int) -> list[tuple[int, int, int, int]]:
    """The frame of (width, height) and its tiles x tiles parts, xyxy in whole pixels."""
    across, down = (_spans(side, tiles) for side in size)
    parts = [(x1, y1, x2, y2) for y1, y2 in down for x1, x2 in across]
    return [(0, 0, *size), *(parts if tiles > 1 else [])]


def _spans(side: int, tiles: int) -> list[tuple[int, int]]:
    length = min(side, round(side / tiles * (1 + OVERLAP)))
    starts = np.linspace(0, side - length, tiles).round().astype(int)
    return [(int(start), int(start) + length) for start in starts]


def model_list(model: "Piza") -> Detector:
    """The list of objects of a model's own first look, with categories and attributes.

    Raises InputError for a model that lists no objects, or does not name what it says of them.
    """
    from piza.model.nanodet_proposals import CellProposals
    from piza.model.proposals import Proposals

    words, size_of = getattr(model, "object_words", None), model.config.first_pixels
    if words is None:
        raise InputError(
            "the model names no objects of a first look: expected 'mini' or a model with objects.json"
        )
    with_regions = getattr(model.proposals, "regions", None) is not None
    names = words.attributes
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(name.partition("=")[0], []).append(place)
    kinds = {
        name.partition("=")[2]: place for place, name in enumerate(names) if name.startswith("category=")
    }

    def look(image: ImageArray) -> list[Candidate]:
        height, width = image.shape[:2]
        frame = frame_window((width, height))
        small = cut(image, frame, input_size(frame, True, size_of, size_of))
        found: Any = model.encode_frame(small, Detail(image, frame))
        assert isinstance(found, Proposals)
        boxes = found.boxes[-1, 0].float().cpu().numpy().astype(float)
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
        corners = np.clip(corners, 0, 1) * np.tile([width, height], 2)
        shown = found.attributes[0].float().sigmoid().cpu().numpy()
        scores = found.cell_logits[0, found.cells[0]].float().sigmoid().cpu().numpy()
        chances = None
        if isinstance(found, CellProposals):
            of_cells = found.category_logits[0, found.cells[0]].float().argmax(-1).tolist()
            categories = [words.categories[place] for place in of_cells]
            chances = words.whole_chances(found.regions[0].float().cpu().numpy()) if with_regions else None
        else:
            listed = list(kinds)
            best = shown[:, list(kinds.values())].argmax(-1)
            categories = [listed[place] for place in best]
        whole = [None] * len(corners) if chances is None else chances.tolist()
        return [
            Candidate(box_of(box), category, float(score), _attributes(row, names, groups), chance)
            for box, category, score, row, chance in zip(
                corners, categories, scores, shown, whole, strict=True
            )
        ]

    return look


def _attributes(shown: Any, names: Sequence[str], groups: Mapping[str, list[int]]) -> tuple[str, ...]:
    """The best word of each group, where it is more likely than not."""
    words = []
    for group, places in groups.items():
        best = max(places, key=lambda place: shown[place])
        if group not in EXCLUSIVE and shown[best] >= ATTRIBUTE:
            words.append(names[best])
    return tuple(words)


def labeled_boxes(photos: Sequence[LabeledPhoto]) -> Proposer:
    """The boxes of label files (`piza.data.labels.read_labels`), with their categories; fields of text become attributes.

    Raises InputError, when asked, about a photo that has other sides than its labels say; of a photo that the labels do not
    name, nothing is proposed.
    """
    named = {canonical_name(photo.image): photo for photo in photos}

    def propose(image: ImageArray, name: str) -> list[Candidate]:
        photo = named.get(canonical_name(name))
        if photo is None:
            return []
        height, width = image.shape[:2]
        if (photo.width, photo.height) != (width, height):
            raise InputError(
                f"the photo {name!r} has {width} x {height} pixels, but its labels are for {photo.width} x {photo.height}"
            )
        found = []
        for box in photo.boxes:
            words = tuple(
                f"{key}={value}" for key, value in box.extra.items() if isinstance(value, str) and value
            )
            score = box.extra.get("score", 1.0)
            known = isinstance(score, (int, float)) and not isinstance(score, bool)
            found.append(Candidate(box.xyxy, box.category, float(score) if known else 1.0, words))
        return found

    return propose


def box_of(box: Sequence[Any]) -> Box:
    """A box of any numbers as plain ones, (x1, y1, x2, y2)."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2
