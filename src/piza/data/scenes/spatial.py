"""How surely one object of a scene stands in a spatial relation to another, from boxes and distances.

Values are those of `meaning`: 1 where a reader surely agrees, 0 where surely not, 0.5 in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .objects import SceneObject

_ON_THE_GROUND = (
    "car",
    "van",
    "truck",
    "bus",
    "vehicle",
    "person",
    "bicycle",
    "motorcycle",
    "cyclist",
    "motorcyclist",
)


@dataclass(frozen=True)
class _Pairs:
    """Measures of every pair of boxes, (n, n) in pixels of the frame: of object i as seen from object j.

    dx, dy: between the centers. gap_x, gap_y: between the boxes, negative where they overlap. longer: the longest side of
    both. narrower, taller: the smaller width and the larger height of both. area: (n,) of each box.
    """

    box: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    gap_x: np.ndarray
    gap_y: np.ndarray
    longer: np.ndarray
    narrower: np.ndarray
    taller: np.ndarray
    area: np.ndarray

    @classmethod
    def of(cls, b: np.ndarray) -> _Pairs:
        """Boxes (n, 4) xyxy, in pixels of the frame."""
        cx, cy = (b[:, 0] + b[:, 2]) / 2, (b[:, 1] + b[:, 3]) / 2
        w, h = b[:, 2] - b[:, 0], b[:, 3] - b[:, 1]
        longest = np.maximum(w, h)
        return cls(
            box=b,
            dx=cx[:, None] - cx[None],
            dy=cy[:, None] - cy[None],
            gap_x=np.maximum(b[:, None, 0], b[None, :, 0]) - np.minimum(b[:, None, 2], b[None, :, 2]),
            gap_y=np.maximum(b[:, None, 1], b[None, :, 1]) - np.minimum(b[:, None, 3], b[None, :, 3]),
            longer=np.maximum(longest[:, None], longest[None]),
            narrower=np.minimum(w[:, None], w[None]),
            taller=np.maximum(h[:, None], h[None]),
            area=w * h,
        )

    def values(self, yes: np.ndarray, maybe: np.ndarray) -> np.ndarray:
        """1 where `yes`, else 0.5 where `maybe`, else 0; of an object and itself always 0."""
        other = ~np.eye(len(self.box), dtype=bool)
        return np.where(yes & other, 1.0, np.where(maybe & other, 0.5, 0.0))


def spatial_relations(objects: list[SceneObject], width: int, rough: bool) -> dict[str, np.ndarray]:
    """For each relation (n, n) values: how surely object i stands in it to object j.

    Args:
        objects: of one scene.
        width: of the frame, in pixels.
        rough: boxes and distances are estimates, see `meaning.Facts`.
    """
    n = len(objects)
    pairs = _Pairs.of(np.array([o.box_xyxy for o in objects], np.float64).reshape(n, 4))
    depth = np.array([o.depth for o in objects])
    pole = np.array([o.pole for o in objects])
    ratio = depth[:, None] / depth[None]
    same_pole = (pole[:, None] == pole[None]) & (pole[:, None] >= 0)
    ground = np.isin(np.array([o.category for o in objects]), _ON_THE_GROUND)
    on_ground = ground[:, None] & ground[None]
    visible = np.array([o.visible for o in objects])
    return {
        **_sideways(pairs),
        **_vertical(pairs, same_pole, width),
        **_near(pairs, ratio, width),
        **_in_depth(pairs, ratio, same_pole, on_ground, visible, rough),
    }


def _sideways(p: _Pairs) -> dict[str, np.ndarray]:
    """Left and right, and "flank", used for "between", where the nearest is meant."""
    dx, gap_x, m = p.dx, p.gap_x, p.longer
    level = np.abs(p.dy) < 0.9 * p.taller
    beside = (gap_x > -0.15 * p.narrower) & level
    left, right = dx < 0.0, dx > 0.0
    slack = 0.25 * m
    close = level & (gap_x < 1.6 * m)
    fuzzy = (np.abs(p.dy) < 2.2 * p.taller) & (gap_x < 4.0 * m)
    lateral, wide = beside & (gap_x < 8 * m), gap_x < 16 * m
    return {
        "left": p.values(left & beside & (gap_x < 6 * m), dx < slack),
        "right": p.values(right & beside & (gap_x < 6 * m), dx > -slack),
        "just left": p.values(left & beside & close, (dx < slack) & fuzzy),
        "just right": p.values(right & beside & close, (dx > -slack) & fuzzy),
        "flank left": p.values(left & lateral, left & wide),
        "flank right": p.values(right & lateral, right & wide),
    }


def _vertical(p: _Pairs, same_pole: np.ndarray, width: int) -> dict[str, np.ndarray]:
    """Above and below; "mounted" is the very next on the same pole."""
    dx, dy, gap_y, m = p.dx, p.dy, p.gap_y, p.longer
    over = p.gap_x < -0.3 * p.narrower
    near = over & (gap_y > -0.1 * p.taller) & (gap_y < 5 * m)
    about = np.abs(dx) < 0.14 * width + m
    mounted = same_pole & (gap_y < 0.6 * m)
    stacked = (np.abs(dx) < 0.8 * m) & (gap_y < 1.5 * m)
    return {
        "above": p.values((dy < 0) & near, (dy < 0) & about),
        "below": p.values((dy > 0) & near, (dy > 0) & about),
        "mounted above": p.values((dy < 0) & mounted, (dy < 0) & stacked),
        "mounted below": p.values((dy > 0) & mounted, (dy > 0) & stacked),
    }


def _near(p: _Pairs, ratio: np.ndarray, width: int) -> dict[str, np.ndarray]:
    distance = np.hypot(np.maximum(p.gap_x, 0), np.maximum(p.gap_y, 0))
    similar = (ratio < 1.5) & (ratio > 0.67)
    m = p.longer
    return {"near": p.values((distance < 1.2 * m) & similar & (distance < 0.12 * width), distance < 3.2 * m)}


def _in_depth(
    p: _Pairs,
    ratio: np.ndarray,
    same_pole: np.ndarray,
    on_ground: np.ndarray,
    visible: np.ndarray,
    rough: bool,
) -> dict[str, np.ndarray]:
    """In front of, behind and hidden by. ratio: (n, n) of the distances from the camera. on_ground: both are."""
    gap_x, gap_y, m = p.gap_x, p.gap_y, p.longer
    touching = (gap_x < 0) & (gap_y < 0.5 * m) & ~same_pole
    # What stands on the ground and is nearer reaches farther down; else one of the distances is not to be trusted.
    drop = p.box[:, None, 3] - p.box[None, :, 3]
    lower, higher = (drop > 0.02 * m) | ~on_ground, (drop < -0.02 * m) | ~on_ground
    about = (gap_x < 1.5 * m) & (gap_y < 3 * m)
    front = p.values(touching & (ratio < 0.93) & lower, (ratio < 1.03) & about)
    behind = p.values(touching & (ratio > 1.07) & higher, (ratio > 0.97) & about)
    if rough:
        front, behind = (np.where(on_ground, v, np.minimum(v, 0.5)) for v in (front, behind))
    covered = np.minimum(gap_x, 0) * np.minimum(gap_y, 0) / np.maximum(p.area, 1)[:, None]
    hidden = p.values(
        (behind == 1.0) & (covered > 0.12) & (visible < 0.97)[:, None],
        (gap_x < 0.2 * m) & (gap_y < 0.2 * m),
    )
    return {"in front of": front, "behind": behind, "hidden by": hidden}
