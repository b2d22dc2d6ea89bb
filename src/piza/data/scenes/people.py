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
    k = tall / 1.75
    cx = s.width / 2
    top, bottom, skin, hair = look["top"], look["bottom"], look["skin"], look["hair"]
    walking = look.get("pose") == "walking"
    way = 1 if rng.random() < 0.5 else -1
    broad = rng.uniform(0.9, 1.12) * k
    hip, neck = 0.86 * k, 1.45 * k
    shoe: Rgb = (35, 32, 32) if rng.random() < 0.7 else (225, 225, 225)
    step = (rng.uniform(0.17, 0.27) if walking else rng.uniform(0.05, 0.1)) * k
    leg = 0.15 * broad
    if look.get("bag_kind") == "backpack" and walking:
        s.rounded(
            cx - way * 0.34 * k if way > 0 else cx + 0.1 * k,
            0.98 * k,
            cx - 0.1 * k if way > 0 else cx + 0.34 * k,
            1.40 * k,
            0.06,
            look["bag"],
        )
    for side in (-1, 1):
        foot = (cx + side * step * way, 0.04 * k)
        knee = (cx + side * step * 0.55 * way + (0.05 * way * k if walking else 0), 0.44 * k)
        root = (cx + side * 0.08 * broad, hip)
        if look.get("lower") == "trousers":
            s.line([root, knee, foot], leg, darker(bottom, 0.12) if side < 0 else bottom)
        else:
            s.line([root, knee, foot], leg * 0.75, skin)
            if look.get("lower") == "shorts":
                s.line([root, knee], leg * 1.15, bottom)
        s.line([foot, (foot[0] + 0.11 * way * k, 0.04 * k)], 0.09 * k, shoe)
    if look.get("lower") == "skirt":
        s.poly(
            [
                (cx - 0.17 * broad, hip + 0.1 * k),
                (cx + 0.17 * broad, hip + 0.1 * k),
                (cx + 0.26 * broad, 0.45 * k),
                (cx - 0.26 * broad, 0.45 * k),
            ],
            bottom,
        )
    swing = (0.2 if walking else 0.05) * k
    hem = hip - (0.14 * k if look.get("coat") else 0.0)
    s.line(
        [
            (cx - 0.2 * broad, neck - 0.07 * k),
            (cx - 0.27 * broad - swing * 0.4, 1.12 * k),
            (cx - 0.24 * broad - swing, 0.88 * k),
        ],
        0.11 * k,
        darker(top, 0.2),
    )
    s.poly([(cx - 0.17 * broad, hem), (cx + 0.17 * broad, hem), (cx + 0.19 * broad, 1.15 * k), (cx + 0.25 * broad, neck - 0.06 * k), (cx + 0.15 * broad, neck),
            (cx - 0.15 * broad, neck), (cx - 0.25 * broad, neck - 0.06 * k), (cx - 0.19 * broad, 1.15 * k)], top)  # fmt: skip
    s.line(
        [
            (cx + 0.2 * broad, neck - 0.07 * k),
            (cx + 0.27 * broad + swing * 0.3, 1.12 * k),
            (cx + 0.22 * broad + swing, 0.88 * k),
        ],
        0.11 * k,
        darker(top, 0.12),
    )
    for sx in (-0.24 * broad - swing, 0.22 * broad + swing):
        s.ellipse(cx + sx, 0.85 * k, 0.05 * k, 0.05 * k, skin)
    if look.get("stripe"):
        s.rect(cx - 0.18 * broad, 1.1 * k, cx + 0.18 * broad, 1.17 * k, (235, 235, 225))
    if look.get("bag") is not None:
        if look.get("bag_kind") == "backpack" and not walking:
            s.rounded(cx - 0.18 * k, 1.0 * k, cx + 0.18 * k, 1.42 * k, 0.06, look["bag"])
        elif look.get("bag_kind") == "bag":
            x = cx + way * (0.30 * k + swing)
            s.rounded(x - 0.15 * k, 0.48 * k, x + 0.15 * k, 0.80 * k, 0.04, look["bag"])
    head = 0.125 * k * rng.uniform(0.95, 1.1)
    hy = neck + 0.16 * k
    s.rect(cx - 0.05 * k, neck - 0.02 * k, cx + 0.05 * k, neck + 0.08 * k, skin)
    if look.get("long_hair"):
        s.rounded(cx - head * 1.15, neck - 0.1 * k, cx + head * 1.15, hy + head * 1.1, head, hair)
    faces_away = look.get("bag_kind") == "backpack" and not walking
    s.ellipse(cx, hy, head, head * 1.2, hair)
    if not faces_away:
        s.ellipse(cx + 0.01 * way, hy - head * 0.25, head * 0.86, head * 0.95, skin)
    hat = look.get("hat")
    if hat is not None:
        s.ellipse(cx, hy + head * 0.55, head * 1.15, head * 0.75, hat)
        s.line(
            [(cx - head * 1.1, hy + head * 0.4), (cx + head * (1.5 if way > 0 else 1.1), hy + head * 0.4)],
            head * 0.35,
            hat,
        )
    if look.get("umbrella") is not None:
        u = look["umbrella"]
        y = hy + 0.18 * k
        s.line([(cx + 0.16 * k, 1.05 * k), (cx + 0.16 * k, y + 0.3 * k)], 0.03, (50, 50, 50))
        a = np.radians(np.linspace(0, 180, 13))
        s.poly(np.stack([cx + 0.1 * k + 0.58 * k * np.cos(a), y + 0.34 * k * np.sin(a)], 1), u)
        s.line([(cx + 0.1 * k, y), (cx + 0.1 * k, y + 0.33 * k)], 0.03, darker(u, 0.3))


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
