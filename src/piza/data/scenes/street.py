"""Street furniture: lights, lamps, cones, barrels, barriers, bollards, boxes, bins, benches, flags, plants."""

from __future__ import annotations

import cv2
import numpy as np

from .palette import Rgb, darker, lighter, mix
from .sprite import Sprite, Style

LAMPS: dict[str, Rgb] = {"red": (245, 40, 35), "amber": (255, 185, 30), "green": (40, 225, 110)}
OFF: dict[str, Rgb] = {"red": (62, 22, 20), "amber": (60, 48, 18), "green": (18, 50, 32)}


def draw_cone(s: Sprite, paint: Rgb, band: Rgb, rng: np.random.Generator) -> None:
    """A traffic cone."""
    w, h = s.width, s.height
    s.rounded(0, 0, w, 0.09 * h, 0.02, darker(paint, rng.choice([0.15, 0.75])))
    top = 0.06 * w

    def half(y: float) -> float:
        return 0.40 * w + (top - 0.40 * w) * (y - 0.08 * h) / (0.92 * h)

    def part(y0: float, y1: float, color: Rgb) -> None:
        s.poly(
            [(w / 2 - half(y0), y0), (w / 2 + half(y0), y0), (w / 2 + half(y1), y1), (w / 2 - half(y1), y1)],
            color,
        )

    part(0.08 * h, h, paint)
    for y0, y1 in [((0.38, 0.62),), ((0.28, 0.45), (0.6, 0.75))][int(rng.integers(2))]:
        part(y0 * h, y1 * h, band)


def draw_barrel(s: Sprite, paint: Rgb, band: Rgb, rng: np.random.Generator) -> None:
    """A barrel with bands."""
    w, h = s.width, s.height
    s.rounded(0.0, 0, w, 0.08 * h, 0.03, (35, 35, 36))
    s.rounded(0.05 * w, 0.03 * h, 0.95 * w, 0.97 * h, 0.05, paint)
    for y in (0.25, 0.6):
        s.rect(0.05 * w, y * h, 0.95 * w, (y + 0.16) * h, band)
    s.ellipse(w / 2, 0.96 * h, 0.42 * w, 0.04 * h, darker(paint, 0.2))


def draw_barrier(s: Sprite, paint: Rgb, band: Rgb, rng: np.random.Generator) -> None:
    """A barrier with stripes."""
    w, h = s.width, s.height
    for x in (0.12 * w, 0.88 * w):
        s.line([(x - 0.08, 0.02), (x, h * 0.9)], 0.06, (90, 90, 94))
        s.line([(x + 0.08, 0.02), (x, h * 0.9)], 0.06, (90, 90, 94))
    for y0, y1 in [((0.58, 0.97),), ((0.3, 0.55), (0.7, 0.97))][int(rng.integers(2))]:
        s.rect(0, y0 * h, w, y1 * h, band)
        d = (y1 - y0) * h
        n = int(rng.integers(3, 6))
        for i in range(n):
            x = i * w / n
            s.poly(
                [
                    (x, y0 * h),
                    (x + w / n / 2, y0 * h),
                    (min(x + w / n / 2 + d * 0.4, w), y1 * h),
                    (min(x + d * 0.4, w), y1 * h),
                ],
                paint,
            )


def draw_bollard(s: Sprite, paint: Rgb, band: Rgb | None, rng: np.random.Generator) -> None:
    """A bollard."""
    w, h = s.width, s.height
    s.rounded(0.1 * w, 0, 0.9 * w, h, 0.3 * w, paint)
    if band:
        s.rect(0.1 * w, 0.68 * h, 0.9 * w, 0.82 * h, band)


def draw_hydrant(s: Sprite, paint: Rgb, rng: np.random.Generator) -> None:
    """A fire hydrant."""
    w, h = s.width, s.height
    dark = darker(paint, 0.25)
    s.rect(0.18 * w, 0, 0.82 * w, 0.1 * h, dark)
    s.rect(0.27 * w, 0.08 * h, 0.73 * w, 0.78 * h, paint)
    s.ellipse(0.5 * w, 0.78 * h, 0.27 * w, 0.17 * h, paint)
    s.rect(0.2 * w, 0.70 * h, 0.8 * w, 0.77 * h, dark)
    s.rect(0.42 * w, 0.92 * h, 0.58 * w, h, dark)
    for x in (0.13, 0.87):
        s.ellipse(x * w, 0.52 * h, 0.13 * w, 0.1 * h, dark)
    s.ellipse(0.5 * w, 0.5 * h, 0.15 * w, 0.1 * h, lighter(paint, 0.2))


def draw_mailbox(s: Sprite, paint: Rgb, rng: np.random.Generator) -> None:
    """A mailbox."""
    w, h = s.width, s.height
    if rng.random() < 0.5:  # on legs, with a round top
        for x in (0.14, 0.78):
            s.rect(x * w, 0, (x + 0.08) * w, 0.2 * h, darker(paint, 0.5))
        s.rounded(0, 0.16 * h, w, h, 0.35 * w, paint)
        s.rect(0, 0.16 * h, w, 0.7 * h, paint)
    else:
        s.rect(0.42 * w, 0, 0.58 * w, 0.5 * h, (70, 70, 74))
        s.rounded(0, 0.42 * h, w, h, 0.05, paint)
    s.rect(0.18 * w, 0.76 * h, 0.82 * w, 0.82 * h, darker(paint, 0.7))
    s.rect(0.3 * w, 0.54 * h, 0.7 * w, 0.66 * h, (240, 240, 235))


def draw_bin(s: Sprite, paint: Rgb, rng: np.random.Generator) -> None:
    """A trash bin."""
    w, h = s.width, s.height
    if rng.random() < 0.6:  # wheeled
        s.ellipse(0.22 * w, 0.07 * h, 0.12 * w, 0.07 * h, (25, 25, 26))
        s.poly(
            [(0.12 * w, 0.03 * h), (0.88 * w, 0.03 * h), (0.97 * w, 0.86 * h), (0.03 * w, 0.86 * h)], paint
        )
        s.poly([(0, 0.85 * h), (w, 0.85 * h), (0.9 * w, h), (0.1 * w, h)], darker(paint, 0.3))
    else:
        s.rounded(0.04 * w, 0, 0.96 * w, 0.85 * h, 0.06, paint)
        s.rect(0.1 * w, 0.85 * h, 0.9 * w, h, darker(paint, 0.6))
        s.rounded(0.0, 0.93 * h, w, h, 0.03, paint)


def draw_bench(s: Sprite, paint: Rgb, rng: np.random.Generator) -> None:
    """A bench."""
    w, h = s.width, s.height
    iron: Rgb = (60, 60, 64)
    for x in (0.1, 0.86):
        s.rect(x * w, 0, (x + 0.05) * w, 0.52 * h, iron)
        s.line([((x + 0.02) * w, 0.45 * h), ((x + 0.02) * w, h)], 0.05, iron)
    s.rect(0, 0.43 * h, w, 0.55 * h, paint)
    for y in (0.66, 0.86):
        s.rect(0, y * h, w, (y + 0.13) * h, darker(paint, 0.1))


def draw_planter(s: Sprite, paint: Rgb, rng: np.random.Generator) -> None:
    """A planter with plants."""
    w, h = s.width, s.height
    for _ in range(14):
        x, y = rng.uniform(0.15, 0.85) * w, rng.uniform(0.5, 0.88) * h
        g = (int(rng.integers(40, 95)), int(rng.integers(105, 165)), int(rng.integers(35, 70)))
        s.ellipse(x, y, 0.13 * w, 0.11 * h, g)
    s.poly([(0.12 * w, 0), (0.88 * w, 0), (w, 0.5 * h), (0, 0.5 * h)], paint)
    s.rect(0, 0.44 * h, w, 0.52 * h, lighter(paint, 0.2))


def draw_traffic_light(
    s: Sprite, state: str, case: Rgb, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Three lamps above one another, one lit; returns the lit lamp's place and radius in board meters."""
    w, h = s.width, s.height
    s.rounded(0, 0, w, h, 0.08, case)
    r = 0.27 * w if rng.random() < 0.4 else 0.33 * w
    lit = (0.0, 0.0, 0.0)
    for y, name in ((0.82, "red"), (0.5, "amber"), (0.18, "green")):
        s.ellipse(w / 2, y * h, r * 1.12, r * 1.12, darker(case, 0.55))
        s.ellipse(w / 2, y * h, r, r, LAMPS[name] if name == state else OFF[name])
        if name == state:
            s.ellipse(w / 2, y * h, r * 0.5, r * 0.5, lighter(LAMPS[name], 0.35))
            lit = (w / 2, y * h, r)
    return lit


def draw_walk_light(s: Sprite, state: str, case: Rgb, rng: np.random.Generator) -> tuple[float, float, float]:
    """A pedestrian light with a red standing or a green walking figure."""
    w, h = s.width, s.height
    s.rounded(0, 0, w, h, 0.05, case)
    lit = (0.0, 0.0, 0.0)
    for y, name in ((0.74, "red"), (0.26, "green")):
        s.rect(0.1 * w, (y - 0.21) * h, 0.9 * w, (y + 0.21) * h, (16, 16, 18))
        if name == state:
            c = LAMPS[name]
            d = 0.0 if name == "red" else 0.1
            s.ellipse(w / 2, (y + 0.14) * h, 0.11 * w, 0.05 * h, c)
            s.rect(0.38 * w, (y - 0.05) * h, 0.62 * w, (y + 0.09) * h, c)
            s.line([(0.48 * w, (y - 0.05) * h), ((0.42 - d) * w, (y - 0.19) * h)], 0.13 * w, c)
            s.line([(0.52 * w, (y - 0.05) * h), ((0.58 + d) * w, (y - 0.19) * h)], 0.13 * w, c)
            lit = (w / 2, y * h, 0.3 * w)
    return lit


def draw_lamp(s: Sprite, paint: Rgb, kind: str, rng: np.random.Generator) -> None:
    """A street lamp of the full board height: "arm" to one side or "globe" on top."""
    w, h = s.width, s.height
    t = 0.13
    if kind == "globe":
        s.line([(w / 2, 0), (w / 2, h - 0.4)], t, paint)
        s.ellipse(w / 2, h - 0.28, 0.27, 0.27, (245, 243, 228))
        s.rect(w / 2 - 0.18, h - 0.62, w / 2 + 0.18, h - 0.5, paint)
    else:
        s.line([(0.1, 0), (0.1, h - 0.35), (0.35, h - 0.1), (w - 0.6, h - 0.08)], t, paint)
        s.rounded(w - 0.85, h - 0.24, w, h - 0.02, 0.08, lighter(paint, 0.3))
        s.rect(w - 0.75, h - 0.26, w - 0.12, h - 0.2, (240, 238, 215))


def draw_flag(s: Sprite, paint: Rgb, rng: np.random.Generator) -> None:
    """A flag with its own thin staff along the left edge of the board."""
    w, h = s.width, s.height
    s.line([(0.03, 0), (0.03, h)], 0.05, (190, 190, 192))
    xs = np.linspace(0.05, w, 9)
    wave = 0.035 * h * np.sin(np.linspace(0, rng.uniform(4, 8), 9) + rng.uniform(0, 6))
    lower = 0.48 * h
    s.poly(np.concatenate([np.stack([xs, 0.95 * h + wave], 1), np.stack([xs, lower + wave], 1)[::-1]]), paint)


def draw_balloon(s: Sprite, paint: Rgb, rng: np.random.Generator) -> None:
    """A balloon on a string."""
    w, h = s.width, s.height
    s.line([(w / 2, 0), (w / 2 + 0.03, 0.15 * h), (w / 2, 0.35 * h)], 0.02, (200, 200, 200))
    s.ellipse(w / 2, 0.66 * h, 0.49 * w, 0.33 * h, paint)
    s.poly([(w / 2 - 0.05 * w, 0.30 * h), (w / 2 + 0.05 * w, 0.30 * h), (w / 2, 0.36 * h)], paint)
    s.ellipse(0.36 * w, 0.76 * h, 0.08 * w, 0.07 * h, lighter(paint, 0.6))


def draw_tree(s: Sprite, leaf: Rgb, kind: str, rng: np.random.Generator) -> None:
    """A tree on its board: "round", "fir" or "bare"."""
    w, h = s.width, s.height
    bark = mix((92, 68, 48), (70, 66, 62), rng.random())
    trunk = 0.05 * w
    if kind == "fir":
        s.rect(w / 2 - trunk, 0, w / 2 + trunk, 0.2 * h, bark)
        for i in range(4):
            y0, y1, half = (0.1 + 0.21 * i) * h, (0.42 + 0.195 * i) * h, (0.5 - 0.1 * i) * w
            s.poly(
                [(w / 2 - half, y0), (w / 2 + half, y0), (w / 2, min(y1, h))], darker(leaf, 0.25 - 0.06 * i)
            )
    elif kind == "bare":
        s.line([(w / 2, 0), (w / 2, 0.6 * h)], trunk * 2, bark)
        for _ in range(14):
            a, y = rng.uniform(0.3, 2.84), rng.uniform(0.3, 0.6) * h
            r = rng.uniform(0.2, 0.42)
            p = (w / 2 + r * w * np.cos(a), min(y + r * h * np.sin(a), h))
            s.line([(w / 2, y), p], trunk * 0.5, bark)
            s.line([p, (p[0] + rng.uniform(-0.1, 0.1) * w, min(p[1] + 0.1 * h, h))], trunk * 0.25, bark)
    else:
        s.line([(w / 2, 0), (w / 2, 0.6 * h)], trunk * 2, bark)
        s.ellipse(w / 2, 0.66 * h, 0.36 * w, 0.28 * h, darker(leaf, 0.25))
        for _ in range(26):
            a, r = rng.uniform(0, 6.28), np.sqrt(rng.random())
            x, y = w / 2 + 0.36 * w * r * np.cos(a), 0.67 * h + 0.25 * h * r * np.sin(a)
            tone = mix(
                darker(leaf, 0.35),
                lighter(leaf, 0.15),
                np.clip(0.5 + 0.6 * (y / h - 0.67) * 2 + rng.uniform(-0.3, 0.3), 0, 1),
            )
            s.ellipse(x, y, rng.uniform(0.06, 0.13) * w, rng.uniform(0.04, 0.075) * h, tone)


def leafy(rgba: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Speckle a finished plant so that it reads as leaves."""
    h, w = rgba.shape[:2]
    coarse = rng.integers(70, 186, (max(2, h // 3), max(2, w // 3)), dtype=np.uint8)
    n = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_LINEAR)
    rgb = cv2.multiply(np.ascontiguousarray(rgba[..., :3]), cv2.merge([n, n, n]), scale=1 / 128)
    rgba[..., :3] = np.minimum(rgb, rgba[..., 3:])
    return rgba


def draw_hedge(s: Sprite, leaf: Rgb, rng: np.random.Generator) -> None:
    """A hedge."""
    w, h = s.width, s.height
    s.rounded(0, 0, w, 0.92 * h, 0.2 * h, leaf)
    for _ in range(20):
        s.ellipse(
            rng.uniform(0.04, 0.96) * w,
            rng.uniform(0.2, 0.85) * h,
            0.2 * h,
            0.14 * h,
            mix(darker(leaf, 0.3), lighter(leaf, 0.1), rng.random()),
        )


def draw_kiosk(s: Sprite, paint: Rgb, style: Style, rng: np.random.Generator) -> None:
    """A market stall: a striped awning over a counter."""
    w, h = s.width, s.height
    s.rect(0.08 * w, 0, 0.92 * w, 0.42 * h, mix((170, 140, 110), (110, 110, 115), rng.random()))
    for x in (0.08, 0.88):
        s.rect(x * w, 0, (x + 0.04) * w, 0.8 * h, (80, 78, 76))
    s.poly([(0, 0.68 * h), (w, 0.68 * h), (0.9 * w, h), (0.1 * w, h)], paint)
    n = 5
    for i in range(0, n, 2):
        s.poly([(w * i / n + 0.1 * w / n, 0.68 * h), (w * (i + 1) / n, 0.68 * h), (0.1 * w + 0.8 * w * (i + 1) / n, h), (0.1 * w + 0.8 * w * i / n, h)],
               lighter(paint, 0.1))  # fmt: skip
