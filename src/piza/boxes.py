"""Box formats and box geometry in numpy.

A box is the last axis of an array of shape (..., 4), float64 on return. The formats, named in every function:

    xyxy     left, top, right, bottom
    xywh     left, top, width, height       (the format of SOREC's files)
    cxcywh   center x, center y, width, height

Coordinates are continuous: the pixel in the top left corner covers 0 to 1 on both axes, so a box that covers a whole
picture is (0, 0, width, height) and width is right - left. Nothing here asks whether the unit is pixels or a share of
the picture, as long as both boxes of a pair use the same.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes: TypeAlias = NDArray[np.float64]


EDGE = 1e-6  # pixels


def _boxes(boxes: ArrayLike) -> Boxes:
    array = np.asarray(boxes, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != 4:
        raise ValueError(f"boxes must have shape (..., 4), got {array.shape}")
    return array


def xywh_to_xyxy(boxes: ArrayLike) -> Boxes:
    """(..., 4) left, top, width, height -> left, top, right, bottom."""
    x, y, w, h = np.moveaxis(_boxes(boxes), -1, 0)
    return np.stack([x, y, x + w, y + h], axis=-1)


def xyxy_to_xywh(boxes: ArrayLike) -> Boxes:
    """(..., 4) left, top, right, bottom -> left, top, width, height."""
    x1, y1, x2, y2 = np.moveaxis(_boxes(boxes), -1, 0)
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)


def xyxy_to_cxcywh(boxes: ArrayLike) -> Boxes:
    """(..., 4) left, top, right, bottom -> center x, center y, width, height."""
    x1, y1, x2, y2 = np.moveaxis(_boxes(boxes), -1, 0)
    return np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=-1)


def cxcywh_to_xyxy(boxes: ArrayLike) -> Boxes:
    """(..., 4) center x, center y, width, height -> left, top, right, bottom."""
    cx, cy, w, h = np.moveaxis(_boxes(boxes), -1, 0)
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=-1)


def clip_xyxy(boxes: ArrayLike, frame_xyxy: ArrayLike) -> Boxes:
    """Clip (..., 4) xyxy boxes to a frame, itself one xyxy box: (0, 0, width, height) for a picture.

    A box wholly outside becomes a box of no area on the nearest edge.
    """
    low_x, low_y, high_x, high_y = _boxes(frame_xyxy)
    return np.clip(_boxes(boxes), [low_x, low_y, low_x, low_y], [high_x, high_y, high_x, high_y])


def reaches_out(box_xywh: Sequence[float], size: tuple[float, float]) -> bool:
    """Whether a box [x, y, width, height] reaches out of an image of (width, height), by more than sums of floats are off."""
    x, y, width, height = box_xywh
    return bool(min(x, y) < -EDGE or x + width > size[0] + EDGE or y + height > size[1] + EDGE)


def area_xyxy(boxes: ArrayLike) -> NDArray[np.float64]:
    """Area of (..., 4) xyxy boxes, shape (...); 0 for a box whose right is left of its left, or bottom above its top."""
    x1, y1, x2, y2 = np.moveaxis(_boxes(boxes), -1, 0)
    return np.asarray(np.maximum(x2 - x1, 0.0) * np.maximum(y2 - y1, 0.0))


def iou_xyxy(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of xyxy boxes, row by row: shapes (..., 4) and (..., 4) -> (...), in [0, 1].

    The shapes broadcast, so one box against many works. 0 when neither box has an area.
    """
    a, b = _boxes(a), _boxes(b)
    left_top = np.maximum(a[..., :2], b[..., :2])
    right_bottom = np.minimum(a[..., 2:], b[..., 2:])
    intersection = np.prod(np.maximum(right_bottom - left_top, 0.0), axis=-1)
    union = area_xyxy(a) + area_xyxy(b) - intersection
    # The guard only keeps 0 / 0 out: where the union is 0 the intersection is 0 as well.
    return np.asarray(np.minimum(intersection / np.where(union > 0, union, 1.0), 1.0))


def iou_matrix_xyxy(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every xyxy box of `a` (n, 4) with every one of `b` (m, 4) -> (n, m)."""
    return iou_xyxy(_boxes(a)[..., :, None, :], _boxes(b)[..., None, :, :])
