"""YOLO: a .txt file a photo, a line a box "class x_center y_center width height" as shares of the photo's sides.

The classes' names stand in data.yaml (`names`, a list or a mapping) or in classes.txt (a name a line), in the folder of
labels or above it.
"""

from pathlib import Path
from typing import Any

from piza.data.labels.base import (
    LabeledBox,
    LabeledPhoto,
    bounded_text,
    clipped_box,
    name_of_category,
    number,
    photos_in,
)
from piza.data.plain_yaml import parse_yaml
from piza.errors import InputError, reason
from piza.image import image_size

MAX_NAMES_BYTES = 400_000  # of a file of class names; 1,200 of them take 30,000
MAX_DIGITS = 9  # of the number of a class
_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")


def read(path: Path, images_dir: Path) -> list[LabeledPhoto]:
    """Every photo of `images_dir`, with the boxes of the label file of its name; none where there is no such file."""
    if path.is_file():
        folder = _labels_beside(path, images_dir)
        names = _names(path)
    else:
        folder = path
        found = [
            at / name
            for at in (path, path.parent, path.parent.parent)
            for name in _FILES
            if (at / name).is_file()
        ]
        if not found:
            raise InputError(
                f"{str(path)!r}: expected a file of class names, one of {', '.join(_FILES)}, in it or above it"
            )
        names = _names(found[0])
    photos = photos_in(images_dir)
    for labels in sorted(folder.glob("*.txt")):
        if labels.stem not in photos and labels.name not in _FILES:
            raise InputError(f"{str(labels)!r}: there is no photo of this name in {str(images_dir)!r}")
    result = []
    for stem, photo in photos.items():
        size = image_size(photo)
        labels = folder / f"{stem}.txt"
        boxes = tuple(_boxes(labels, size, names)) if labels.is_file() else ()
        result.append(LabeledPhoto(photo.name, *size, boxes))
    return result


def _boxes(path: Path, size: tuple[int, int], names: dict[int, str]) -> list[LabeledBox]:
    boxes = []
    for count, line in enumerate(bounded_text(path, "a YOLO file of labels").splitlines(), start=1):
        fields = line.split()
        where = f"{str(path)!r}, line {count}"
        if not fields:
            continue
        if len(fields) != 5 and (len(fields) < 7 or len(fields) % 2 == 0):
            raise InputError(
                f"{where}: expected 'class x_center y_center width height', got {line.strip()[:60]!r}"
            )
        if not (fields[0].isdecimal() and len(fields[0]) <= MAX_DIGITS):
            raise InputError(f"{where}: expected the number of a class, got {fields[0][:40]!r}")
        if int(fields[0]) not in names:
            raise InputError(
                f"{where}: there is no class {int(fields[0])}; known are 0 to {max(names, default=0)}"
            )
        values = [number(value, where) for value in fields[1:]]
        if any(abs(value) > 1.1 for value in values):
            raise InputError(
                f"{where}: expected shares of the photo's sides from 0 to 1, got {line.strip()[:60]!r}"
            )
        xyxy = _corners(values)
        box = clipped_box([value * size[place % 2] for place, value in enumerate(xyxy)], size, where)
        boxes.append(LabeledBox(box, names[int(fields[0])]))
    return boxes


def _corners(values: list[float]) -> list[float]:
    """Corners of a box, or of the outline (x y x y ...) that segmentation labels give."""
    if len(values) == 4:
        x, y, width, height = values
        return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return [min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])]


def _labels_beside(path: Path, images_dir: Path) -> Path:
    """The folder of labels that a data.yaml speaks of: `labels` where the photos' path has `images`."""
    parts = images_dir.resolve().parts
    at = max((place for place, part in enumerate(parts) if part == "images"), default=None)
    tries = [path.parent / "labels", images_dir]
    if at is not None:
        tries.insert(0, Path(*parts[:at], "labels", *parts[at + 1 :]))
    for folder in tries:
        if folder.is_dir() and any(folder.glob("*.txt")):
            return folder
    raise InputError(f"{str(path)!r}: expected label files (.txt) in {str(tries[0])!r}")


def _names(path: Path) -> dict[int, str]:
    text = bounded_text(path, "a file of class names", MAX_NAMES_BYTES)
    if path.suffix in (".yaml", ".yml"):
        names = _yaml_names(text, path)
    else:
        names = {number: line.strip() for number, line in enumerate(text.splitlines()) if line.strip()}
    if not names:
        raise InputError(f"{str(path)!r} holds no names of classes")
    return names


def _yaml_names(text: str, path: Path) -> dict[int, str]:
    try:
        content: Any = parse_yaml(text)
    except ImportError:
        raise InputError("a data.yaml needs the package pyyaml: pip install 'piza[train]'") from None
    except (RecursionError, ValueError) as error:
        raise InputError(f"{str(path)!r} is not valid YAML: {reason(error)}") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        raise InputError(f"{str(path)!r}, field 'names': expected the list of the classes' names")
    result = {}
    for key, value in names.items():
        if not isinstance(key, int) or key < 0:
            raise InputError(
                f"{str(path)!r}, field 'names': expected numbers of classes, got {str(key)[:40]!r}"
            )
        result[key] = name_of_category(value, f"{str(path)!r}, class {key}")
    return result
