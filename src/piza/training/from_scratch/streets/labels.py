"""What is known of the objects of real street photos, from labels of several sources and a teacher's boxes.

No source labels everything. A record says for each photo which categories its source labels (elsewhere those are absent),
which objects are known and what of each, and where the teacher saw something that may be an object: there nothing is taught.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.boxes import iou_matrix_xyxy
from piza.data.frames import Frame
from piza.data.scenes.signs import KINDS
from piza.data.sorec import read_rows
from piza.training.from_scratch.frames.sign_photos import core, kinds_of_names

SURE, DOUBTFUL = 0.35, 0.06  # the teacher's scores from which on a box is an object, or may be one
SAME = 0.5  # IoU from which on two boxes are of one object
VEHICLES = ("car", "van", "truck", "bus")
# What an object may be, the likely one first, by label and by the teacher's class.
LABELS = {
    "pedestrian": ("person",),
    "person": ("person",),
    "car": ("car", "van"),
    "truck": ("truck", "van"),
    "bus": ("bus",),
    "bicycle": ("bicycle",),
    "motorcycle": ("motorcycle", "motorcyclist"),
    "cyclist": ("cyclist",),
    "pole": ("pole",),
    "traffic light": ("traffic light", "pedestrian light"),
    "stop sign": ("sign",),
    "fire hydrant": ("hydrant",),
    "bench": ("bench",),
    "dog": ("dog",),
    "potted plant": ("planter",),
}
UNCLEAR = {
    "sign or light": ("sign", "traffic light", "pedestrian light"),
    "vehicle": (*VEHICLES, "motorcycle", "motorcyclist"),
}
ON_ROADS = ("person", *VEHICLES, "motorcycle", "motorcyclist", "bicycle", "cyclist")
# Categories of which a source labels all that there are.
COMPLETE = {
    "dawn": ON_ROADS,
    "highway": tuple(name for name in ON_ROADS if name not in ("bicycle", "cyclist")),
    "camvid": ("pole", "sign", "traffic light", "person", "car", "cyclist"),
    "unsplash": (),
    "tl_china": (),
    "signs": (),
}
SHAPES = {"plate": "rectangle", "board": "rectangle"}  # of signs, as sentences tell them
# Neither a source nor the teacher knows these: photos say next to nothing of where they are not.
UNSEEN = ("cone tree lamp hedge mailbox barrier balloon barrel bin flag bollard planter stall pole").split()


@dataclass
class StreetObject:
    """box: xyxy in photo pixels. may: the categories it may be; sure: whether the first of them is the one. words: attribute
    words that are true of it; groups: those of which all that is true is among the words ("color", "state")."""

    box: list[float]
    may: list[str]
    sure: bool = True
    words: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    label: str = ""  # as its source has it; "" for the teacher's


@dataclass
class StreetPhoto:
    """key: "source/name". doubtful: (n, 4) boxes where something may be. complete: categories that are absent where no
    object is."""

    key: str
    width: int
    height: int
    objects: list[StreetObject]
    doubtful: list[list[float]]
    complete: list[str]

    @property
    def source(self) -> str:
        """The first part of the key."""
        return self.key.split("/")[0]


def sign_words(kind: str) -> list[str]:
    """What is true of a sign of a kind: the kind, its shape, and all colors of its face."""
    known = KINDS[kind]
    shape = SHAPES.get(known.shape, known.shape)
    return [f"kind={kind}", f"shape={shape}", *(f"color={color}" for color in known.colors)]


def with_sign_words(words: list[str]) -> list[str]:
    """The words of a drawn object, and those that follow from them: the shape and colors of a sign, that a car is a vehicle."""
    kinds = [word[5:] for word in words if word.startswith("kind=") and word[5:] in KINDS]
    vehicle = ["category=vehicle"] if any(f"category={name}" in words for name in VEHICLES) else []
    return [*words, *vehicle, *(word for kind in kinds for word in sign_words(kind))]


def labeled_photos(folder: Path) -> Iterator[tuple[StreetPhoto, list[dict[str, Any]]]]:
    """Photos without objects, and their labels, of a folder of sources: SOURCE/boxes.jsonl."""
    for path in sorted(folder.glob("*/boxes.jsonl")):
        source = path.parent.name
        for line in path.read_text().splitlines():
            photo = json.loads(line)
            key = f"{source}/{Path(photo['image']).name}"
            complete = list(COMPLETE.get(source, ()))
            yield StreetPhoto(key, photo["width"], photo["height"], [], [], complete), photo["boxes"]


def sign_objects(folder: Path) -> dict[str, list[StreetObject]]:
    """The signs of sign photos by name of photo: folder/train.json in SOREC's format."""
    frames: dict[str, Frame] = defaultdict(lambda: Frame(np.zeros((1, 1, 3), np.uint8), []))
    for row in read_rows(folder / "train.json"):
        box = np.asarray(row.box_xyxy, dtype=float)
        frames[row.image].rows.append((row.expression, box, hash(tuple(row.box_xyxy))))
    group = kinds_of_names(list(frames.values()))
    known = {name.lower(): kind for kind, sign in KINDS.items() for name in sign.names}
    kinds = {number: known[name[4:].lower()] for name, number in group.items() if name[4:].lower() in known}
    found: dict[str, list[StreetObject]] = {}
    for name, frame in frames.items():
        signs: dict[int, StreetObject] = {}
        for sentence, box, thing in frame.rows:
            kind = kinds.get(group[core(sentence)])
            words = sign_words(kind) if kind else []
            groups = ["kind", "shape", "color"] if kind else []
            signs.setdefault(thing, StreetObject(box.tolist(), ["sign"], True, words, groups, "sign"))
        found[name] = list(signs.values())
    return found


def add_labels(photo: StreetPhoto, labels: Iterable[dict[str, Any]], teacher: list[list[Any]]) -> None:
    """Puts the objects that a source labels into a photo; what is unclear is told by the teacher where it is sure enough."""
    boxes = np.array([box[:4] for box in teacher], dtype=float).reshape(-1, 4)
    for label in labels:
        name, box = label["label"], np.array(label["xyxy"], dtype=float)
        if photo.source == "tl_china":
            _add_lit_lamp(photo, label, teacher)
        elif name in LABELS:
            photo.objects.append(StreetObject(box.tolist(), list(LABELS[name]), label=name))
        elif name in UNCLEAR:
            may, sure = list(UNCLEAR[name]), False
            for index in np.flatnonzero(iou_matrix_xyxy(box[None], boxes)[0] >= SAME):
                told = LABELS.get(teacher[index][5], ())
                if teacher[index][4] >= 0.2 and set(told) & set(may):
                    may, sure = [w for w in told if w in UNCLEAR[name]], True
                    break
            photo.objects.append(StreetObject(box.tolist(), may, sure, label=name))
        else:
            photo.doubtful.append(_grown(box, 1.5))


def _add_lit_lamp(photo: StreetPhoto, label: dict[str, Any], teacher: list[list[Any]]) -> None:
    """A label that hugs the lit lamp of a light: the light is the teacher's box around it, if there is one."""
    box = np.array(label["xyxy"], dtype=float)
    x, y = (box[:2] + box[2:]) / 2
    around = [
        found
        for found in teacher
        if found[5] == "traffic light"
        and found[4] >= 0.15
        and found[0] < x < found[2]
        and found[1] < y < found[3]
    ]
    if label["label"] not in ("traffic light", "pedestrian light") or not around:
        photo.doubtful.append(_grown(box, 4.0))
        return
    state = {"yellow": "amber"}.get(label["extra"].get("state", ""), label["extra"].get("state", ""))
    words, groups = ([f"state={state}"], ["state"]) if state else ([], [])
    shape = label["extra"].get("shape", "")
    if shape:
        words, groups = words + [f"arrow={shape.split()[0]}"] * ("arrow" in shape), [*groups, "arrow"]
    photo.objects.append(
        StreetObject(list(around[0][:4]), [label["label"]], True, words, groups, label["label"])
    )


def add_teacher(photo: StreetPhoto, teacher: list[list[Any]]) -> None:
    """The teacher's boxes beside the labels: objects of categories that the source does not label, or doubtful ones."""
    for *box, score, name in sorted(teacher, key=lambda found: -found[4]):
        if score < DOUBTFUL:
            break
        known = np.array([o.box for o in photo.objects], dtype=float).reshape(-1, 4)
        given = np.array(box, dtype=float)[None]
        if len(known) and (iou_matrix_xyxy(given, known).max() >= SAME or covered(given, known).max() >= 0.9):
            continue
        may = [word for word in LABELS.get(name, ()) if word not in photo.complete]
        if score >= SURE and may and len(may) == len(LABELS[name]):
            photo.objects.append(StreetObject(list(box), may))
        else:
            photo.doubtful.append(list(box))


def covered(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """(n, 4) and (m, 4) xyxy -> (n, m): the share of each a that lies in b, where b is at most twice as large."""
    area = (a[:, 2:] - a[:, :2]).prod(1)[:, None]
    larger = (b[:, 2:] - b[:, :2]).prod(1)[None] > 2 * area
    return np.where(larger, 0.0, _inner(a, b) / np.maximum(area, 1e-9))


def _inner(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray((high - low).clip(0).prod(-1))


def _grown(box: NDArray[Any], factor: float) -> list[float]:
    center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
    return [*(center - half).tolist(), *(center + half).tolist()]


def add_colors(photo: StreetPhoto, boxes: list[list[Any]]) -> None:
    """Gives objects the colors [x0, y0, x1, y1, "color=NAME"] of the same boxes."""
    known = np.array([o.box for o in photo.objects], dtype=float).reshape(-1, 4)
    for *box, word in boxes if len(known) else ():
        overlap = iou_matrix_xyxy(np.array(box, dtype=float)[None], known)[0]
        best = photo.objects[int(overlap.argmax())]
        if overlap.max() >= 0.8 and "color" not in best.groups:
            best.words.append(word)
            best.groups.append("color")


def street_photos(streets: Path, signs: Path, teacher: Path, colors: Path | None = None) -> list[StreetPhoto]:
    """All photos with all that is known of them.

    teacher: JSON lines {"key", "width", "height", "boxes": [[x0, y0, x1, y1, score, class], ...]}. colors: JSON lines {"key",
    "boxes": [[x0, y0, x1, y1, "color=NAME"], ...]} of objects whose color is clear.
    """
    told = {line["key"]: line for line in map(json.loads, teacher.read_text().splitlines())}
    found = []
    for photo, labels in labeled_photos(streets):
        boxes = told[photo.key]["boxes"] if photo.key in told else []
        add_labels(photo, labels, boxes)
        add_teacher(photo, boxes)
        found.append(photo)
    of_signs = sign_objects(signs)
    for key, line in told.items():
        source, name = key.split("/")
        if source == "signs":
            photo = StreetPhoto(key, line["width"], line["height"], of_signs.get(name, []), [], [])
            add_teacher(photo, line["boxes"])
            found.append(photo)
    of_key = {
        line["key"]: line["boxes"]
        for line in map(json.loads, colors.read_text().splitlines() if colors else ())
    }
    for photo in found:
        add_colors(photo, of_key.get(photo.key, []))
    return found
