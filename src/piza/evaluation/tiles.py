"""Tiles over a frame, and one answer from what was seen in all of them. Only geometry; the model is asked in baselines.py.

A tile is a window of one fixed size; all tiles of a frame have the same size. An *inner border* of a tile is a side that
does not lie on the frame's own border: objects go on beyond it, and a box there may be of a part.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from piza.boxes import iou_xyxy
from piza.errors import InputError

MAX_TILES = 10_000
BORDER = 0.02  # a box this close to an inner border, as a share of the tile's side, is taken for cut
CUT_WEIGHT = 0.5  # of the score of a cut box among whole ones
SAME_OBJECT = 0.5  # IoU of two boxes, in what both tiles show, from which both are of one object
PART_SCORE = 0.5  # a part must have at least this share of the best part's score


class TileDetections(NamedTuple):
    """The detections of all tiles: boxes (n, 4) xyxy in frame pixels, scores (n,) in [0, 1], tile (n,): its index,
    cut (n,) bool: whether the box ends at an inner border of its tile."""

    boxes: NDArray[Any]
    scores: NDArray[Any]
    tile: NDArray[Any]
    cut: NDArray[Any]


def tile_windows(frame_size: tuple[int, int], tile: int, overlap: float) -> NDArray[np.float64]:
    """Square tiles that cover a frame: (n, 4) xyxy in frame pixels, whole numbers, row by row.

    frame_size is (width, height); `tile` the side in pixels; `overlap` the share of a side two neighbors have in common,
    rounded down to pixels. The last tile of a row and of a column is moved back inside the frame and so overlaps more; a
    side longer than the frame's is cut to it. These are the slices of SAHI (Akyon et al. 2022), `get_slice_bboxes`.

    Raises InputError for a tile below 1 pixel, an overlap outside [0, 1), and for more than `MAX_TILES` tiles.
    """
    if tile < 1:
        raise InputError(f"a tile must have a side of at least 1 pixel, got {tile}")
    if not 0 <= overlap < 1:
        raise InputError(f"the overlap of tiles must be at least 0 and below 1, got {overlap:g}")
    step = tile - int(overlap * tile + 1e-9)  # 0.29 * 100 is 28.999...
    width, height = frame_size
    across, down = (1 + max(0, -(-(side - tile) // step)) for side in frame_size)
    if across * down > MAX_TILES:
        raise InputError(
            f"tiles of {tile} pixels with an overlap of {overlap:g} are {across * down} on an image of"
            f" {width} x {height}; expected at most {MAX_TILES}"
        )
    left, top = (
        np.maximum(np.minimum(np.arange(count) * step, side - tile), 0)
        for count, side in ((across, width), (down, height))
    )
    y, x = (grid.ravel() for grid in np.meshgrid(top, left, indexing="ij"))
    return np.stack([x, y, x + min(tile, width), y + min(tile, height)], axis=1).astype(np.float64)


def ends_at_inner_border(
    boxes: NDArray[Any], window: NDArray[Any], frame_size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which of the boxes (n, 4) seen in a tile may be of a part of an object: (n,) bool. All xyxy in frame pixels."""
    near = BORDER * np.tile(window[2:] - window[:2], 2)
    inner = np.array([window[0] > 0, window[1] > 0, window[2] < frame_size[0], window[3] < frame_size[1]])
    cut: NDArray[np.bool_] = ((np.abs(boxes - window) <= near) & inner).any(axis=1)
    return cut


def best_single(seen: TileDetections, windows: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The box with the best score and its index in `seen`. A cut box counts half: if the object is no larger than the
    overlap, another tile shows it whole; if it is larger, half its score may still be the best there is."""
    best = int(np.argmax(np.where(seen.cut, CUT_WEIGHT * seen.scores, seen.scores)))
    return seen.boxes[best], best


def best_merged(seen: TileDetections, windows: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The box with the best score, made whole, and its index in `seen`; windows are the tiles (m, 4).

    A best box that is cut is united with the boxes of other tiles that agree with it (IoU of `SAME_OBJECT`) in what both
    tiles show, and whose score is at least `PART_SCORE` of its own. SAHI unites by the intersection over the smaller box, which parts of
    an object longer than the overlap do not reach, and unites whole views as well, which only loosens them.
    """
    best = int(np.argmax(seen.scores))
    box, own = seen.boxes[best], windows[seen.tile[best]]
    if not seen.cut[best]:
        return box, best
    others = windows[seen.tile]
    low, high = np.maximum(others[:, :2], own[:2]), np.minimum(others[:, 2:], own[2:])  # what both show
    high = np.maximum(low, high)
    mine, theirs = (
        np.concatenate([np.clip(boxes[..., :2], low, high), np.clip(boxes[..., 2:], low, high)], axis=1)
        for boxes in (box, seen.boxes)
    )
    parts = (iou_xyxy(mine, theirs) >= SAME_OBJECT) & (seen.scores >= PART_SCORE * seen.scores[best])
    parts &= seen.tile != seen.tile[best]
    parts[best] = True
    return np.concatenate([seen.boxes[parts, :2].min(0), seen.boxes[parts, 2:].max(0)]), best
