"""What every label format is read into, and the checks that they share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from piza.data.sorec import check_image_name, read_text
from piza.errors import InputError
from piza.image import image_size

LabelFormat = Literal["coco", "yolo", "voc", "kitti", "jsonl"]
FORMATS: tuple[LabelFormat, ...] = get_args(LabelFormat)

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MAX_PHOTO_BYTES = 16 * 2**20  # of the label file of one photo
MAX_BYTES = 2**31  # of the label file of a whole data set
SLACK = 0.01  # how far a box may reach out of its photo, as a share of the photo's side; it is cut off there
MIN_SLACK = 2.0  # the same in pixels, for small photos


@dataclass(frozen=True)
class LabeledBox:
    """One labeled object: corners in pixels of the photo, the category's name as the labels have it, further fields."""

    xyxy: tuple[float, float, float, float]
    category: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabeledPhoto:
    """A photo (name relative to the folder of photos; size in pixels) and its boxes, none where nothing is labeled."""

    image: str
    width: int
    height: int
    boxes: tuple[LabeledBox, ...]
    extra: dict[str, Any] = field(default_factory=dict)


def number(value: Any, where: str) -> float:
    """A finite number, of a JSON value or a text. Raises InputError, which begins with `where`."""
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        result = float(value)
    except (ValueError, OverflowError):
        raise InputError(f"{where}: expected a number, got {str(value)[:40]!r}") from None
    if not math.isfinite(result):
        raise InputError(f"{where}: expected a finite number, got {str(value)[:40]!r}")
    return result


def whole(value: Any, where: str) -> int:
    """A whole number of at least 1, such as a photo's side."""
    result = number(value, where)
    if result != int(result) or result < 1:
        raise InputError(f"{where}: expected a whole number over 0, got {str(value)[:40]!r}")
    return int(result)


def clipped_box(
    xyxy: Sequence[float], size: tuple[int, int], where: str
) -> tuple[float, float, float, float]:
    """The corners cut to the photo's (width, height). Raises InputError for a box without area or one that reaches out
    of the photo by more than `SLACK`."""
    x1, y1, x2, y2 = xyxy
    shown = ", ".join(f"{value:g}" for value in xyxy)
    if x2 <= x1 or y2 <= y1:
        raise InputError(f"{where}: the box {shown} (left, top, right, bottom) has no area")
    slack = [max(MIN_SLACK, SLACK * side) for side in size]
    if x1 < -slack[0] or y1 < -slack[1] or x2 > size[0] + slack[0] or y2 > size[1] + slack[1]:
        raise InputError(f"{where}: the box {shown} reaches out of its photo of {size[0]} x {size[1]} pixels")
    box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(size[0])), min(y2, float(size[1])))
    if box[2] <= box[0] or box[3] <= box[1]:
        raise InputError(f"{where}: the box {shown} lies outside its photo of {size[0]} x {size[1]} pixels")
    return box


def name_of_category(value: Any, where: str) -> str:
    """A category's name without surrounding space. Raises InputError when there is none."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: expected the name of a category, got {str(value)[:40]!r}")
    return value.strip()


def name_of_image(value: Any, where: str) -> str:
    """A photo's file name, which must not lead out of its folder."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: expected the name of a photo, got {str(value)[:40]!r}")
    try:
        check_image_name(value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return value


def bounded_text(path: Path, expected: str, max_bytes: int = MAX_PHOTO_BYTES) -> str:
    """The text of a file that is not absurdly large."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    if size > max_bytes:
        raise InputError(f"{str(path)!r} has {size} bytes, expected {expected} of at most {max_bytes}")
    return read_text(path, expected)


def photos_in(images_dir: Path) -> dict[str, Path]:
    """The photos of a folder by their name without suffix. Raises InputError when two differ in the suffix alone."""
    found: dict[str, Path] = {}
    for path in sorted(images_dir.iterdir()):
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file():
            if path.stem in found:
                raise InputError(
                    f"the photos {found[path.stem].name!r} and {path.name!r} have the same name but for the suffix, "
                    "so it cannot be told whose labels are whose"
                )
            found[path.stem] = path
    return found


def photo_of(labels: Path, photos: dict[str, Path], images_dir: Path) -> tuple[str, tuple[int, int]]:
    """The name and size of the photo that a label file of the same name belongs to."""
    if labels.stem not in photos:
        raise InputError(f"{str(labels)!r}: there is no photo of this name in {str(images_dir)!r}")
    photo = photos[labels.stem]
    return photo.name, image_size(photo)
