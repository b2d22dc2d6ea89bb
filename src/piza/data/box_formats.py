"""Reading rows whose boxes may be written in several ways, and noticing when they are not what they were taken for.

SOREC's boxes are [x, y, width, height] in pixels. Rows from elsewhere hold corners, centers or fractions in the same field, and
read the wrong way most of them are still four positive numbers. Only the sizes of the images tell: boxes that leave their
images are refused (`require_plausible`), and those that lie inside of them, but hardly by chance, are doubted (`doubt_of`).
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from piza.data.sizes import Sizes, read_sizes
from piza.data.sorec import Row, read_list, require_sound, show, to_row, without_collector
from piza.errors import InputError, InputWarning

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
SCALES = {100: "percent", 1000: "thousandths"}
"""What else than pixels and fractions boxes are counted in: Label Studio has percent, some language models thousandths."""

MAX_CHANCE = 1e-3  # above it, boxes that look like another format are taken for what they were said to be
_CELLS = 20  # of a side: boxes that differ by less than a cell are one, as in frames of a film


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

    Without `images_dir` nothing is compared. Rows whose image cannot be read are left to the caller. Warns
    (InputWarning) with the sentence of `doubt_of`, where there is one.

    Raises InputError as `read_values` does; when boxes leave their images or are under a pixel, saying how many, what they look
    like and which option reads them so; and when fractions are to be read without images.
    """
    content = read_list_with_boxes(path, images_dir, boxes, limit)
    sizes = _sizes(content, images_dir) if images_dir is not None else {}
    require_sound(content, f"{str(path)!r}, row")
    require_plausible(content, sizes, str(path), boxes)
    warn_of_doubt(content, sizes, str(path), boxes)
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
        if boxes.normalized and isinstance(row.get("image"), str) and row["image"] in sizes:
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
    known, xywh, frames = _compared(values, sizes)
    if not known:
        return
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


def doubt_of(values: Sequence[dict[str, Any]], sizes: Sizes, source: str, boxes: BoxFormat) -> str | None:
    """A sentence about boxes that all lie inside of their images, but look like another format; None where they do not.

    Corners read as left, top, width and height stay inside of an image as long as they are left above of its center, and then
    every width is larger than its left and every height than its top. Boxes in percent are all near the left upper corner of a
    large image. Of boxes that are what they were taken for, at random places, this is so by chance; where that is below
    `MAX_CHANCE`, it is doubted. It stays a doubt: a logo in the corner of every image is such a box, too. Nothing is said of
    a format that somebody gave, and of centers, which cannot be told from the left upper corners of small boxes.

    values: rows with `bbox` [x, y, width, height] in pixels, sound ones.
    """
    if boxes.name is not None:
        return None
    known, xywh, frames = _compared(values, sizes)
    if not known:
        return None
    room = np.maximum(frames - xywh[:, 2:], 1e-9)  # (n, 2): where the left upper corner may be
    found: list[tuple[float, str, str]] = []  # how probable by chance, what it looks like, what reads it
    if (xywh[:, 2:] > xywh[:, :2]).all() and _fits(xywh, frames, "xyxy"):
        chance = _chance(xywh[:, 2:] / room, xywh / np.tile(frames, 2))
        found.append(
            (chance, FORMATS["xyxy"], f"--box-format xyxy{' --normalized' * boxes.normalized} reads")
        )
    for scale, word in SCALES.items():
        name = _fit_of_scale(xywh, frames, scale) if not boxes.is_given else None
        if name is not None:
            chance = _chance(scale / room, xywh / scale)
            found.append((chance, f"{word} of the image, {FORMATS[name]}", _divide(scale, name)))
    found = sorted(one for one in found if one[0] < MAX_CHANCE)
    if not found:
        return None
    number, row = known[0]
    width, height = sizes[row["image"]]
    looks, advice = (" or like ".join(one[1] for one in found), " or ".join(one[2] for one in found))
    return (
        f"{source!r}: all {len(known)} boxes look like {looks}, but are read as {FORMATS['xywh']} (row {number}: "
        f"{show(row['bbox'])} in {width} x {height} pixels); {advice} them otherwise, and --box-format xywh says that they "
        "are right"
    )


def warn_of_doubt(
    values: Sequence[dict[str, Any]], sizes: Sizes, source: str, boxes: BoxFormat = BoxFormat()
) -> None:
    """Warn (InputWarning) with the sentence of `doubt_of`, where there is one."""
    if doubt := doubt_of(values, sizes, source, boxes):
        warnings.warn(doubt, InputWarning, stacklevel=2)


def _chance(shares: NDArray[np.float64], boxes: NDArray[np.float64]) -> float:
    """The probability that all of independent events happen, from theirs (n, 2), cut to 1; those of boxes (n, 4) that are
    nearly the same are one. The sides of the boxes are counted in that of a square."""
    _, distinct = np.unique(np.round(boxes * _CELLS), axis=0, return_index=True)
    return float(np.exp(np.log(np.minimum(shares[distinct], 1.0)).sum()))


def _fit_of_scale(values: NDArray[np.float64], frames: NDArray[np.float64], scale: int) -> FormatName | None:
    """The format in which boxes that are counted in `scale`ths of the image are inside of it."""
    if values.max() > scale:
        return None
    scaled = values / scale * np.tile(frames, 2)
    return next((name for name in _BY_RARITY if _fits(scaled, frames, name)), None)


def _divide(scale: int, name: FormatName) -> str:
    options = "--normalized" if name == "xywh" else f"--box-format {name} --normalized"
    return f"divided by {scale}, {options} reads"


def _compared(
    values: Sequence[dict[str, Any]], sizes: Sizes
) -> tuple[list[tuple[int, dict[str, Any]]], NDArray[np.float64], NDArray[np.float64]]:
    """The rows whose image's size is known, with their numbers from 1; their boxes (n, 4) and images' sizes (n, 2)."""
    known = [(number, row) for number, row in enumerate(values, start=1) if row["image"] in sizes]
    xywh = np.array([row["bbox"] for _, row in known], dtype=np.float64).reshape(-1, 4)
    frames = np.array([sizes[row["image"]] for _, row in known], dtype=np.float64).reshape(-1, 2)
    return known, xywh, frames


def _advice(values: NDArray[np.float64], frames: NDArray[np.float64]) -> str:
    """What boxes look like that are not [x, y, width, height] in pixels, and the options that read them so."""
    if values.max() <= 1.0:
        scaled = values * np.tile(frames, 2)
        for name in _BY_RARITY:
            if _fits(scaled, frames, name):
                options = "--normalized" if name == "xywh" else f"--box-format {name} --normalized"
                return f"they look like fractions of the image, {FORMATS[name]}, which {options} reads"
        return "they look like fractions of the image, which --normalized reads, but some leave it even so"
    if _fits(values, frames, "xyxy"):
        return f"they look like {FORMATS['xyxy']}, which --box-format xyxy reads"
    for scale, word in SCALES.items():
        fit = _fit_of_scale(values, frames, scale)
        if fit is not None and (values[:, :2] >= frames).any():  # pixels that no left upper corner can have
            return f"they look like {word} of the image, {FORMATS[fit]}: {_divide(scale, fit)} them"
    if _fits(values, frames, "cxcywh"):
        # Few boxes of this kind leave their image, so it may be these that are wrong.
        return f"they look like {FORMATS['cxcywh']}, which --box-format cxcywh reads, or else {_CUT}"
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
