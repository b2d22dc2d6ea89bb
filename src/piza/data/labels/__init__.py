"""Photos with labeled boxes, in the formats that annotation tools write: COCO, YOLO, Pascal VOC, KITTI, JSON lines."""

import warnings
from pathlib import Path

from piza.data.box_formats import BoxFormat, doubt_of
from piza.data.labels.base import FORMATS, LabeledBox, LabeledPhoto, LabelFormat
from piza.data.sorec import canonical_name
from piza.errors import InputError, InputWarning

__all__ = ["FORMATS", "LabelFormat", "LabeledBox", "LabeledPhoto", "guess_format", "read_labels"]


def read_labels(
    path: str | Path, images_dir: str | Path, label_format: LabelFormat | None = None
) -> list[LabeledPhoto]:
    """All photos of a label file or folder, those without boxes too.

    Args:
        path: COCO: the .json file. YOLO: the folder of .txt files, or the data.yaml beside it. VOC: the folder of .xml
            files, or one of them. KITTI: the folder of .txt files. jsonl: the file.
        images_dir: the folder of the photos. YOLO and KITTI give no sizes, so they are read from the photos.
        label_format: None: told by the file's name and content.

    Raises:
        InputError: naming the file and the line or field, for a file of another kind, a value that is not what it must
            be, a box that reaches out of its photo by more than rounding, two entries about one photo, or no photo at all.
        Warns (InputWarning) about COCO's boxes that lie in their photos, but look like corners or percent.
    """
    from piza.data.labels import coco, jsonl, kitti, voc, yolo

    path, images_dir = Path(path), Path(images_dir)
    if not path.exists():
        raise InputError(f"{str(path)!r} does not exist, expected a file or folder of labels")
    if not images_dir.is_dir():
        raise InputError(f"the folder of photos {str(images_dir)!r} does not exist")
    readers = {
        "coco": coco.read,
        "yolo": yolo.read,
        "voc": voc.read,
        "kitti": kitti.read,
        "jsonl": jsonl.read,
    }
    label_format = label_format or guess_format(path)
    photos = readers[label_format](path, images_dir)
    _check_names(photos, repr(str(path)))
    if label_format == "coco":  # the one format that is [x, y, width, height] in pixels
        _doubt_boxes(photos, str(path))
    if not photos:
        raise InputError(f"{str(path)!r} holds no labels: there is no photo in it")
    return photos


def _check_names(photos: list[LabeledPhoto], path: str) -> None:
    """Raises InputError where a photo is there twice: sentences would be told by a part of its boxes."""
    seen: dict[str, str] = {}
    for photo in photos:
        key = canonical_name(photo.image)
        if key in seen:
            raise InputError(f"{path} has two entries about one photo: {seen[key]!r} and {photo.image!r}")
        seen[key] = photo.image


def _doubt_boxes(photos: list[LabeledPhoto], path: str) -> None:
    rows = [
        {"image": photo.image, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for photo in photos
        for x1, y1, x2, y2 in (box.xyxy for box in photo.boxes)
    ]
    sizes = {photo.image: (photo.width, photo.height) for photo in photos}
    if doubt := doubt_of(rows, sizes, path, BoxFormat()):
        warnings.warn(doubt.partition(";")[0], InputWarning, stacklevel=3)  # these have no options


def guess_format(path: str | Path) -> LabelFormat:
    """The format of a label file or folder. Raises InputError when it is none of `FORMATS`."""
    path = Path(path)
    if path.is_dir():
        if any(path.glob("*.xml")):
            return "voc"
        for text in sorted(path.glob("*.txt")):
            with open(text, encoding="utf-8", errors="replace") as file:
                first = file.readline(4096).split()
            if first and text.name != "classes.txt":
                return "yolo" if first[0].isdecimal() else "kitti"
        raise InputError(
            f"{str(path)!r} is no folder of labels: expected .xml (VOC) or .txt files (YOLO, KITTI)"
        )
    by_suffix: dict[str, LabelFormat] = {
        ".json": "coco", ".jsonl": "jsonl", ".xml": "voc", ".yaml": "yolo", ".yml": "yolo",
    }  # fmt: skip
    if path.suffix.lower() not in by_suffix:
        raise InputError(
            f"{str(path)!r} is no known label file: expected one of {', '.join(by_suffix)} or a folder"
        )
    return by_suffix[path.suffix.lower()]
