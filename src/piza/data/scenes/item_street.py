"""Makers of what stands in a street: signs, lights, poles, street furniture and greenery."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import people, sign_faces, signs, street
from .item import Item, Picker, finished, worn
from .palette import Rgb, sample_color
from .sprite import Sprite, Style


def make_sign(rng: np.random.Generator, kind: str, pole: int = -1) -> Item:
    """A traffic sign of a kind, on the pole of a number."""
    k = signs.KINDS[kind]
    size = rng.uniform(0.9, 1.15) if k.shape != "board" else rng.uniform(0.7, 1.6)
    squeeze = 1.0 if rng.random() < 0.6 else rng.uniform(0.72, 1.0)
    tilt = 0.0 if rng.random() < 0.6 else rng.normal(0, 3.5)

    gain = rng.uniform(0.42, 0.85) if rng.random() < 0.3 else rng.uniform(0.9, 1.1)
    faded = rng.uniform(0.1, 0.4) if rng.random() < 0.2 else 0.0

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        return worn(finished(sign_faces.face(kind, ppm * size, r), style, r, squeeze, tilt), gain, faded)

    return Item("sign", k.width * size, k.height * size, draw, k.colors[0], "", {"kind": kind}, pole=pole)


# category -> (width, height, colors, painter, colors of its band or None)
_PLAIN: dict[str, tuple[float, float, tuple[str, ...], Callable[..., None], tuple[str, ...] | None]] = {
    "cone": (
        0.45,
        0.72,
        ("orange", "orange", "red", "yellow", "green", "blue"),
        street.draw_cone,
        ("white",),
    ),
    "barrel": (
        0.6,
        1.0,
        ("orange", "orange", "yellow", "blue", "red", "green"),
        street.draw_barrel,
        ("white",),
    ),
    "barrier": (1.9, 1.0, ("red", "orange", "red", "blue"), street.draw_barrier, ("white",)),
    "bollard": (0.2, 0.95, ("gray", "black", "white", "yellow", "red", "green"), street.draw_bollard, None),
    "hydrant": (0.45, 0.8, ("red", "yellow", "blue", "green", "orange"), street.draw_hydrant, None),
    "mailbox": (0.55, 1.25, ("yellow", "blue", "red", "green", "gray"), street.draw_mailbox, None),
    "bin": (
        0.62,
        1.08,
        ("green", "blue", "yellow", "black", "gray", "brown", "orange", "red"),
        street.draw_bin,
        None,
    ),
    "bench": (1.7, 0.9, ("brown", "green", "gray", "red", "blue"), street.draw_bench, None),
    "planter": (1.0, 0.95, ("brown", "gray", "white", "black", "blue"), street.draw_planter, None),
    "flag": (
        1.25,
        0.9,
        ("red", "yellow", "blue", "green", "white", "orange", "purple"),
        street.draw_flag,
        None,
    ),
    "balloon": (
        0.5,
        0.95,
        ("red", "yellow", "blue", "green", "white", "orange", "purple", "pink"),
        street.draw_balloon,
        None,
    ),
    "stall": (2.4, 2.5, ("red", "yellow", "blue", "green", "orange", "purple"), street.draw_kiosk, None),
    "dog": (0.95, 0.66, ("brown", "black", "white", "gray", "beige"), people.draw_dog, None),
}


PLAIN = tuple(_PLAIN)


def make_plain(rng: np.random.Generator, pick: Picker, category: str) -> Item:
    """A piece of street furniture or another small object of a category in `PLAIN`."""
    w, h, colors, painter, bands = _PLAIN[category]
    color, shade = pick(rng, colors)
    if shade == "light" or category in ("cone", "barrel", "barrier"):
        shade = ""
    paint = sample_color(rng, color, shade)
    k = rng.uniform(0.9, 1.15)
    w, h = w * k, h * k * rng.uniform(0.95, 1.1)
    band = (
        sample_color(rng, "white")
        if bands or (category == "bollard" and color != "white" and rng.random() < 0.4)
        else None
    )

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        if bands or category == "bollard":
            painter(s, paint, band, r)
        elif category == "stall":
            painter(s, paint, style, r)
        else:
            painter(s, paint, r)
        return finished(s, style, r, flip=category != "flag" and r.random() < 0.5)

    return Item(category, w, h, draw, color, shade, {})


def make_light(rng: np.random.Generator, category: str, state: str, case: str, pole: int) -> Item:
    """A "traffic light" (red, amber, green) or a "pedestrian light" (red, green); the color is that of its housing."""
    w, h = (0.36, 0.98) if category == "traffic light" else (0.36, 0.68)
    paint = sample_color(rng, case)
    made = street.draw_traffic_light if category == "traffic light" else street.draw_walk_light
    box: list[tuple[float, float, float]] = []
    probe = Sprite(w, h, 20)
    seed = int(rng.integers(1 << 30))
    x, y, r0 = made(probe, state, paint, np.random.default_rng(seed))
    box.append((x, y, r0))

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        made(s, state, paint, np.random.default_rng(seed))
        return finished(s, style, r)

    return Item(
        category, w, h, draw, case, "", {"state": state}, pole=pole, glow=(x, y, r0, street.LAMPS[state])
    )


def make_pole(rng: np.random.Generator, height: float, pole: int, arm: float = 0.0) -> Item:
    """The unnamed pole that signs and lights hang on; `arm` meters reach out to one side (negative: left)."""
    gray = int(rng.integers(90, 190))
    paint: Rgb = (gray, gray, min(255, gray + 6))
    t = rng.uniform(0.07, 0.12) if not arm else 0.16
    w = 0.2 if not arm else 2 * abs(arm) + 0.3

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, height, ppm)
        s.line([(w / 2, 0), (w / 2, height)], t, paint)
        if arm:
            s.line([(w / 2, height - t), (w / 2 + arm, height - t)], t * 0.8, paint)
        return s.finish(style, r)

    return Item("", w, height, draw, pole=pole)


def make_lamp(rng: np.random.Generator) -> Item:
    """A street lamp."""
    kind = str(rng.choice(["arm", "globe"]))
    h = rng.uniform(6.0, 9.0) if kind == "arm" else rng.uniform(3.2, 4.5)
    w = rng.uniform(1.8, 2.6) if kind == "arm" else 0.7
    color = str(rng.choice(["gray", "black", "green", "silver"]))
    paint = sample_color(rng, color, "dark" if color == "green" else "")
    flip = rng.random() < 0.5

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        street.draw_lamp(s, paint, kind, r)
        return finished(s, style, r, flip=flip)

    return Item("lamp", w, h, draw, color, "dark" if color == "green" else "", {"kind": kind})


def make_tree(rng: np.random.Generator, autumn: bool) -> Item:
    """A tree."""
    kind = str(rng.choice(["round", "round", "round", "fir", "bare"]))
    h = rng.uniform(4, 12)
    w = (
        h
        * {"round": rng.uniform(0.6, 0.9), "fir": rng.uniform(0.4, 0.55), "bare": rng.uniform(0.6, 0.8)}[kind]
    )
    leaf: Rgb = (int(rng.integers(45, 110)), int(rng.integers(90, 150)), int(rng.integers(30, 75)))
    if autumn and kind == "round":
        leaf = (int(rng.integers(150, 215)), int(rng.integers(90, 145)), int(rng.integers(25, 60)))

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        street.draw_tree(s, leaf, kind, r)
        return street.leafy(s.finish(style, r), r)

    return Item("tree", w, h, draw, None, "", {"kind": kind})


def make_hedge(rng: np.random.Generator) -> Item:
    """A hedge."""
    w, h = rng.uniform(2.5, 9), rng.uniform(0.7, 1.6)
    leaf: Rgb = (int(rng.integers(40, 85)), int(rng.integers(85, 130)), int(rng.integers(30, 60)))

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        street.draw_hedge(s, leaf, r)
        return street.leafy(s.finish(style, r), r)

    return Item("hedge", w, h, draw, None, "", {})
