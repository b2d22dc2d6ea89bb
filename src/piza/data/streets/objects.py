"""Labeled boxes and pixels -> the objects that `piza.data.scenes` writes sentences about.

What a drawn scene knows, a photo has to tell: distances from the sizes of what is of a known size, colors from pixels,
what is hidden from the boxes before it. What is not known stays open, so that no sentence rests on it. An object that may
be there though nobody labeled it (a weak box of a detector) is one that every sentence must be false of.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from piza.data.labels import LabeledBox, LabeledPhoto
from piza.data.scenes.meaning import UNKNOWN
from piza.data.scenes.objects import SceneObject
from piza.data.streets.colors import clear_color

Box = tuple[float, float, float, float]

# Names of labels -> our categories. Others stay as they are, in lower case.
CATEGORIES = {
    "pedestrian": "person", "people": "person", "person sitting": "person", "rider": "cyclist", "motorbike": "motorcycle",
    "bike": "bicycle", "lorry": "truck", "trafficlight": "traffic light", "traffic signal": "traffic light",
    "traffic sign": "sign", "trafficsign": "sign", "stop sign": "sign", "misc": UNKNOWN, "dontcare": UNKNOWN,
    "traffic cone": "cone", "fire hydrant": "hydrant", "countdown": "countdown timer", "train": "vehicle", "tram": "vehicle",
    "automobile": "car", "minibus": "bus", "minivan": "van", "potted plant": "planter",
}  # fmt: skip
# Heights in meters, for the distance of what is of a known size.
_HEIGHTS = {
    "car": 1.5, "van": 2.1, "truck": 3.0, "bus": 3.1, "vehicle": 1.8, "person": 1.7, "cyclist": 1.75, "motorcyclist": 1.6,
    "motorcycle": 1.2, "bicycle": 1.1, "traffic light": 0.9, "pedestrian light": 0.6, "countdown timer": 0.6, "sign": 0.75,
}  # fmt: skip
_GROUPS = (
    ("car", "van", "truck", "bus", "vehicle"),
    ("person", "cyclist", "motorcyclist"),
    ("bicycle", "motorcycle", "cyclist", "motorcyclist"),
    ("traffic light", "pedestrian light", "countdown timer", "sign or light"),
    ("sign", "sign or light"),
)
_RIDDEN = ("bicycle", "motorcycle")
PERSON_SCORE = 0.55  # posts and markers pass for people below
FOCAL = 1.0  # focal length in widths of the photo; only ratios of distances matter


@dataclass(frozen=True)
class MaybeBox:
    """A box of a detector, in pixels of the photo, with its score and category."""

    xyxy: Box
    score: float
    category: str


def category_of(label: str) -> str:
    """Our name of a label's category."""
    name = label.strip().lower().replace("_", " ").replace("-", " ")
    return CATEGORIES.get(name, name)


def street_objects(
    photo: LabeledPhoto,
    picture: NDArray[np.uint8] | None = None,
    maybe: Sequence[MaybeBox] = (),
    trusted: Collection[str] = (),
    min_score: float = 0.25,
    sure_score: float = 0.5,
    confirm: bool = False,
) -> list[SceneObject]:
    """The objects of a photo, those of its labels first, in their order.

    Args:
        photo: with labeled boxes; `extra` may hold an object's state ("red"), arrow, color, kind of sign.
        picture: (height, width, 3) RGB of the photo's size, for colors; None: no colors.
        maybe: what a detector found, labeled or not. What overlaps no label becomes an uncertain object.
        trusted: categories that the labels leave out; a `maybe` box of one is an object from `sure_score` on, of a person
            from `PERSON_SCORE` on.
        min_score: `maybe` boxes below are passed over.
        confirm: a labeled box of a vehicle or person is uncertain unless a `maybe` box is much the same.
    """
    labeled = [_labeled(box, photo) for box in photo.boxes]
    found = [box for box in maybe if box.score >= min_score]
    if confirm:
        labeled = [o if _is_confirmed(o, found) else replace(o, certain=False) for o in labeled]
    taken = list(labeled)
    for box in _without_doubles(found):
        category = category_of(box.category)
        if any(_same(box.xyxy, category, o) for o in taken):
            continue
        sure = category in trusted and box.score >= (PERSON_SCORE if category == "person" else sure_score)
        taken.append(_object(box.xyxy, category, {}, photo, certain=sure))
    objects = [o if o.certain else replace(o, visible=0.0) for o in taken]
    objects = _with_hidden_parts(objects)
    return [_with_color(o, picture) for o in objects] if picture is not None else objects


def _labeled(box: LabeledBox, photo: LabeledPhoto) -> SceneObject:
    known = {
        key: str(box.extra[key])
        for key in ("state", "arrow", "kind", "color", "gender", "view")
        if box.extra.get(key)
    }
    category = category_of(box.category)
    if "light" in category or category == "countdown timer":
        known["state"] = {"yellow": "amber"}.get(known.get("state", UNKNOWN), known.get("state", UNKNOWN))
    arrow = {"left arrow": "left", "right arrow": "right", "straight arrow": "straight"}
    if box.extra.get("shape") in arrow:
        known["arrow"] = arrow[box.extra["shape"]]
    color = known.pop("color", None)
    found = _object(box.xyxy, category, known, photo, certain=category != UNKNOWN)
    return replace(found, color=color)


def _object(
    xyxy: Box, category: str, attributes: dict[str, str], photo: LabeledPhoto, certain: bool
) -> SceneObject:
    x1, y1, x2, y2 = xyxy
    truncated = x1 <= 2 or y1 <= 2 or x2 >= photo.width - 2 or y2 >= photo.height - 2
    depth = _HEIGHTS.get(category, 1.5) * FOCAL * photo.width / max(1.0, y2 - y1)
    if category in ("traffic light", "pedestrian light", "countdown timer"):
        attributes = {"state": UNKNOWN, **attributes}
    return SceneObject(category, None, attributes, xyxy, 1.0, depth, truncated=truncated, certain=certain)


def _without_doubles(found: Sequence[MaybeBox]) -> list[MaybeBox]:
    """The best box of each object. Of a vehicle that may as well be of another category, that is left open."""
    kept: list[MaybeBox] = []
    for box in sorted(found, key=lambda box: -box.score):
        category = category_of(box.category)
        rivals = [at for at, other in enumerate(kept) if _overlap(box.xyxy, other.xyxy) > 0.5]
        rivals = [at for at in rivals if _related(category, category_of(kept[at].category))]
        if not rivals:
            kept.append(box)
            continue
        first = kept[rivals[0]]
        if (
            category != category_of(first.category)
            and box.score > 0.5 * first.score
            and category in _GROUPS[0]
        ):
            kept[rivals[0]] = replace(first, category="vehicle")
    return kept


def _related(a: str, b: str) -> bool:
    return a == b or any(a in group and b in group for group in _GROUPS)


def _same(xyxy: Box, category: str, o: SceneObject) -> bool:
    """Whether a detector's box is of a labeled object."""
    if o.category == UNKNOWN:
        return False
    overlap, inner = _overlap(xyxy, o.box_xyxy), _inner(xyxy, o.box_xyxy)
    return _related(category, o.category) and (overlap > 0.4 or inner > 0.8)


def _is_confirmed(o: SceneObject, found: Sequence[MaybeBox]) -> bool:
    return any(
        box.score > 0.3
        and _related(category_of(box.category), o.category)
        and _overlap(box.xyxy, o.box_xyxy) > 0.6
        for box in found
    )


def _area(a: Box) -> float:
    return max(0.0, a[2] - a[0]) * max(0.0, a[3] - a[1])


def _shared(a: Box, b: Box) -> float:
    return _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def _overlap(a: Box, b: Box) -> float:
    shared = _shared(a, b)
    return shared / max(1e-9, _area(a) + _area(b) - shared)


def _inner(a: Box, b: Box) -> float:
    """The share of the smaller box that lies in the other."""
    return _shared(a, b) / max(1e-9, min(_area(a), _area(b)))


def _with_hidden_parts(objects: list[SceneObject]) -> list[SceneObject]:
    """The objects with `visible`: what the boxes before them leave. What reaches farther down stands before."""
    result = []
    for o in objects:
        covered = 0.0
        for other in objects:
            riding = o.category in _RIDDEN or other.category in _RIDDEN
            before = other.box_xyxy[3] > o.box_xyxy[3] + 0.02 * o.longest
            if other is not o and before and not riding:
                covered += _shared(o.box_xyxy, other.box_xyxy) / max(1e-9, _area(o.box_xyxy))
        result.append(replace(o, visible=o.visible * max(0.0, 1 - covered)))
    return result


def _with_color(o: SceneObject, picture: NDArray[np.uint8]) -> SceneObject:
    if o.color is not None or not o.certain or o.visible < 0.7:
        return o
    color, shade = clear_color(picture, o.box_xyxy, o.category)
    return replace(o, color=color or None, shade=shade)
