"""Cars, vans, trucks, buses, motorcycles and bicycles from behind, from the front and from the side."""

from __future__ import annotations

import numpy as np

from .palette import Rgb, darker, lighter, mix, sample_color
from .sprite import Sprite, Style

TIRE: Rgb = (24, 24, 26)
BODIES = ("sedan", "hatchback", "suv", "wagon")
# body or category -> (length, width, height) in meters
SIZES = {
    "sedan": (4.6, 1.8, 1.45), "hatchback": (4.0, 1.75, 1.5), "suv": (4.6, 1.9, 1.75), "wagon": (4.7, 1.8, 1.5),
    "van": (5.2, 2.0, 2.3), "truck": (8.2, 2.5, 3.4), "bus": (11.0, 2.55, 3.2), "motorcycle": (2.1, 0.8, 1.25),
    "bicycle": (1.75, 0.55, 1.1),
}  # fmt: skip
RED_LAMP: Rgb = (215, 25, 25)


def size_of(body: str, view: str) -> tuple[float, float]:
    """Width and height in meters of the picture of a vehicle seen from "front", "rear", "side"."""
    length, width, height = SIZES[body]
    return (length if view == "side" else width), height


def _glass(rng: np.random.Generator) -> Rgb:
    base = [(40, 48, 58), (70, 90, 105), (25, 28, 34), (120, 145, 160)][int(rng.integers(4))]
    return mix(base, (90, 110, 130), rng.random() * 0.3)


def _wheel(s: Sprite, x: float, r: float, rng: np.random.Generator, hub: Rgb) -> None:
    s.ellipse(x, r, r, r, TIRE)
    s.ellipse(x, r, r * 0.58, r * 0.58, hub)
    if rng.random() < 0.5:
        s.ellipse(x, r, r * 0.2, r * 0.2, TIRE)


_PROFILES = {  # roof lines as (share of length, share of height), from the rear to the front
    "sedan": [(0.0, 0.34), (0.01, 0.60), (0.15, 0.66), (0.27, 0.97), (0.34, 1.0), (0.55, 1.0), (0.72, 0.66), (0.95, 0.56), (1.0, 0.34)],
    "hatchback": [(0.0, 0.34), (0.0, 0.62), (0.10, 0.95), (0.18, 1.0), (0.52, 1.0), (0.72, 0.66), (0.95, 0.56), (1.0, 0.34)],
    "suv": [(0.0, 0.34), (0.0, 0.66), (0.05, 0.96), (0.10, 1.0), (0.56, 1.0), (0.70, 0.66), (0.96, 0.60), (1.0, 0.34)],
    "wagon": [(0.0, 0.34), (0.0, 0.64), (0.08, 0.96), (0.13, 1.0), (0.56, 1.0), (0.72, 0.66), (0.95, 0.56), (1.0, 0.34)],
}  # fmt: skip


def _car_side(
    s: Sprite, paint: Rgb, roof: Rgb | None, body: str, style: Style, rng: np.random.Generator
) -> None:
    length, height = s.width, s.height
    low = 0.14 * height
    prof = np.array(_PROFILES[body]) * (length, height)
    s.poly(np.concatenate([[(length, low), (0.0, low)], prof]), paint)
    if roof:
        top = prof[prof[:, 1] > 0.9 * height]
        s.line(top, 0.1 * height, roof)
    belt = 0.64 * height
    cabin = prof[(prof[:, 1] >= 0.6 * height)]
    c = cabin.mean(0)
    pane = c + (cabin - c) * (0.86, 0.74)
    pane[:, 1] = np.maximum(pane[:, 1], belt)
    x0, x1 = prof[prof[:, 1] > 0.93 * height][[0, -1], 0]
    back = x0 - 0.10 * length if body == "sedan" else x0 - 0.02 * length
    s.poly(
        [(back, belt), (x0 + 0.02 * length, 0.93 * height), (x1, 0.93 * height), (x1 + 0.13 * length, belt)],
        _glass(rng),
    )
    for x in (0.44,) if body != "wagon" else (0.32, 0.5):
        s.line([(x * length, belt), (x * length, 0.95 * height)], 0.035 * length, paint)
    r = 0.225 * height
    for x in (0.19, 0.80):
        s.ellipse(x * length, r * 1.05, r * 1.22, r * 1.22, darker(paint, 0.55))
    hub = [(165, 168, 172), (110, 112, 116), (205, 205, 208)][int(rng.integers(3))]
    _wheel(s, 0.19 * length, r, rng, hub)
    _wheel(s, 0.80 * length, r, rng, hub)
    s.rect(0.0, 0.46 * height, 0.035 * length, 0.58 * height, RED_LAMP)
    s.poly(
        [(0.94 * length, 0.44 * height), (length, 0.42 * height), (0.97 * length, 0.54 * height)],
        (250, 245, 215),
    )
    if rng.random() < style.detail:
        s.line(
            [(0.05 * length, 0.36 * height), (0.95 * length, 0.36 * height)],
            0.02 * height,
            darker(paint, 0.35),
        )
        for x in (0.34, 0.56):
            s.line(
                [(x * length, 0.58 * height), (x * length + 0.16, 0.58 * height)],
                0.03 * height,
                darker(paint, 0.5),
            )


def _car_end(
    s: Sprite, paint: Rgb, roof: Rgb | None, body: str, rear: bool, style: Style, rng: np.random.Generator
) -> None:
    w, h = s.width, s.height
    tall = body in ("suv", "van")
    low, belt, top = 0.13 * h, (0.56 if tall else 0.58) * h, h
    tw = 0.17 * w
    for x in (0.06 * w, w - 0.06 * w - tw):
        s.rounded(x, 0, x + tw, 0.3 * h, 0.04, TIRE)
    inset = rng.uniform(0.10, 0.15) if tall else rng.uniform(0.14, 0.22)
    s.poly([(0.03 * w, belt), (inset * w, 0.95 * top), ((inset + 0.06) * w, top), ((1 - inset - 0.06) * w, top), ((1 - inset) * w, 0.95 * top),
            (0.97 * w, belt)], roof or paint)  # fmt: skip
    s.rounded(0, low, w, belt + 0.06 * h, 0.10 * w, paint)
    up = (inset + 0.04) * w
    s.poly(
        [(0.09 * w, belt + 0.02 * h), (up, 0.91 * top), (w - up, 0.91 * top), (0.91 * w, belt + 0.02 * h)],
        _glass(rng),
    )
    lamp = RED_LAMP if rear else [(250, 246, 222), (240, 240, 245), (255, 235, 170)][int(rng.integers(3))]
    y = rng.uniform(0.40, 0.48) * h
    kind = int(rng.integers(3))
    for x in (0.12 * w, 0.88 * w):
        if kind == 0:
            s.ellipse(x, y, 0.085 * w, 0.065 * h, lamp)
        elif kind == 1:
            s.rect(x - 0.1 * w, y - 0.04 * h, x + 0.1 * w, y + 0.05 * h, lamp)
        else:
            s.rect(x - 0.055 * w, y - 0.07 * h, x + 0.055 * w, y + 0.11 * h, lamp)
    if rear:
        s.rect(
            0.38 * w, 0.34 * h, 0.62 * w, 0.42 * h, (235, 235, 225) if rng.random() < 0.8 else (240, 205, 60)
        )
        s.rect(0.03 * w, low, 0.97 * w, low + 0.09 * h, darker(paint, 0.4))
    else:
        s.rounded(0.28 * w, 0.38 * h, 0.72 * w, 0.48 * h, 0.04, darker(mix(paint, (60, 60, 60), 0.7), 0.4))
        s.rect(0.36 * w, 0.22 * h, 0.64 * w, 0.29 * h, (235, 235, 225))
        s.rect(0.16 * w, low, 0.84 * w, low + 0.06 * h, (40, 40, 42))
    if rng.random() < style.detail:
        for x in (-1, 1):
            s.ellipse(w / 2 + x * 0.46 * w, 0.63 * h, 0.04 * w, 0.035 * h, darker(paint, 0.2))


def draw_car(
    s: Sprite,
    paint: Rgb,
    body: str,
    view: str,
    extra: str,
    roof: Rgb | None,
    style: Style,
    rng: np.random.Generator,
) -> None:
    """A car filling the board. `extra`: "", "rack" (luggage on the roof), "taxi" (roof sign); both stand on top of it."""
    full = s.height
    if extra:
        body_h = full / 1.16
        if extra == "taxi":
            x = 0.45 * s.width
            s.rounded(x - 0.15, body_h * 0.97, x + 0.25, full, 0.03, (250, 215, 70))
        else:
            load = [(90, 60, 40), (45, 50, 60), (120, 120, 125)][int(rng.integers(3))]
            x0, x1 = (0.25, 0.6) if view == "side" else (0.24, 0.76)
            s.rounded(x0 * s.width, body_h * 0.98, x1 * s.width, full, 0.08, load)
        s.height = body_h
    if view == "side":
        _car_side(s, paint, roof, body, style, rng)
    else:
        _car_end(s, paint, roof, body, view == "rear", style, rng)
    s.height = full


def draw_van(s: Sprite, paint: Rgb, view: str, style: Style, rng: np.random.Generator) -> None:
    """A van from the side, the front or the rear."""
    w, h = s.width, s.height
    if view != "side":
        _car_end(s, paint, None, "van", view == "rear", style, rng)
        if view == "rear":
            s.line([(w / 2, 0.2 * h), (w / 2, 0.95 * h)], 0.03, darker(paint, 0.4))
        return
    low = 0.12 * h
    s.poly(
        [
            (0, low),
            (w, low),
            (w, 0.42 * h),
            (0.93 * w, 0.52 * h),
            (0.80 * w, 0.93 * h),
            (0.74 * w, h),
            (0.03 * w, h),
            (0, 0.92 * h),
        ],
        paint,
    )
    s.poly(
        [(0.70 * w, 0.55 * h), (0.70 * w, 0.88 * h), (0.79 * w, 0.88 * h), (0.90 * w, 0.55 * h)], _glass(rng)
    )
    if rng.random() < 0.4:
        s.rect(0.1 * w, 0.58 * h, 0.64 * w, 0.86 * h, _glass(rng))
    else:
        s.line([(0.42 * w, 0.2 * h), (0.42 * w, 0.95 * h)], 0.03, darker(paint, 0.35))
    for x in (0.19, 0.81):
        _wheel(s, x * w, 0.15 * h, rng, (150, 150, 155))
    s.rect(0, 0.35 * h, 0.02 * w, 0.52 * h, RED_LAMP)
    s.rect(0.965 * w, 0.30 * h, w, 0.40 * h, (250, 245, 215))


def draw_truck(
    s: Sprite, paint: Rgb, cab: Rgb, view: str, kind: str, style: Style, rng: np.random.Generator
) -> None:
    """`paint` is the load's or box's color, `cab` the driver's cabin; `kind` "box", "tank" or "dump"."""
    w, h = s.width, s.height
    if view == "side":
        s.rect(0.02 * w, 0.18 * h, 0.97 * w, 0.28 * h, (50, 50, 54))
        if kind == "tank":
            s.rounded(0.0, 0.30 * h, 0.72 * w, 0.88 * h, 0.3 * h, paint)
        elif kind == "dump":
            s.poly([(0.04 * w, 0.28 * h), (0.68 * w, 0.28 * h), (0.72 * w, 0.72 * h), (0.0, 0.72 * h)], paint)
            for x in (0.2, 0.37, 0.54):
                s.line([(x * w, 0.3 * h), (x * w, 0.7 * h)], 0.08, darker(paint, 0.3))
        else:
            s.rect(0.0, 0.27 * h, 0.72 * w, h, paint)
            if rng.random() < style.detail:
                stripe = sample_color(rng, str(rng.choice(["red", "blue", "green", "orange"])))
                s.rect(0.08 * w, 0.55 * h, 0.60 * w, 0.68 * h, mix(paint, stripe, 0.75))
        s.poly(
            [(0.745 * w, 0.16 * h), (w, 0.16 * h), (w, 0.5 * h), (0.96 * w, 0.86 * h), (0.745 * w, 0.86 * h)],
            cab,
        )
        s.poly(
            [(0.83 * w, 0.52 * h), (0.985 * w, 0.52 * h), (0.95 * w, 0.79 * h), (0.83 * w, 0.79 * h)],
            _glass(rng),
        )
        for x in (0.12, 0.24, 0.86):
            _wheel(s, x * w, 0.145 * h, rng, (130, 130, 134))
        return
    tw = 0.16 * w
    for x in (0.08 * w, w - 0.08 * w - tw):
        s.rounded(x, 0, x + tw, 0.25 * h, 0.04, TIRE)
    if view == "rear":
        s.rect(0.03 * w, 0.14 * h, 0.97 * w, 0.25 * h, (48, 48, 52))
        if kind == "tank":
            s.ellipse(w / 2, 0.58 * h, 0.5 * w, 0.36 * h, paint)
            s.ellipse(w / 2, 0.58 * h, 0.4 * w, 0.28 * h, darker(paint, 0.15))
        else:
            top = 0.75 * h if kind == "dump" else h
            s.rect(0, 0.22 * h, w, top, paint)
            s.rect(0.06 * w, 0.27 * h, 0.94 * w, top - 0.05 * h, darker(paint, 0.12))
            s.line([(w / 2, 0.26 * h), (w / 2, top - 0.04 * h)], 0.05, darker(paint, 0.45))
        for x in (0.03 * w, 0.81 * w):
            s.rect(x, 0.16 * h, x + 0.16 * w, 0.22 * h, RED_LAMP)
        return
    if kind != "dump":
        s.rect(0, 0.3 * h, w, h, darker(paint, 0.12))
    s.rounded(0.03 * w, 0.10 * h, 0.97 * w, 0.86 * h, 0.1, cab)
    s.rounded(0.1 * w, 0.50 * h, 0.9 * w, 0.79 * h, 0.06, _glass(rng))
    s.rect(0.2 * w, 0.24 * h, 0.8 * w, 0.42 * h, darker(cab, 0.5))
    for x in (0.06 * w, 0.80 * w):
        s.rect(x, 0.14 * h, x + 0.14 * w, 0.22 * h, (250, 246, 220))


def draw_bus(s: Sprite, paint: Rgb, view: str, style: Style, rng: np.random.Generator) -> None:
    """A bus from the side, the front or the rear."""
    w, h = s.width, s.height
    glass = _glass(rng)
    tw = 0.15 * w
    if view == "side":
        s.rounded(0, 0.10 * h, w, h, 0.25, paint)
        if rng.random() < 0.5:
            s.rect(0.01 * w, 0.56 * h, 0.99 * w, 0.88 * h, darker(glass, 0.3))
        n = int(rng.integers(6, 9))
        for i in range(n):
            x = 0.03 * w + i * 0.92 * w / n
            s.rounded(x, 0.57 * h, x + 0.80 * w / n, 0.86 * h, 0.05, glass)
        for x in (0.3, 0.86):
            s.rect(x * w, 0.14 * h, (x + 0.07) * w, 0.86 * h, lighter(glass, 0.15))
        for x in (0.2, 0.76):
            _wheel(s, x * w, 0.15 * h, rng, (140, 140, 144))
        return
    for x in (0.07 * w, w - 0.07 * w - tw):
        s.rounded(x, 0, x + tw, 0.22 * h, 0.04, TIRE)
    s.rounded(0, 0.09 * h, w, h, 0.22, paint)
    if view == "front":
        s.rounded(0.06 * w, 0.40 * h, 0.94 * w, 0.82 * h, 0.12, glass)
        s.rect(0.22 * w, 0.86 * h, 0.78 * w, 0.95 * h, (35, 32, 20))
        s.rect(0.28 * w, 0.885 * h, 0.66 * w, 0.925 * h, (250, 170, 40))
        lamp: Rgb = (250, 246, 220)
    else:
        s.rounded(0.12 * w, 0.56 * h, 0.88 * w, 0.86 * h, 0.1, glass)
        s.rect(0.2 * w, 0.2 * h, 0.8 * w, 0.4 * h, darker(paint, 0.35))
        lamp = RED_LAMP
    for x in (0.05 * w, 0.81 * w):
        s.rect(x, 0.17 * h, x + 0.14 * w, 0.25 * h, lamp)


def draw_bicycle(s: Sprite, paint: Rgb, side: bool, rng: np.random.Generator, height: float = 1.1) -> None:
    """A bicycle on the lower `height` meters of the board."""
    w = s.width
    if not side:
        s.line([(w / 2, 0.0), (w / 2, 0.68)], 0.08, TIRE)
        s.line([(w / 2, 0.4), (w / 2, 0.98)], 0.06, paint)
        s.line([(w / 2 - 0.26, 1.0), (w / 2 + 0.26, 1.0)], 0.05, TIRE)
        return
    r = 0.34
    a, b = (r + 0.02, r + 0.02), (w - r - 0.02, r + 0.02)
    for c in (a, b):
        s.arc(c[0], c[1], r, 0, 360, 0.06, TIRE)
    seat, head, crank = (0.36 * w, 0.82), (0.66 * w, 0.84), (0.46 * w, 0.34)
    s.line([a, (seat[0], seat[1] - 0.06), (head[0], head[1] - 0.08), b], 0.07, paint)
    s.line([a, crank, (head[0], head[1] - 0.08)], 0.07, paint)
    s.line([crank, seat], 0.07, paint)
    s.line(
        [b, head, (head[0] + 0.02, height - 0.05), (head[0] + 0.16, height - 0.06)], 0.05, darker(paint, 0.5)
    )
    s.line([(seat[0] - 0.12, seat[1] + 0.04), (seat[0] + 0.1, seat[1] + 0.05)], 0.08, TIRE)


def draw_motorcycle(s: Sprite, paint: Rgb, side: bool, rear: bool, rng: np.random.Generator) -> None:
    """A motorcycle on the lower 1.25 meters of the board."""
    w = s.width
    if not side:
        s.rounded(w / 2 - 0.09, 0, w / 2 + 0.09, 0.62, 0.08, TIRE)
        s.rounded(w / 2 - 0.2, 0.42, w / 2 + 0.2, 0.98, 0.12, paint)
        s.line([(w / 2 - 0.36, 1.04), (w / 2 + 0.36, 1.04)], 0.06, TIRE)
        s.ellipse(w / 2, 0.82, 0.1, 0.08, RED_LAMP if rear else (255, 245, 205))
        return
    for x in (0.33, w - 0.33):
        s.ellipse(x, 0.32, 0.32, 0.32, TIRE)
        s.ellipse(x, 0.32, 0.17, 0.17, (120, 122, 126))
    s.poly([(0.62, 0.3), (1.35, 0.3), (1.3, 0.6), (0.7, 0.62)], (70, 72, 76))
    s.poly(
        [
            (0.2, 0.72),
            (0.62, 0.62),
            (0.98, 0.72),
            (1.4, 0.68),
            (1.52, 0.92),
            (1.06, 0.98),
            (0.9, 0.8),
            (0.16, 0.84),
        ],
        paint,
    )
    s.line([(w - 0.33, 0.32), (1.48, 0.95), (1.38, 1.14), (1.24, 1.12)], 0.07, (60, 60, 64))
    s.line([(0.36, 0.82), (0.9, 0.82)], 0.1, TIRE)
    s.line([(0.1, 0.3), (0.8, 0.28)], 0.06, (150, 150, 154))
