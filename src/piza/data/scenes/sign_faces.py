"""How the face of each kind of traffic sign is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .glyphs import Field, arrow, bicycle, car_front, mandatory, person, text_mask, truck_side, warning
from .palette import Rgb, sample_color
from .signs import KINDS, RED_RING
from .sprite import Sprite


def _ngon(n: int, r: float, cx: float, cy: float, turn: float) -> np.ndarray:
    a = np.arange(n) * 2 * np.pi / n + turn
    return np.stack([cx + r * np.cos(a), cy + r * np.sin(a)], 1)


def _triangle(w: float, h: float, inset: float, down: bool, round_off: float = 0.05) -> np.ndarray:
    """A triangle with cut-off corners, shrunk towards its middle by the share `inset`."""
    p = np.array([(0.0, 0.0), (w, 0.0), (w / 2, h)])
    c = np.array((w / 2, h / 3))
    p = c + (p - c) * (1 - inset)
    out = []
    for i in range(3):
        a, b, d = p[i - 1], p[i], p[(i + 1) % 3]
        out += [b + (a - b) * round_off, b + (d - b) * round_off]
    q = np.array(out)
    if down:
        q[:, 1] = h - q[:, 1]
    return q


@dataclass(frozen=True)
class _Paints:
    """The paints of one sign. ring: the width of a red ring, as a share of the radius."""

    red: Rgb
    blue: Rgb
    white: Rgb
    black: Rgb
    yellow: Rgb
    green: Rgb
    ring: float


def _sample_paints(rng: np.random.Generator) -> _Paints:
    red, blue = sample_color(rng, "red"), sample_color(rng, "blue")
    white: Rgb = (int(rng.integers(215, 256)),) * 3
    black: Rgb = (int(rng.integers(5, 45)),) * 3
    yellow = sample_color(rng, "yellow")
    green = sample_color(rng, "green", "dark" if rng.random() < 0.5 else "")
    return _Paints(red, blue, white, black, yellow, green, rng.uniform(0.13, 0.22))


def face(kind: str, ppm: float, rng: np.random.Generator) -> Sprite:
    """The plate of a sign, `KINDS[kind]` meters large, at `ppm` pixels a meter."""
    k = KINDS[kind]
    s = Sprite(k.width, k.height, ppm)
    paints = _sample_paints(rng)
    if k.shape == "round":
        _round_face(s, kind, paints, rng)
    elif k.shape in ("triangle", "inverted"):
        _triangular_face(s, kind, paints, rng)
    elif k.shape in ("octagon", "diamond"):
        _polygonal_face(s, kind, paints, rng)
    elif k.shape == "square" or kind == "one_way":
        _blue_plate(s, kind, paints, rng)
    else:
        _board(s, kind, paints, rng)
    return s


def _symbols(s: Sprite) -> Field:
    """Where the symbol of a sign stands."""
    return Field(s, s.width / 2, s.height / 2, s.width * 0.62)


def _round_face(s: Sprite, kind: str, paints: _Paints, rng: np.random.Generator) -> None:
    family = KINDS[kind].family
    w, cx, cy, r = s.width, s.width / 2, s.height / 2, s.width / 2
    if family in RED_RING:
        _red_ring(s, kind, paints, rng)
    elif family == "end of restriction":
        _end_of_restriction(s, kind, paints, rng)
    elif kind == "no_entry":
        s.ellipse(cx, cy, r, r, paints.white if rng.random() < 0.5 else paints.red)
        s.ellipse(cx, cy, r * 0.95, r * 0.95, paints.red)
        bar = rng.uniform(0.09, 0.13) * w
        s.rect(cx - 0.37 * w, cy - bar, cx + 0.37 * w, cy + bar, paints.white)
    elif kind in ("no_stopping", "no_parking"):
        s.ellipse(cx, cy, r, r, paints.red)
        s.ellipse(cx, cy, r * 0.78, r * 0.78, paints.blue)
        d = 0.30 * w
        s.line([(cx - d, cy + d), (cx + d, cy - d)], 0.1 * w, paints.red)
        if kind == "no_stopping":
            s.line([(cx - d, cy - d), (cx + d, cy + d)], 0.1 * w, paints.red)
    else:  # mandatory
        s.ellipse(cx, cy, r, r, paints.white if rng.random() < 0.6 else paints.blue)
        s.ellipse(cx, cy, r * 0.95, r * 0.95, paints.blue)
        mandatory(_symbols(s), kind[5:], paints.white)


def _red_ring(s: Sprite, kind: str, paints: _Paints, rng: np.random.Generator) -> None:
    cx, cy, r = s.width / 2, s.height / 2, s.width / 2
    red, black = paints.red, paints.black
    inner = r * (1 - paints.ring * 1.25)
    s.ellipse(cx, cy, r, r, paints.white if rng.random() < 0.3 else red)
    s.ellipse(cx, cy, r * 0.96, r * 0.96, red)
    s.ellipse(cx, cy, inner, inner, paints.white)
    f = _symbols(s)
    if kind.startswith("speed_"):
        number = kind[6:]
        half = (0.40 if len(number) == 2 else 0.50) * rng.uniform(0.9, 1.08)
        below, above = 0.5 - rng.uniform(0.32, 0.40), 0.5 + rng.uniform(0.32, 0.40)
        f.text(number, 0.5 - half, below, 0.5 + half, above, black, int(rng.integers(2, 6)))
    elif kind == "no_overtaking":
        car_front(f, red, 0.28, 0.34, 0.42)
        car_front(f, black, 0.74, 0.34, 0.42)
    elif kind == "no_overtaking_trucks":
        truck_side(f, red, 0.26, 0.32, 0.5)
        f.rect(0.1, 0.42, 0.52, 0.72, red)
        car_front(f, black, 0.78, 0.34, 0.38)
    elif kind == "no_trucks":
        truck_side(f, black, 0.5, 0.3, 0.86, bool(rng.random() < 0.5))
    elif kind == "no_bicycles":
        bicycle(f, black, 0.06)
    elif kind == "no_pedestrians":
        person(f, black, 0.5, 0.95, 0.15)


def _end_of_restriction(s: Sprite, kind: str, paints: _Paints, rng: np.random.Generator) -> None:
    cx, cy, r = s.width / 2, s.height / 2, s.width / 2
    gray: Rgb = (int(rng.integers(85, 150)),) * 3
    s.ellipse(cx, cy, r, r, paints.black if rng.random() < 0.6 else gray)
    s.ellipse(cx, cy, r * 0.93, r * 0.93, paints.white)
    f = _symbols(s)
    number = kind[4:]
    if number.isdigit():
        half = 0.42 if len(number) == 2 else 0.5
        f.text(number, 0.5 - half, 0.14, 0.5 + half, 0.86, gray, 4)
    elif kind == "end_overtaking":
        car_front(f, gray, 0.26, 0.32, 0.46)
        car_front(f, gray, 0.76, 0.32, 0.46)
    elif kind == "end_overtaking_trucks":
        truck_side(f, gray, 0.26, 0.3, 0.56)
        car_front(f, gray, 0.8, 0.32, 0.42)
    stripes = Field(s, cx, cy, s.width)
    for d in np.linspace(-0.09, 0.09, int(rng.integers(3, 6))):
        stripes.line([(0.2 + d, 0.2 - d), (0.8 + d, 0.8 - d)], 0.024, paints.black)


def _triangular_face(s: Sprite, kind: str, paints: _Paints, rng: np.random.Generator) -> None:
    """A warning sign, or one to give way, which points down and is empty."""
    w, h = s.width, s.height
    down = KINDS[kind].shape == "inverted"
    s.poly(_triangle(w, h, 0.0, down), paints.white if rng.random() < 0.5 else paints.red)
    s.poly(_triangle(w, h, 0.06, down), paints.red)
    inner = rng.uniform(0.36, 0.5)
    back = sample_color(rng, "yellow") if not down and rng.random() < 0.05 else paints.white
    s.poly(_triangle(w, h, inner, down, 0.04), back)
    if not down:
        size = (1 - inner) * rng.uniform(0.62, 0.74)
        warning(Field(s, w / 2, h * rng.uniform(0.36, 0.40), w * size * 0.88), kind[5:], paints.black)


def _polygonal_face(s: Sprite, kind: str, paints: _Paints, rng: np.random.Generator) -> None:
    """The octagon of a stop sign, and diamonds."""
    cx, cy, r = s.width / 2, s.height / 2, s.width / 2
    white, black = paints.white, paints.black
    if kind == "stop":
        s.poly(_ngon(8, r / np.cos(np.pi / 8), cx, cy, np.pi / 8), white)
        s.poly(_ngon(8, r * 0.94 / np.cos(np.pi / 8), cx, cy, np.pi / 8), paints.red)
        below, above = 0.5 - rng.uniform(0.2, 0.28), 0.5 + rng.uniform(0.2, 0.28)
        _symbols(s).text("STOP", -0.08, below, 1.08, above, white, int(rng.integers(2, 5)))
    elif kind == "priority_road":
        s.poly(_ngon(4, r, cx, cy, 0), black if rng.random() < 0.3 else white)
        s.poly(_ngon(4, r * 0.95, cx, cy, 0), white)
        s.poly(_ngon(4, r * rng.uniform(0.62, 0.76), cx, cy, 0), paints.yellow)
    else:
        s.poly(_ngon(4, r, cx, cy, 0), black)
        s.poly(_ngon(4, r * 0.94, cx, cy, 0), paints.yellow)
        warning(Field(s, cx, cy, s.width * 0.46), kind[7:], black)


def _blue_plate(s: Sprite, kind: str, paints: _Paints, rng: np.random.Generator) -> None:
    w, h, white = s.width, s.height, paints.white
    if kind == "parking":
        s.rounded(0, 0, w, h, 0.05, white)
        s.rounded(0.02, 0.02, w - 0.02, h - 0.02, 0.05, paints.blue)
        _symbols(s).text("P", 0.18, 0.0, 0.82, 1.0, white, 5)
    elif kind == "crossing":
        s.rounded(0, 0, w, h, 0.05, paints.blue)
        s.poly([(0.1 * w, 0.14 * h), (0.9 * w, 0.14 * h), (0.5 * w, 0.9 * h)], white)
        person(Field(s, w / 2, h * 0.40, w * 0.5), paints.black, 0.5, 1.0, 0.2)
    else:  # one way
        s.rounded(0, 0, w, h, 0.04, paints.blue)
        xs = (0.05, 0.95) if rng.random() < 0.5 else (0.95, 0.05)
        arrow(Field(s, w / 2, h / 2, w * 0.9), [(xs[0], 0.5), (xs[1], 0.5)], 0.13, white, 0.17)


_PLACES = (
    "Altstadt",
    "Hafen",
    "Nordring",
    "Bergen",
    "Lindau",
    "Airport",
    "City",
    "Exit 17",
    "Westend",
    "Roma",
    "Oslo",
    "Park",
    "Mainz",
    "Ulm",
)


def _board(s: Sprite, kind: str, paints: _Paints, rng: np.random.Generator) -> None:
    """Boards with directions, names of streets, and the small plates under other signs."""
    w, h, white, black = s.width, s.height, paints.white, paints.black
    role, color = kind.split("_")
    if role == "plate":
        s.rounded(0, 0, w, h, 0.03, black)
        s.rounded(0.02, 0.02, w - 0.02, h - 0.02, 0.03, white)
        text = str(
            rng.choice(["200 m", "frei", "7-19h", "Taxi", "800 m", "bei Nebel", "22-6h", "2,8 t", "Anlieger"])
        )
        s.stamp(
            text_mask(text, 2),
            w * rng.uniform(0.08, 0.2),
            h * 0.25,
            w * rng.uniform(0.8, 0.92),
            h * 0.78,
            black,
        )
        return
    ink = black if color in ("yellow", "white") else white
    s.rounded(0, 0, w, h, 0.06 * min(w, h), ink)
    edge = 0.05 * min(w, h)
    s.rounded(edge, edge, w - edge, h - edge, 0.05 * min(w, h), getattr(paints, color))
    if role == "street":
        s.stamp(text_mask(str(rng.choice(_PLACES)), 2), w * 0.1, h * 0.25, w * 0.9, h * 0.78, ink)
        return
    lines = int(rng.integers(1, 4))
    left = rng.random() < 0.5
    for i in range(lines):
        y1 = h * (0.88 - i * 0.8 / lines)
        y0 = y1 - h * 0.62 / lines
        x0 = w * (0.32 if left else 0.08)
        s.stamp(text_mask(str(rng.choice(_PLACES)), 2), x0, y0, x0 + w * rng.uniform(0.35, 0.58), y1, ink)
    field = Field(s, w * (0.18 if left else 0.84), h / 2, w * 0.22)
    path = [
        [(0.5, 0.0), (0.5, 1.0)],
        [(0.0, 0.5), (1.0, 0.5)],
        [(1.0, 0.5), (0.0, 0.5)],
        [(0.1, 0.1), (0.9, 0.9)],
    ][int(rng.integers(4))]
    arrow(field, path, 0.18, ink, 0.3)
