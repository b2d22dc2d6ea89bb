"""Reading rows whose boxes may be written in several ways, and noticing when they are not what they were taken for.

SOREC's boxes are [x, y, width, height] in pixels. Rows from elsewhere hold corners, centers or fractions in the same field, and
read the wrong way most of them are still four positive numbers. Only the sizes of the images tell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from piza.data.sizes import Sizes, read_sizes
from piza.data.sorec import Row, read_list, require_sound, show, to_row, without_collector
from piza.errors import InputError

FormatName = Literal["xywh", "xyxy", "cxcywh"]
FORMATS: dict[FormatName, str] = {
    "xywh": "left, top, width and height",
    "xyxy": "corners [x1, y1, x2, y2]",
    "cxcywh": "center and size [cx, cy, width, height]",
}
# Boxes of small objects fit the first of these hardly by chance.
_BY_RARITY: tuple[FormatName, ...] = ("xyxy", "xywh", "cxcywh")
# A box that was drawn by hand may leave its image by so many pixels, or by this share of its side.
EDGE_PIXELS, EDGE_SHARE = 2.0, 0.1
_CUT = "give --box-format xywh to cut boxes at the edge of their image"
MAX_LEAVING = 0.1  # share of boxes that may leave their image where the format was given


@dataclass(frozen=True)
class BoxFormat:
    """How the boxes of a file are written.

    Attributes:
        name: "xywh", "xyxy" or "cxcywh"; None: not said, so xywh, unless the boxes look otherwise.
        normalized: fractions of the image instead of pixels.
    """

    name: FormatName | None = None
    normalized: bool = False

    @property
    def is_given(self) -> bool:
        """Whether somebody said so, and boxes that reach over the edge are meant to."""
        return self.name is not None or self.normalized


def read_rows_with_boxes(
    path: str | Path,
    images_dir: str | Path,
    boxes: BoxFormat = BoxFormat(),
    limit: int | None = None,
) -> list[Row]:
    """Read a file of rows, or the first `limit`, and compare their boxes with the sizes of their images.

    Raises InputError as `read_rows` and `read_sizes` do, and about boxes as `read_values_with_boxes` does.
    """
    with without_collector():
        values = read_values_with_boxes(path, images_dir, boxes, limit)
        return [to_row(row, number) for number, row in enumerate(values, start=1)]


def read_values_with_boxes(
    path: str | Path,
    images_dir: str | Path | None,
    boxes: BoxFormat = BoxFormat(),
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """The rows of a file with their boxes as SOREC has them, [x, y, width, height] in pixels, compared with their images.

    Without `images_dir` nothing is compared. Rows whose image cannot be read are left to the caller.

    Raises InputError as `read_values` does; when boxes leave their images or are under a pixel, saying how many, what they look
    like and which option reads them so; and when fractions are to be read without images.
    """
    content = read_list_with_boxes(path, images_dir, boxes, limit)
    sizes = _sizes(content, images_dir) if images_dir is not None else {}
    require_sound(content, f"{str(path)!r}, row")
    require_plausible(content, sizes, str(path), boxes)
    return content


def read_list_with_boxes(
    path: str | Path,
    images_dir: str | Path | None,
    boxes: BoxFormat = BoxFormat(),
    limit: int | None = None,
) -> list[Any]:
    """The list that a file holds, its rows unchecked, with boxes as SOREC has them where they can be read so.

    Raises InputError as `read_list` and `convert_boxes` do.
    """
    content = read_list(path)[:limit]
    if not boxes.is_given:
        return content
    sizes = _sizes(content, images_dir) if images_dir is not None else {}
    return convert_boxes(content, boxes, sizes, str(path), images_dir is not None)


def convert_boxes(
    content: Sequence[Any], boxes: BoxFormat, sizes: Sizes, source: str, has_images: bool
) -> list[Any]:
    """Rows with `bbox` as [x, y, width, height] in pixels; rows that have no four numbers there are left as they are.

    What reaches over the left or upper edge is cut off there.

    Raises InputError for corners in the wrong order, and for fractions without a folder of images.
    """
    if boxes.normalized and not has_images:
        raise InputError("boxes that are fractions need the sizes of their images: --images DIR")
    converted: list[Any] = []
    for number, row in enumerate(content, start=1):
        if not _has_box(row):
            converted.append(row)
            continue
        box = row["bbox"]
        if boxes.normalized and row.get("image") in sizes:
            width, height = sizes[row["image"]]
            box = [box[0] * width, box[1] * height, box[2] * width, box[3] * height]
        x, y, w, h = _to_xywh(box, boxes.name or "xywh")
        if w <= 0 or h <= 0:
            form = FORMATS[boxes.name or "xywh"]
            raise InputError(f"{source!r}, row {number}: 'bbox' should be {form}, got {show(row['bbox'])}")
        left, top = max(0, x), max(0, y)
        converted.append({**row, "bbox": [left, top, w - (left - x), h - (top - y)]})
    return converted


def require_plausible(values: Sequence[dict[str, Any]], sizes: Sizes, source: str, boxes: BoxFormat) -> None:
    """Raise InputError when boxes [x, y, width, height] in pixels leave their images or are under a pixel.

    Looks at all rows whose image's size is known. A box may reach over the edge a little, as boxes that were drawn by hand do;
    where the format was given, it may reach farther, if few do.
    """
    known = [(number, row) for number, row in enumerate(values, start=1) if row["image"] in sizes]
    if not known:
        return
    xywh = np.array([row["bbox"] for _, row in known], dtype=np.float64)
    frames = np.array([sizes[row["image"]] for _, row in known], dtype=np.float64)
    leaving, small = _leaves(xywh, frames), (xywh[:, 2:] < 1).any(1)
    if not small.any() and (
        not leaving.any() or (boxes.is_given and leaving.sum() <= max(1, MAX_LEAVING * len(known)))
    ):
        return
    number, row = known[int(np.argmax(leaving | small))]
    width, height = sizes[row["image"]]
    if boxes.is_given:
        advice = "--box-format and --normalized should say how they are written"
    else:
        advice = _advice(xywh, frames)
    raise InputError(
        f"{source!r}: of {len(known)} boxes {int(leaving.sum())} leave their image and {int(small.sum())} are under a pixel "
        f"(row {number}: {show(row['bbox'])} in {width} x {height} pixels); {advice}"
    )


def _advice(values: NDArray[np.float64], frames: NDArray[np.float64]) -> str:
    """What boxes look like that are not [x, y, width, height] in pixels, and the options that read them so."""
    if values.max() <= 1.0:
        scaled = values * np.tile(frames, 2)
        for name in _BY_RARITY:
            if _fits(scaled, frames, name):
                options = "--normalized" if name == "xywh" else f"--box-format {name} --normalized"
                return f"they look like fractions of the image, {FORMATS[name]}, which {options} reads"
        return "they look like fractions of the image, which --normalized reads, but some leave it even so"
    for name in _BY_RARITY:
        if name != "xywh" and _fits(values, frames, name):
            advice = f"they look like {FORMATS[name]}, which --box-format {name} reads"
            # Few boxes of the last kind leave their image, so it may be these that are wrong.
            return advice if name == "xyxy" else f"{advice}, or else {_CUT}"
    return f"no other way of writing boxes fits all of them; correct these rows, or {_CUT}"


def _fits(values: NDArray[np.float64], frames: NDArray[np.float64], name: FormatName) -> bool:
    """Whether all boxes, read in this way, are at least a pixel large and in their images."""
    xywh = np.stack(_to_xywh(values.T, name), 1)
    inside = (xywh[:, :2] >= -EDGE_PIXELS).all(1) & ~_leaves(xywh, frames)
    return bool(((xywh[:, 2:] >= 1 - 1e-6).all(1) & inside).all())


def _leaves(xywh: NDArray[np.float64], frames: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) whether boxes leave frames (n, 2) to the right or below by more than a hand's error."""
    over = xywh[:, :2] + xywh[:, 2:] - frames
    return np.asarray((over > np.maximum(EDGE_PIXELS, EDGE_SHARE * xywh[:, 2:])).any(1))


def _to_xywh(box: Any, name: FormatName) -> tuple[Any, Any, Any, Any]:
    """Four numbers, or four arrays of them."""
    a, b, c, d = box
    if name == "xyxy":
        return a, b, c - a, d - b
    if name == "cxcywh":
        return a - c / 2, b - d / 2, c, d
    return a, b, c, d


def _has_box(row: Any) -> bool:
    box = row.get("bbox") if isinstance(row, dict) else None
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in box)
        and all(abs(v) < 1e15 and math.isfinite(v) for v in box)
    )


def _sizes(content: Sequence[Any], images_dir: str | Path) -> Sizes:
    names = [row["image"] for row in content if isinstance(row, dict) and isinstance(row.get("image"), str)]
    return read_sizes(names, images_dir)[0]
