"""Where one box lies, seen from another: clauses that are true of it, and of which other boxes they are, too.

A clause is "to the left of", and whether it holds of a box is True, False or None where people would not agree. Boxes are x1, y1,
x2, y2 in units of the photo's width.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

Box: TypeAlias = tuple[float, float, float, float]
Truth: TypeAlias = bool | None
Clause: TypeAlias = tuple[str, Callable[[Box], Truth]]


def center(box: Box) -> tuple[float, float]:
    """The center of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def side(box: Box) -> float:
    """The longer side of a box."""
    return max(box[2] - box[0], box[3] - box[1])


def shared(one: Box, other: Box) -> float:
    """The area that two boxes share, over that of the smaller one."""
    width, height = (
        min(one[2], other[2]) - max(one[0], other[0]),
        min(one[3], other[3]) - max(one[1], other[1]),
    )
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(width, 0.0) * max(height, 0.0) / max(smaller, 1e-12)


def gap(box: Box, anchor: Box, axis: int) -> float:
    """How far apart two boxes are along an axis, below 0 where they overlap."""
    return max(box[axis] - anchor[2 + axis], anchor[axis] - box[2 + axis])


def in_frame(box: Box, height: float, rng: np.random.Generator) -> Clause | None:
    """Near an edge of a photo that is so high."""
    axis = int(rng.integers(2))
    extent = (1.0, height)[axis]
    at = center(box)[axis] / extent
    if 0.25 < at < 0.75:
        return None
    low = at < 0.5
    words = (
        ("on the left", "on the far left", "on the left side", "near the left edge"),
        ("at the top", "near the top of the picture", "high up", "at the top edge"),
    )[axis]
    clause = str(rng.choice(words if min(at, 1 - at) < 0.12 else words[:1]))
    if not low:
        for old, new in (("left", "right"), ("the top", "the bottom"), ("high up", "low down")):
            clause = clause.replace(old, new)
    own = at if low else 1 - at

    def holds(other: Box) -> Truth:
        where = center(other)[axis] / extent
        where = where if low else 1 - where
        return True if where < own + 0.08 else False if where > own + 0.25 else None

    return clause, holds


def beside(own: Box, anchor: Box, rng: np.random.Generator) -> Clause:
    """To the left or the right of another box."""
    sign = 1 if center(own)[0] > center(anchor)[0] else -1
    name = "right" if sign > 0 else "left"
    ways = [f"to the {name} of", f"{name} of", f"on the {name} of", f"just {name} of", f"directly {name} of"]
    unit = max(side(own), side(anchor))

    def holds(box: Box) -> Truth:
        across, along = sign * (center(box)[0] - center(anchor)[0]), abs(center(box)[1] - center(anchor)[1])
        if across < 0.2 * unit or across > 9 * unit or along > 2.5 * max(across, unit):
            return False
        clear = gap(box, anchor, 0) > -0.2 * unit and along < 0.7 * across and across < 5 * unit
        return True if clear else None

    return str(rng.choice(ways)), holds


def near(own: Box, anchor: Box, rng: np.random.Generator) -> Clause:
    """Next to another box, on whatever side."""
    unit = max(side(own), 0.5 * side(anchor))

    def holds(box: Box) -> Truth:
        apart = max(gap(box, anchor, 0), gap(box, anchor, 1))
        return True if -0.3 * unit < apart < 0.6 * unit else False if apart > 3 * unit else None

    return str(rng.choice(["next to", "beside", "close to", "near", "by"])), holds


def above(own: Box, anchor: Box, rng: np.random.Generator) -> Clause:
    """Above or below another box."""
    sign = 1 if center(own)[1] > center(anchor)[1] else -1
    unit = max(side(own), side(anchor))

    def holds(box: Box) -> Truth:
        along, across = sign * (center(box)[1] - center(anchor)[1]), abs(center(box)[0] - center(anchor)[0])
        if along < 0.1 * unit or along > 8 * unit or across > 2.5 * max(along, unit):
            return False
        return True if gap(box, anchor, 1) > -0.1 * unit and across < 0.6 * along + 0.1 * unit else None

    return str(
        rng.choice(["below", "under", "beneath"] if sign > 0 else ["above", "over", "right above"])
    ), holds


def in_depth(own: Box, anchor: Box, rng: np.random.Generator) -> Clause:
    """In front of or behind another thing that stands on the ground: one above the other, and near."""
    sign = 1 if own[3] > anchor[3] else -1
    unit = side(anchor)

    def holds(box: Box) -> Truth:
        lower, apart = sign * (box[3] - anchor[3]), gap(box, anchor, 0)
        if apart > 0.7 * unit or lower < -0.15 * unit:
            return False
        return True if 0.1 * unit < lower < 1.5 * unit and apart < -0.2 * min(side(box), unit) else None

    return "in front of" if sign > 0 else str(rng.choice(["behind", "right behind"])), holds


def on(anchor: Box, is_part: bool, rng: np.random.Generator) -> Clause:
    """Within another box: a part of a thing, or fixed to it."""

    def holds(box: Box) -> Truth:
        share = shared(box, anchor) if side(box) < side(anchor) else 0.1
        return True if share > 0.9 else False if share <= 0 else None

    return str(rng.choice(["of", "on"] if is_part else ["on", "in", "in front of"])), holds


def between(own: Box, low: Box, high: Box) -> Callable[[Box], Truth]:
    """Whether a box is on the line between two others, the first of which is to the left of the second."""
    (x1, y1), (x2, y2) = center(low), center(high)
    unit = max(side(own), 0.02)

    def holds(box: Box) -> Truth:
        x, y = center(box)
        if not x1 < x < x2:
            return False
        off = abs(y - (y1 + (y2 - y1) * (x - x1) / (x2 - x1)))
        return True if off < 1.5 * unit else False if off > 6 * unit else None

    return holds
