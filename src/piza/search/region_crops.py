"""The surroundings of objects, each cut out of the picture and enlarged to one size. No torch is imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.image import DecodedImage, ImageArray, cut

SIDE = 64  # of a crop in points
SURROUNDINGS = 1.5  # side of a crop in sides of the box, of its longer one
LEAST = 16.0  # side of a crop in pixels, at least


@dataclass(frozen=True)
class Detail:
    """A window before it was resized to the model's input. window_xyxy: in pixels of the picture."""

    picture: ImageArray | DecodedImage
    window_xyxy: Sequence[float] | NDArray[Any]


def region_crops(
    image: ImageArray, boxes: NDArray[Any], detail: Detail | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Square crops around boxes, and how large the boxes are.

    A crop for which the image has fewer than SIDE pixels is cut out of `detail`, where that has more.

    Args:
        image: uint8 (height, width, 3), the window resized to the model's input.
        boxes: (k, 4) cxcywh, normalized to the window.
        detail: the same window before it was resized; None: there is only the image.

    Returns:
        crops (k, SIDE, SIDE, 3) uint8; beyond the picture's edge its last pixels are repeated. sizes (k, 2): logarithms
        of width over height, and of the longer side in pixels over SIDE.
    """
    crops = np.empty((len(boxes), SIDE, SIDE, 3), np.uint8)
    sizes = np.empty((len(boxes), 2), np.float32)
    whole = Detail(image, (0, 0, image.shape[1], image.shape[0]))
    for row, box in enumerate(np.asarray(boxes, float)):
        corners = _in_picture(box, whole)
        source, most = whole, np.inf
        if detail is not None and _side(corners) < SIDE:
            inner = _in_picture(box, detail)
            if _side(inner) > _side(corners):
                corners, source, most = inner, detail, SIDE / SURROUNDINGS
        crops[row] = square_crop(source.picture, corners)
        width, height = np.maximum(corners[2:] - corners[:2], 1.0)
        sizes[row] = np.log(width / height), np.log(min(max(width, height), most) / SIDE)
    return crops, sizes


def _in_picture(box: NDArray[Any], detail: Detail) -> NDArray[np.float64]:
    """A normalized cxcywh box as x1, y1, x2, y2 in pixels of the picture."""
    left, top, right, bottom = (float(value) for value in detail.window_xyxy)
    size = np.array([right - left, bottom - top])
    center, sides = np.array([left, top]) + box[:2] * size, box[2:] * size
    return np.concatenate([center - sides / 2, center + sides / 2])


def _side(corners: NDArray[np.float64]) -> float:
    return max(float((corners[2:] - corners[:2]).max()) * SURROUNDINGS, LEAST)


def square_crop(picture: ImageArray | DecodedImage, corners: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) around a box (4,) xyxy in pixels of a picture."""
    height, width = picture.shape[:2]
    side = _side(corners)
    low = (corners[:2] + corners[2:] - side) / 2
    # What lies inside the picture, in whole points of the crop.
    limits = np.array([width, height], float)
    first = np.clip(np.ceil(-low / side * SIDE - 1e-6), 0, SIDE - 1)
    last = np.clip(np.floor((limits - low) / side * SIDE + 1e-6), first + 1, SIDE)
    start, end = low + first * side / SIDE, low + last * side / SIDE
    start = np.clip(start, 0, limits - 1e-3)
    end = np.clip(end, start + 1e-3, limits)
    size = (last - first).astype(int)
    inside = cut(picture, (*start, *end), (int(size[0]), int(size[1])))
    before = first.astype(int)
    after = SIDE - before - size
    if not (before.any() or after.any()):
        return inside
    return np.pad(inside, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="edge")
