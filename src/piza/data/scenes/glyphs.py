"""Letters, arrows and pictograms for sign faces, drawn in the unit square (x right, y up)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from .palette import Rgb
from .sprite import Sprite

Put = Callable[[object], np.ndarray]


@lru_cache(maxsize=512)
def text_mask(text: str, bold: int = 3) -> np.ndarray:
    """A uint8 mask (h, w) cropped to the letters, some 60 pixels high. Zero is drawn without its slash."""
    board = np.zeros((110, 70 * len(text) + 40), np.uint8)
    face = cv2.FONT_HERSHEY_SIMPLEX if bold < 3 else cv2.FONT_HERSHEY_DUPLEX
    cv2.putText(board, text.replace("0", "O"), (15, 85), face, 2.6, 255, 2 + 2 * bold, cv2.LINE_AA)
    ys, xs = np.nonzero(board > 40)
    out = np.ascontiguousarray(board[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1])
    out.setflags(write=False)
    return out


class Field:
    """A square part of a sprite with unit coordinates, for pictograms."""

    def __init__(self, sprite: Sprite, cx: float, cy: float, size: float) -> None:
        self.sprite, self.x0, self.y0, self.size = sprite, cx - size / 2, cy - size / 2, size

    def at(self, pts: object) -> np.ndarray:
        """Points in the unit square of the field, y up, as points of the sprite in meters."""
        return np.asarray(pts, np.float64).reshape(-1, 2) * self.size + (self.x0, self.y0)

    def poly(self, pts: object, color: Rgb) -> None:
        """Fill a polygon of points in the field."""
        self.sprite.poly(self.at(pts), color)

    def line(self, pts: object, thick: float, color: Rgb) -> None:
        """Draw a line of points in the field, `thick` in its units."""
        self.sprite.line(self.at(pts), thick * self.size, color)

    def dot(self, x: float, y: float, r: float, color: Rgb) -> None:
        """Fill a disc around a point in the field."""
        (px, py) = self.at((x, y))[0]
        self.sprite.ellipse(px, py, r * self.size, r * self.size, color)

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: Rgb) -> None:
        """Fill a rectangle of the field."""
        self.poly(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), color)

    def text(self, text: str, x0: float, y0: float, x1: float, y1: float, color: Rgb, bold: int = 3) -> None:
        """Write a text into a rectangle of the field."""
        (a, b), (c, d) = self.at(((x0, y0), (x1, y1)))
        self.sprite.stamp(text_mask(text, bold), a, b, c, d, color)


def arrow(f: Field, path: list[tuple[float, float]], thick: float, color: Rgb, head: float = 0.17) -> None:
    """A bent line with an arrow head at its end."""
    p = np.asarray(path, np.float64)
    d = p[-1] - p[-2]
    d /= np.hypot(*d)
    n = np.array((-d[1], d[0]))
    base = p[-1] - d * head
    f.line(np.concatenate([p[:-1], [base + d * 0.02]]), thick, color)
    f.poly([p[-1] + d * head * 0.15, base + n * head, base - n * head], color)


def _mirror(pts: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(1 - x, y) for x, y in pts]


def person(f: Field, color: Rgb, x: float = 0.5, s: float = 1.0, stride: float = 0.14) -> None:
    """A standing or walking figure."""
    f.dot(x, 0.08 + 0.78 * s, 0.09 * s, color)
    f.line([(x, 0.08 + 0.66 * s), (x, 0.08 + 0.38 * s)], 0.15 * s, color)
    f.line(
        [(x, 0.08 + 0.40 * s), (x - stride * s, 0.08 + 0.18 * s), (x - stride * 1.3 * s, 0.08)],
        0.08 * s,
        color,
    )
    f.line(
        [(x, 0.08 + 0.40 * s), (x + stride * s, 0.08 + 0.20 * s), (x + stride * 1.1 * s, 0.08)],
        0.08 * s,
        color,
    )
    f.line(
        [(x - 0.2 * s, 0.08 + 0.42 * s), (x, 0.08 + 0.64 * s), (x + 0.2 * s, 0.08 + 0.46 * s)],
        0.06 * s,
        color,
    )


def car_front(f: Field, color: Rgb, x: float, y: float, w: float) -> None:
    """A car from the front."""
    f.poly([(x - 0.34 * w, y + 0.75 * w), (x + 0.34 * w, y + 0.75 * w), (x + 0.46 * w, y + 0.4 * w),
            (x + 0.5 * w, y + 0.12 * w), (x - 0.5 * w, y + 0.12 * w), (x - 0.46 * w, y + 0.4 * w)], color)  # fmt: skip
    for side in (-1, 1):
        f.rect(x + side * 0.4 * w - 0.1 * w, y, x + side * 0.4 * w + 0.1 * w, y + 0.2 * w, color)


def truck_side(f: Field, color: Rgb, x: float, y: float, w: float, toward_right: bool = False) -> None:
    """A truck from the side."""

    def px(t: float) -> float:
        return x + (t if toward_right else -t) * w

    for a, b, h in ((-0.5, 0.12, 0.56), (0.16, 0.5, 0.42)):
        f.rect(min(px(a), px(b)), y + 0.12 * w, max(px(a), px(b)), y + h * w, color)
    for t in (-0.32, 0.3):
        f.dot(px(t), y + 0.1 * w, 0.1 * w, color)


def bicycle(f: Field, color: Rgb, thick: float = 0.05) -> None:
    """A bicycle from the side."""
    for cx in (0.24, 0.76):
        a = np.radians(np.linspace(0, 360, 20))
        f.line(np.stack([cx + 0.19 * np.cos(a), 0.3 + 0.19 * np.sin(a)], 1), thick, color)
    f.line([(0.24, 0.3), (0.38, 0.6), (0.68, 0.6), (0.76, 0.3)], thick, color)
    f.line([(0.24, 0.3), (0.48, 0.3), (0.68, 0.6), (0.66, 0.7), (0.76, 0.72)], thick, color)
    f.line([(0.48, 0.3), (0.36, 0.68), (0.28, 0.68), (0.44, 0.68)], thick, color)


def snowflake(f: Field, color: Rgb) -> None:
    """A snowflake."""
    for k in range(3):
        a = np.pi / 6 + k * np.pi / 3
        c, s = 0.4 * np.cos(a), 0.4 * np.sin(a)
        f.line([(0.5 - c, 0.45 - s), (0.5 + c, 0.45 + s)], 0.07, color)
        for sign in (-1, 1):
            bx, by = 0.5 + sign * c * 0.6, 0.45 + sign * s * 0.6
            for turn in (-0.6, 0.6):
                d = a + turn
                f.line([(bx, by), (bx + sign * 0.16 * np.cos(d), by + sign * 0.16 * np.sin(d))], 0.05, color)


def warning(f: Field, kind: str, ink: Rgb) -> None:
    """The picture inside a warning triangle or diamond."""
    flip = kind.endswith("_left")
    turn = _mirror if flip else list
    if kind == "danger":
        f.poly([(0.42, 0.86), (0.58, 0.86), (0.55, 0.34), (0.45, 0.34)], ink)
        f.dot(0.5, 0.18, 0.09, ink)
    elif kind.startswith("bend"):
        arrow(f, turn([(0.38, 0.05), (0.38, 0.45), (0.46, 0.6), (0.82, 0.68)]), 0.13, ink, 0.2)
    elif kind == "double_bend":
        arrow(f, [(0.58, 0.02), (0.62, 0.28), (0.38, 0.46), (0.5, 0.66), (0.46, 0.98)], 0.13, ink, 0.18)
    elif kind == "works":
        f.dot(0.50, 0.78, 0.1, ink)
        f.line([(0.46, 0.64), (0.36, 0.36)], 0.17, ink)
        f.line([(0.36, 0.36), (0.22, 0.06)], 0.09, ink)
        f.line([(0.38, 0.36), (0.48, 0.06)], 0.09, ink)
        f.line([(0.44, 0.6), (0.64, 0.44), (0.74, 0.2)], 0.07, ink)
        f.poly([(0.66, 0.02), (1.0, 0.02), (0.84, 0.24)], ink)
    elif kind == "children":
        person(f, ink, 0.68, 0.95, 0.17)
        person(f, ink, 0.26, 0.62, 0.17)
    elif kind == "pedestrian":
        person(f, ink, 0.5, 1.0, 0.2)
        for x in (0.1, 0.34, 0.58, 0.82):
            f.rect(x, 0.0, x + 0.1, 0.05, ink)
    elif kind == "snow":
        snowflake(f, ink)
    elif kind == "priority_crossing":
        arrow(f, [(0.5, 0.02), (0.5, 0.98)], 0.17, ink, 0.22)
        f.line([(0.14, 0.38), (0.86, 0.38)], 0.08, ink)
    elif kind == "bumps":
        a = np.radians(np.linspace(0, 180, 9))
        for cx in (0.3, 0.7):
            f.poly(np.stack([cx + 0.2 * np.cos(a), 0.2 + 0.24 * np.sin(a)], 1), ink)
        f.rect(0.02, 0.12, 0.98, 0.22, ink)
    elif kind == "signals":
        f.rect(0.34, 0.04, 0.66, 0.86, ink)
        for y, c in ((0.72, (225, 40, 35)), (0.45, (250, 200, 40)), (0.18, (40, 180, 90))):
            f.dot(0.5, y, 0.11, c)
    elif kind == "slippery":
        car_front(f, ink, 0.5, 0.46, 0.46)
        for x in (0.36, 0.64):
            f.line([(x, 0.4), (x - 0.1, 0.28), (x + 0.1, 0.16), (x, 0.02)], 0.06, ink)
    elif kind == "cyclists":
        bicycle(f, ink, 0.06)
    elif kind == "narrowing":
        f.line([(0.28, 0.05), (0.28, 0.35), (0.42, 0.6), (0.42, 0.9)], 0.09, ink)
        f.line([(0.72, 0.05), (0.72, 0.35), (0.58, 0.6), (0.58, 0.9)], 0.09, ink)
    elif kind == "deer":
        f.poly(
            [
                (0.12, 0.5),
                (0.3, 0.62),
                (0.62, 0.66),
                (0.76, 0.84),
                (0.9, 0.8),
                (0.78, 0.56),
                (0.64, 0.42),
                (0.26, 0.4),
            ],
            ink,
        )
        for hip, hoof in (
            ((0.2, 0.46), (0.02, 0.2)),
            ((0.28, 0.44), (0.16, 0.12)),
            ((0.6, 0.46), (0.84, 0.34)),
            ((0.56, 0.46), (0.72, 0.2)),
        ):
            f.line([hip, hoof], 0.06, ink)
        f.line([(0.78, 0.82), (0.68, 1.0)], 0.04, ink)
    elif kind == "two_way":
        arrow(f, [(0.34, 0.95), (0.34, 0.05)], 0.1, ink, 0.17)
        arrow(f, [(0.66, 0.05), (0.66, 0.95)], 0.1, ink, 0.17)
    else:
        raise KeyError(kind)


def mandatory(f: Field, kind: str, ink: Rgb) -> None:
    """The white arrows of a blue round sign."""
    turn = _mirror if kind.endswith("_left") else list
    if kind == "straight":
        arrow(f, [(0.5, 0.08), (0.5, 0.94)], 0.15, ink, 0.22)
    elif kind.startswith("turn"):
        arrow(f, turn([(0.36, 0.1), (0.36, 0.56), (0.44, 0.64), (0.92, 0.64)]), 0.15, ink, 0.22)
    elif kind.startswith("keep"):
        arrow(f, turn([(0.18, 0.82), (0.84, 0.18)]), 0.16, ink, 0.24)
    elif kind.startswith("ahead_or"):
        arrow(f, turn([(0.4, 0.06), (0.4, 0.98)]), 0.13, ink, 0.19)
        arrow(f, turn([(0.4, 0.24), (0.42, 0.42), (0.94, 0.44)]), 0.13, ink, 0.19)
    elif kind == "roundabout":
        for k in range(3):
            a0 = np.radians(95 - 120 * k)
            a = a0 - np.radians(np.linspace(0, 75, 6))
            pts = [(0.5 + 0.34 * np.cos(t), 0.5 + 0.34 * np.sin(t)) for t in a]
            end = a0 - np.radians(108)
            pts.append((0.5 + 0.34 * np.cos(end), 0.5 + 0.34 * np.sin(end)))
            arrow(f, pts, 0.11, ink, 0.17)
    elif kind == "cycle_path":
        bicycle(f, ink, 0.06)
    elif kind == "foot_path":
        person(f, ink, 0.5, 1.0, 0.12)
    else:
        raise KeyError(kind)
