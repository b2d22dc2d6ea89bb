"""People standing and walking, riders on bicycles and motorcycles, and dogs."""

from __future__ import annotations

from typing import Any

import numpy as np

from .palette import Rgb, darker, lighter
from .sprite import Sprite, Style
from .vehicles import draw_bicycle, draw_motorcycle

Look = dict[str, Any]  # paints and choices by name, see draw_person

SKINS: tuple[Rgb, ...] = ((240, 205, 178), (222, 180, 148), (190, 140, 105), (140, 95, 66), (95, 62, 44))
HAIRS: tuple[Rgb, ...] = ((30, 24, 20), (75, 48, 30), (130, 90, 50), (205, 170, 105), (150, 150, 152))


def draw_person(s: Sprite, look: Look, style: Style, rng: np.random.Generator, tall: float) -> None:
    """A person `tall` meters high, in the middle of the board.

    `look` holds the paints "top", "bottom", "skin", "hair", optionally "hat" or "helmet", "bag", "umbrella", and
    "pose" ("standing", "walking"), "lower" ("trousers", "shorts", "skirt"), "bag_kind" ("backpack", "bag").
    """
    figure = _Figure(s, look, rng, tall)
    if look.get("bag_kind") == "backpack" and figure.walking:
        x = figure.cx
        left, right = (-0.34, -0.1) if figure.way > 0 else (0.1, 0.34)
        s.rounded(
            x + left * figure.k, 0.98 * figure.k, x + right * figure.k, 1.40 * figure.k, 0.06, look["bag"]
        )
    _draw_legs(s, look, figure)
    _draw_trunk(s, look, figure)
    _draw_bag(s, look, figure)
    _draw_head(s, look, figure, rng)


class _Figure:
    """The measures of one person, in meters of the board.

    k: size, 1 for 1.75 meters. way: 1 to the right, -1 to the left. cx, hip, neck: where these are.
    """

    def __init__(self, s: Sprite, look: Look, rng: np.random.Generator, tall: float) -> None:
        k = self.k = tall / 1.75
        self.cx = s.width / 2
        self.walking = look.get("pose") == "walking"
        self.way = 1 if rng.random() < 0.5 else -1
        self.broad = rng.uniform(0.9, 1.12) * k
        self.hip, self.neck = 0.86 * k, 1.45 * k
        self.shoe: Rgb = (35, 32, 32) if rng.random() < 0.7 else (225, 225, 225)
        self.step = (rng.uniform(0.17, 0.27) if self.walking else rng.uniform(0.05, 0.1)) * k
        self.swing = (0.2 if self.walking else 0.05) * k


def _draw_legs(s: Sprite, look: Look, figure: _Figure) -> None:
    k, cx, way, broad, hip = figure.k, figure.cx, figure.way, figure.broad, figure.hip
    bottom, skin, lower = look["bottom"], look["skin"], look.get("lower")
    leg = 0.15 * broad
    for side in (-1, 1):
        foot = (cx + side * figure.step * way, 0.04 * k)
        knee = (cx + side * figure.step * 0.55 * way + (0.05 * way * k if figure.walking else 0), 0.44 * k)
        root = (cx + side * 0.08 * broad, hip)
        if lower == "trousers":
            s.line([root, knee, foot], leg, darker(bottom, 0.12) if side < 0 else bottom)
        else:
            s.line([root, knee, foot], leg * 0.75, skin)
            if lower == "shorts":
                s.line([root, knee], leg * 1.15, bottom)
        s.line([foot, (foot[0] + 0.11 * way * k, 0.04 * k)], 0.09 * k, figure.shoe)
    if lower == "skirt":
        waist, hem = hip + 0.1 * k, 0.45 * k
        right, wide = 0.17 * broad, 0.26 * broad
        s.poly([(cx - right, waist), (cx + right, waist), (cx + wide, hem), (cx - wide, hem)], bottom)


def _draw_trunk(s: Sprite, look: Look, figure: _Figure) -> None:
    """One arm behind, the trunk, one arm before it, and hands."""
    k, cx, broad, swing, hip, neck = figure.k, figure.cx, figure.broad, figure.swing, figure.hip, figure.neck
    top = look["top"]
    hem = hip - (0.14 * k if look.get("coat") else 0.0)
    behind = [
        (cx - 0.2 * broad, neck - 0.07 * k),
        (cx - 0.27 * broad - swing * 0.4, 1.12 * k),
        (cx - 0.24 * broad - swing, 0.88 * k),
    ]
    s.line(behind, 0.11 * k, darker(top, 0.2))
    s.poly([(cx - 0.17 * broad, hem), (cx + 0.17 * broad, hem), (cx + 0.19 * broad, 1.15 * k), (cx + 0.25 * broad, neck - 0.06 * k), (cx + 0.15 * broad, neck),
            (cx - 0.15 * broad, neck), (cx - 0.25 * broad, neck - 0.06 * k), (cx - 0.19 * broad, 1.15 * k)], top)  # fmt: skip
    before = [
        (cx + 0.2 * broad, neck - 0.07 * k),
        (cx + 0.27 * broad + swing * 0.3, 1.12 * k),
        (cx + 0.22 * broad + swing, 0.88 * k),
    ]
    s.line(before, 0.11 * k, darker(top, 0.12))
    for sx in (-0.24 * broad - swing, 0.22 * broad + swing):
        s.ellipse(cx + sx, 0.85 * k, 0.05 * k, 0.05 * k, look["skin"])
    if look.get("stripe"):
        s.rect(cx - 0.18 * broad, 1.1 * k, cx + 0.18 * broad, 1.17 * k, (235, 235, 225))


def _draw_bag(s: Sprite, look: Look, figure: _Figure) -> None:
    """A backpack seen from behind, or a bag in a hand."""
    k, cx = figure.k, figure.cx
    if look.get("bag") is None:
        return
    if look.get("bag_kind") == "backpack" and not figure.walking:
        s.rounded(cx - 0.18 * k, 1.0 * k, cx + 0.18 * k, 1.42 * k, 0.06, look["bag"])
    elif look.get("bag_kind") == "bag":
        x = cx + figure.way * (0.30 * k + figure.swing)
        s.rounded(x - 0.15 * k, 0.48 * k, x + 0.15 * k, 0.80 * k, 0.04, look["bag"])


def _draw_head(s: Sprite, look: Look, figure: _Figure, rng: np.random.Generator) -> None:
    """The head with what is on it and over it."""
    k, cx, way, neck = figure.k, figure.cx, figure.way, figure.neck
    skin, hair = look["skin"], look["hair"]
    head = 0.125 * k * rng.uniform(0.95, 1.1)
    hy = neck + 0.16 * k
    s.rect(cx - 0.05 * k, neck - 0.02 * k, cx + 0.05 * k, neck + 0.08 * k, skin)
    if look.get("long_hair"):
        s.rounded(cx - head * 1.15, neck - 0.1 * k, cx + head * 1.15, hy + head * 1.1, head, hair)
    faces_away = look.get("bag_kind") == "backpack" and not figure.walking
    s.ellipse(cx, hy, head, head * 1.2, hair)
    if not faces_away:
        s.ellipse(cx + 0.01 * way, hy - head * 0.25, head * 0.86, head * 0.95, skin)
    hat = look.get("hat")
    if hat is not None:
        s.ellipse(cx, hy + head * 0.55, head * 1.15, head * 0.75, hat)
        brim = [(cx - head * 1.1, hy + head * 0.4), (cx + head * (1.5 if way > 0 else 1.1), hy + head * 0.4)]
        s.line(brim, head * 0.35, hat)
    umbrella = look.get("umbrella")
    if umbrella is not None:
        y = hy + 0.18 * k
        s.line([(cx + 0.16 * k, 1.05 * k), (cx + 0.16 * k, y + 0.3 * k)], 0.03, (50, 50, 50))
        a = np.radians(np.linspace(0, 180, 13))
        s.poly(np.stack([cx + 0.1 * k + 0.58 * k * np.cos(a), y + 0.34 * k * np.sin(a)], 1), umbrella)
        s.line([(cx + 0.1 * k, y), (cx + 0.1 * k, y + 0.33 * k)], 0.03, darker(umbrella, 0.3))


def draw_cyclist(s: Sprite, look: Look, paint: Rgb, side: bool, rng: np.random.Generator) -> None:
    """A rider on a bicycle; the board is about 1.75 (side) or 0.65 meters wide and 1.8 high."""
    draw_bicycle(s, paint, side, rng)
    top, bottom, skin = look["top"], look["bottom"], look["skin"]
    if side:
        x = 0.37 * s.width
        s.line([(x, 0.92), (x + 0.34, 0.72), (x + 0.18, 0.26)], 0.15, bottom)
        s.poly([(x - 0.16, 0.86), (x + 0.16, 0.86), (x + 0.48, 1.36), (x + 0.24, 1.48)], top)
        s.line([(x + 0.36, 1.36), (x + 0.50, 1.1), (0.72 * s.width, 1.06)], 0.1, darker(top, 0.15))
        hx, hy = x + 0.44, 1.60
    else:
        x = s.width / 2
        for d in (-0.12, 0.12):
            s.line([(x + d, 0.9), (x + d * 1.2, 0.55), (x + d, 0.25)], 0.14, bottom)
        s.poly([(x - 0.2, 0.86), (x + 0.2, 0.86), (x + 0.25, 1.38), (x - 0.25, 1.38)], top)
        s.line([(x - 0.22, 1.34), (x - 0.28, 1.02)], 0.1, darker(top, 0.15))
        s.line([(x + 0.22, 1.34), (x + 0.28, 1.02)], 0.1, darker(top, 0.15))
        hx, hy = x, 1.56
    s.ellipse(hx, hy, 0.12, 0.15, skin)
    s.ellipse(hx - 0.02, hy + 0.07, 0.14, 0.10, look.get("hat") or look["hair"])


def draw_rider(s: Sprite, look: Look, paint: Rgb, view: str, rng: np.random.Generator) -> None:
    """A rider on a motorcycle; the board is 2.1 (side) or 0.85 meters wide and 1.7 high."""
    draw_motorcycle(s, paint, view == "side", view == "rear", rng)
    top, bottom, helmet = look["top"], look["bottom"], look["hat"]
    if view == "side":
        s.line([(0.72, 0.88), (1.12, 0.74), (0.98, 0.34)], 0.17, bottom)
        s.poly([(0.56, 0.84), (0.86, 0.84), (1.16, 1.28), (0.90, 1.42)], top)
        s.line([(1.06, 1.28), (1.2, 1.06), (1.34, 1.12)], 0.11, darker(top, 0.15))
        s.ellipse(1.10, 1.53, 0.16, 0.16, helmet)
        s.ellipse(1.18, 1.52, 0.08, 0.07, (35, 38, 44))
        return
    x = s.width / 2
    for d in (-0.2, 0.2):
        s.line([(x + d * 0.6, 0.86), (x + d * 1.2, 0.6), (x + d, 0.3)], 0.15, bottom)
    s.poly([(x - 0.2, 0.82), (x + 0.2, 0.82), (x + 0.28, 1.34), (x - 0.28, 1.34)], top)
    for d in (-1, 1):
        s.line([(x + d * 0.25, 1.3), (x + d * 0.36, 1.05)], 0.11, darker(top, 0.15))
    s.ellipse(x, 1.53, 0.16, 0.16, helmet)
    if view == "front":
        s.rect(x - 0.11, 1.48, x + 0.11, 1.56, (35, 38, 44))


def draw_dog(s: Sprite, paint: Rgb, rng: np.random.Generator) -> None:
    """A dog from the side on a board of 0.95 x 0.65 meters."""
    for x in (0.2, 0.28, 0.58, 0.66):
        s.line([(x, 0.32), (x + rng.uniform(-0.05, 0.05), 0.02)], 0.07, darker(paint, 0.15))
    s.rounded(0.14, 0.27, 0.72, 0.49, 0.1, paint)
    s.line([(0.16, 0.44), (0.04, 0.62)], 0.05, paint)
    s.poly([(0.62, 0.40), (0.70, 0.46), (0.76, 0.64), (0.64, 0.56)], paint)
    s.ellipse(0.77, 0.55, 0.09, 0.085, paint)
    s.line([(0.78, 0.53), (0.91, 0.50)], 0.08, lighter(paint, 0.1))
    s.poly([(0.70, 0.60), (0.74, 0.52), (0.67, 0.50)], darker(paint, 0.3))
