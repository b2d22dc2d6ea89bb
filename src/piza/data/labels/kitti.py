"""KITTI: a .txt file a photo, a line an object: its type, truncation, occlusion, angle, then left, top, right, bottom in
pixels from 0, then what is known of it in space (Geiger et al., CVPR 2012)."""

from pathlib import Path

from piza.data.labels.base import (
    LabeledBox,
    LabeledPhoto,
    bounded_text,
    clipped_box,
    number,
    photo_of,
    photos_in,
)
from piza.errors import InputError

_IGNORED = (
    "dontcare",
)  # regions with unlabeled objects; kept as boxes of this category, for they may hide look-alikes
FIELDS = (15, 16)  # of a line; results have a score in the end


def read(path: Path, images_dir: Path) -> list[LabeledPhoto]:
    """The photos of a folder of KITTI files."""
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{str(path)!r} is no folder of KITTI labels: expected .txt files")
    photos = photos_in(images_dir)
    result = []
    for file in files:
        image, size = photo_of(file, photos, images_dir)
        result.append(LabeledPhoto(image, *size, tuple(_boxes(file, size))))
    return result


def _boxes(path: Path, size: tuple[int, int]) -> list[LabeledBox]:
    boxes = []
    for count, line in enumerate(bounded_text(path, "a KITTI file of labels").splitlines(), start=1):
        fields = line.split()
        where = f"{str(path)!r}, line {count}"
        if not fields:
            continue
        if len(fields) not in FIELDS:
            raise InputError(f"{where}: expected 15 fields, got {len(fields)}: {line.strip()[:60]!r}")
        category = fields[0].lower().replace("_", " ")
        truncated, occluded = number(fields[1], f"{where}, field 2"), number(fields[2], f"{where}, field 3")
        xyxy = [number(value, f"{where}, field {place}") for place, value in enumerate(fields[4:8], start=5)]
        extra = {"truncated": truncated, "occluded": occluded}
        if category not in _IGNORED:
            extra["distance"] = number(fields[13], f"{where}, field 14")
        boxes.append(LabeledBox(clipped_box(xyxy, size, where), category, extra))
    return boxes
