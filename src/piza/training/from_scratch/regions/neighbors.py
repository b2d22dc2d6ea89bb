"""Sentences that tell one of several regions with like names by what it lies beside: "the car to the left of the white van".

A name alone often singles its region out (sentences.py). Here little is said of the region itself, so little that another one in
the photo fits it as well, and a relation to a region with a name of its own decides: true of the one, clearly false of another.
Regions of which it is unclear whether a sentence means them are no rivals of the one that it means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from piza.training.from_scratch.lists.listed_frames import Frames
from piza.training.from_scratch.lists.object_lists import ObjectList
from piza.training.from_scratch.regions.kinds import head_of
from piza.training.from_scratch.regions.named import NOTHING, NamedPhoto, alike, words_of
from piza.training.from_scratch.regions.places import (
    Box,
    Clause,
    Truth,
    above,
    beside,
    between,
    center,
    in_depth,
    in_frame,
    near,
    on,
    shared,
    side,
)
from piza.training.from_scratch.regions.sentences import frames_about

TRIES = 10  # sentences that are tried for a region
MOST = 4  # and kept
SAME = 0.3  # of the smaller of two regions, from which on they may show one thing

# What people also call a thing with such a head; the first of each line.
_NOUNS = {
    word: line.split()[0]
    for line in (
        "car sedan hatchback suv estate wagon coupe jeep convertible",
        "van minivan minibus",
        "truck lorry pickup",
        "bus coach",
        "person man woman pedestrian figure boy girl child",
        "bicycle bike",
        "motorcycle motorbike scooter moped",
        "lamp lantern",
        "tree conifer palm",
    )
    for word in line.split()
}
_FAMILIES = tuple(  # words for what may be the same thing, whatever they usually stand for
    frozenset(line.split())
    for line in (
        "car van truck bus vehicle taxi trailer tram cab box object shape blob spot thing tail rear front silhouette cars vehicles",
        "person cyclist motorcyclist rider bicycle motorcycle people passenger driver shape object spot thing silhouette worker",
        "light lamp lights headlight headlights taillight glow beacon spot streak signal reflection bulb lens object thing",
        "sign board plate panel poster billboard banner screen logo lettering letters label box object thing triangle arrow symbol",
        "pole post mast pillar column bollard stem trunk pylon marker rod bar object thing",
        "tree trunk branch branches twig twigs leaves leaf foliage bush bushes shrub hedge crown trees treetop plant object",
        "window windows door doorway windscreen glass pane shopfront frame gap object",
        "wall building house facade gable tower roof chimney edge corner object",
    )
)
_TONES = {
    word: frozenset(tones.split())
    for word, tones in {
        "white": "light", "pale": "light gray", "cream": "light", "beige": "light", "light": "light", "silver": "light gray",
        "bright": "light yellow", "gray": "gray", "grey": "gray", "dark": "dark gray blue green brown", "black": "dark",
        "red": "red", "maroon": "red", "orange": "red yellow", "yellow": "yellow", "golden": "yellow", "gold": "yellow",
        "green": "green", "blue": "blue", "purple": "blue", "brown": "brown", "pink": "red", "turquoise": "blue green",
    }.items()
}  # fmt: skip
_UPRIGHT = frozenset("car van truck bus vehicle person cyclist motorcyclist bicycle motorcycle taxi".split())
_PARTS = frozenset(
    "mirror wheel headlight plate window door windscreen bumper roof lamp taillight logo".split()
)


@dataclass(frozen=True)
class _Said:
    """What a short name says: "red car"."""

    noun: str
    tone: str = ""

    def __str__(self) -> str:
        return f"{self.tone} {self.noun}".strip()


@dataclass
class _Region:
    phrase: str
    box: Box
    noun: str
    tones: list[str]
    words: frozenset[str]

    @property
    def is_named(self) -> bool:
        return self.phrase != NOTHING and len(self.noun) > 2

    def fits(self, said: _Said) -> Truth:
        """Whether a short name is true of the region."""
        same = self.noun == said.noun
        if not same and not any(self.noun in family and said.noun in family for family in _FAMILIES):
            return False
        if said.tone and self.tones and not any(_TONES[tone] & _TONES[said.tone] for tone in self.tones):
            return False
        return True if same and (not said.tone or said.tone in self.tones) else None


@dataclass
class _Photo:
    """The regions of a photo: how much of the smaller one two share, (n, n); those with a name of their own; height over width."""

    regions: list[_Region]
    shared: list[list[float]]
    anchors: list[int]
    height: float


def neighbor_frames(path: Path) -> Frames:
    """Photos with such sentences about their named regions."""
    return frames_about(path, _list_of, 5)


def _list_of(named: NamedPhoto, rng: np.random.Generator) -> ObjectList:
    photo = _photo(named)
    rows: list[Any] = []
    doubtful: dict[tuple[str, int], list[int]] = {}
    for place, region in enumerate(photo.regions):
        if not region.is_named:
            continue
        found: dict[str, list[int]] = {}
        for _ in range(TRIES):
            told = _sentence(place, photo, rng)
            if told and len(found) < MOST:
                found[told[0]] = told[1]
        rows += [(sentence, place, None) for sentence in sorted(found)]
        doubtful |= {(sentence, place): unclear for sentence, unclear in found.items()}
    boxes = np.array([one.xyxy for one in named.regions], float)
    return ObjectList(boxes, named.size, [[] for _ in boxes], rows, doubtful=doubtful)


def _photo(named: NamedPhoto) -> _Photo:
    width, height = named.size
    regions = [_region(one.phrase, one.xyxy, width) for one in named.regions]
    both = [[shared(one.box, other.box) for other in regions] for one in regions]
    anchors = [
        place
        for place, one in enumerate(regions)
        if one.is_named
        and not any(
            other != place and both[place][other] < 0.5 and alike(one.words, region.words)
            for other, region in enumerate(regions)
        )
    ]
    return _Photo(regions, both, anchors, height / width)


def _region(phrase: str, xyxy: Sequence[float], width: int) -> _Region:
    head = head_of(phrase)
    before = phrase.lower().partition(head)[0] if head else ""
    tones = [word for word in words_of(before) if word in _TONES]
    x1, y1, x2, y2 = (value / width for value in xyxy)
    return _Region(phrase, (x1, y1, x2, y2), _NOUNS.get(head, head), tones, frozenset(words_of(phrase)))


def _sentence(place: int, photo: _Photo, rng: np.random.Generator) -> tuple[str, list[int]] | None:
    """A sentence that means a region, and the regions that it may mean as well; None where none was found."""
    own = photo.regions[place]
    said = _Said(own.noun, own.tones[0] if own.tones and rng.random() < 0.5 else "")
    found = _clause(place, photo, rng)
    if found is None:
        return None
    clause, holds = found
    unclear, told_apart = [], False
    for other, region in enumerate(photo.regions):
        if other == place:
            continue
        if photo.shared[place][other] > SAME:
            unclear.append(other)
            continue
        fits = region.fits(said)
        if fits is False:
            continue
        true = holds(region.box)
        if true:
            return None
        if true is None:
            unclear.append(other)
        elif fits:
            told_apart = True
    return (_worded(str(said), clause, rng), unclear) if told_apart else None


def _worded(name: str, clause: str, rng: np.random.Generator) -> str:
    article = str(rng.choice(["the ", "the ", "a ", ""]))
    kind = rng.random()
    if kind < 0.2:
        text = f"{clause}, {article}{name}"
    elif kind < 0.35:
        text = f"{article}{name}, {clause}"
    elif kind < 0.45:
        text = f"{article}{name} that is {clause}"
    else:
        text = f"{article}{name} {clause}"
    return f"{text[0].upper()}{text[1:]}{'.' if rng.random() < 0.8 else ''}"


def _clause(place: int, photo: _Photo, rng: np.random.Generator) -> Clause | None:
    """A clause that is true of a region."""
    own = photo.regions[place]
    if rng.random() < 0.15:
        return in_frame(own.box, photo.height, rng)
    x, y = center(own.box)
    close = []
    for other in photo.anchors:
        (x2, y2), reach = (
            center(photo.regions[other].box),
            5 * max(side(own.box), side(photo.regions[other].box), 0.02),
        )
        if other != place and max(abs(x - x2), abs(y - y2)) < reach:
            close.append(other)
    if not close:
        return None
    anchor = close[int(rng.integers(len(close)))]
    for number in rng.permutation(6):
        found = (
            _between(own, [photo.regions[n] for n in close], rng)
            if number == 5
            else _of_one(int(number), own, photo.regions[anchor], rng)
        )
        if found is not None and found[1](own.box):
            clause, holds = found
            return (clause if number == 5 else f"{clause} the {_name(anchor, photo, rng)}"), holds
    return None


def _of_one(kind: int, own: _Region, anchor: _Region, rng: np.random.Generator) -> Clause | None:
    """A clause of one of five kinds about one other region; None where people would not say it."""
    if kind < 3:
        return (beside, near, above)[kind](own.box, anchor.box, rng)
    if kind == 3:
        upright = own.noun in _UPRIGHT and anchor.noun in _UPRIGHT
        return in_depth(own.box, anchor.box, rng) if upright else None
    if own.noun in _UPRIGHT or side(own.box) > 0.6 * side(anchor.box):
        return None
    return on(anchor.box, own.noun in _PARTS, rng)


def _name(place: int, photo: _Photo, rng: np.random.Generator) -> str:
    """The name of a region, a short one where it is no other's."""
    own = photo.regions[place]
    short = _Said(own.noun, own.tones[0] if own.tones else "")
    alone = all(
        region.fits(short) is False or photo.shared[place][other] > 0.5
        for other, region in enumerate(photo.regions)
        if other != place
    )
    return str(short) if alone and rng.random() < 0.7 else own.phrase.partition(",")[0]


def _between(own: _Region, anchors: list[_Region], rng: np.random.Generator) -> Clause | None:
    """A clause about two other regions, one on either side."""
    apart = [one for one in anchors if max(own.box[0] - one.box[2], one.box[0] - own.box[2]) > -0.02]
    lefts = [one for one in apart if center(one.box)[0] < center(own.box)[0]]
    rights = [one for one in apart if center(one.box)[0] > center(own.box)[0]]
    if not lefts or not rights:
        return None
    one, two = lefts[int(rng.integers(len(lefts)))], rights[int(rng.integers(len(rights)))]
    names = [region.phrase.partition(",")[0] for region in (one, two)]
    if rng.random() >= 0.5:
        names.reverse()
    return f"between the {names[0]} and the {names[1]}", between(own.box, one.box, two.box)
