"""Traffic signs: their kinds, how each face is drawn, and the ways to name them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .glyphs import Field, arrow, bicycle, car_front, mandatory, person, text_mask, truck_side, warning
from .palette import Rgb, sample_color
from .sprite import Sprite


@dataclass(frozen=True)
class SignKind:
    """`names` fit this kind only; what is shared with other kinds is said by shape, family and colors."""

    shape: str  # round, triangle, inverted, octagon, diamond, square, board, plate
    family: str
    colors: tuple[str, ...]  # first: the one the eye names; all: what may be said
    names: tuple[str, ...]
    width: float = 0.7  # meters
    height: float = 0.7
    weight: float = 1.0


SPEEDS = (20, 30, 40, 50, 60, 70, 80, 90, 100, 120, 130)
KINDS: dict[str, SignKind] = {}

for _n in SPEEDS:
    KINDS[f"speed_{_n}"] = SignKind(
        "round", "speed limit", ("red", "white"),
        (f"round sign with a red border and the number {_n}", f"speed limit sign showing {_n}", f"speed limit {_n} sign",
         f"white and red circular sign that reads {_n}", f"circular sign with the number {_n} inside a red ring"), weight=1.1,
    )  # fmt: skip
for _n in (30, 60, 80, 100):
    KINDS[f"end_{_n}"] = SignKind(
        "round", "end of restriction", ("white", "black"),
        (f"end of speed limit {_n} sign", f"white circular sign with the number {_n} crossed out by diagonal lines",
         f"white disc with a crossed-out {_n}"), weight=0.4,
    )  # fmt: skip
_RED_ROUND = {
    "no_overtaking": ("no overtaking sign", "round sign with a red border showing a red car beside a black car",
                      "circular red and white sign with a red car beside a black car", "round sign with two cars side by side"),
    "no_overtaking_trucks": ("no overtaking for trucks sign", "round sign with a red border showing a red truck beside a black car",
                             "circular red and white sign with a red truck beside a black car"),
    "no_trucks": ("no trucks sign", "circular red and white sign with a black truck", "round sign with a red border showing a black truck"),
    "no_vehicles": ("no vehicles sign", "empty white circle with a red border", "round white sign with a red ring and nothing inside"),
    "no_bicycles": ("no bicycles sign", "round sign with a red border showing a black bicycle"),
    "no_pedestrians": ("no pedestrians sign", "round sign with a red border showing a walking figure"),
}  # fmt: skip
for _k, _names in _RED_ROUND.items():
    KINDS[_k] = SignKind("round", "prohibition", ("red", "white"), _names)
KINDS["no_entry"] = SignKind("round", "no entry", ("red", "white"), ("no entry sign", "red circle with a white horizontal bar",
    "red round sign with a white bar across it", "red disc with a white stripe"), weight=2.0)  # fmt: skip
KINDS["no_stopping"] = SignKind(
    "round",
    "no stopping",
    ("blue", "red"),
    ("no stopping sign", "blue circle with a red border and a red cross"),
)
KINDS["no_parking"] = SignKind(
    "round",
    "no parking",
    ("blue", "red"),
    ("no parking sign", "blue circle with a red border and one red slash"),
)
KINDS["end_all"] = SignKind("round", "end of restriction", ("white", "black"), ("plain end of restrictions sign",
    "white circular sign crossed by black diagonal lines", "white disc with diagonal black lines and no picture"), weight=0.8)  # fmt: skip
KINDS["end_overtaking"] = SignKind("round", "end of restriction", ("white", "black"), ("end of no overtaking sign",
    "white circular sign with two cars crossed out by diagonal lines"), weight=0.7)  # fmt: skip
KINDS["end_overtaking_trucks"] = SignKind("round", "end of restriction", ("white", "black"), ("end of no overtaking for trucks sign",
    "white circular sign with a truck and a car crossed out by diagonal lines"), weight=0.6)  # fmt: skip
KINDS["give_way"] = SignKind("inverted", "give way", ("red", "white"), ("give way sign", "upside down white triangle with a red border",
    "give way sign, a red and white triangle pointing down", "yield sign", "inverted triangle with a red border"), 0.9, 0.79, 2.2)  # fmt: skip
KINDS["stop"] = SignKind("octagon", "stop", ("red", "white"), ("stop sign", "red stop sign", "red octagonal sign that reads STOP",
    'red octagon with the word "STOP"'), 0.85, 0.85, 2.0)  # fmt: skip
KINDS["priority_road"] = SignKind("diamond", "priority road", ("yellow", "white"), ("priority road sign", "yellow diamond sign with a white border",
    "priority road sign, a yellow square standing on its corner"), 0.8, 0.8, 2.2)  # fmt: skip
_WARN = {
    "danger": ("an exclamation mark", "general danger"), "bend_right": ("an arrow bending right", "a bend to the right"),
    "bend_left": ("an arrow bending left", "a bend to the left"), "double_bend": ("a winding arrow", "a double bend"),
    "works": ("a worker digging", "road works"), "children": ("two children", "children crossing"),
    "pedestrian": ("a walking person", "a pedestrian crossing"), "snow": ("a snowflake", "ice or snow"),
    "priority_crossing": ("a thick upward arrow crossed by a thin line", "a priority intersection"),
    "bumps": ("two bumps", "an uneven road"), "signals": ("a traffic light", "traffic signals ahead"),
    "slippery": ("a skidding car", "a slippery road"), "cyclists": ("a bicycle", "cyclists crossing"),
    "narrowing": ("two lines getting closer", "a narrowing road"), "deer": ("a jumping deer", "wild animals"),
    "two_way": ("two opposite arrows", "two-way traffic"),
}  # fmt: skip
for _k, (_see, _mean) in _WARN.items():
    KINDS[f"warn_{_k}"] = SignKind("triangle", "warning", ("red", "white"), (f"triangular warning sign with {_see}",
        f"red and white triangle showing {_see}", f"warning sign for {_mean}", f"triangle with a red border and {_see}"), 0.9, 0.79, 0.8)  # fmt: skip
for _k in (
    "danger",
    "bend_right",
    "bend_left",
    "works",
    "pedestrian",
    "signals",
    "two_way",
    "deer",
    "cyclists",
):
    _see = _WARN[_k][0]
    KINDS[f"yellow_{_k}"] = SignKind("diamond", "yellow warning", ("yellow", "black"), (f"yellow diamond-shaped sign with {_see}",
        f"yellow diamond warning sign showing {_see}"), 0.85, 0.85, 0.35)  # fmt: skip
_MUST = {
    "straight": ("a white arrow pointing straight up", "go straight"), "turn_right": ("a white arrow turning right", "turn right"),
    "turn_left": ("a white arrow turning left", "turn left"), "keep_right": ("a white arrow pointing down to the right", "keep right"),
    "keep_left": ("a white arrow pointing down to the left", "keep left"),
    "ahead_or_right": ("white arrows pointing up and right", "go straight or right"),
    "ahead_or_left": ("white arrows pointing up and left", "go straight or left"),
    "roundabout": ("three white arrows forming a circle", "take the roundabout"),
}  # fmt: skip
for _k, (_see, _mean) in _MUST.items():
    KINDS[f"must_{_k}"] = SignKind("round", "mandatory", ("blue", "white"), (f"round blue sign with {_see}",
        f"blue circular traffic sign showing {_see}", f"mandatory sign telling drivers to {_mean}"), weight=1.0)  # fmt: skip
KINDS["must_cycle_path"] = SignKind(
    "round", "path", ("blue", "white"), ("blue circular sign with a white bicycle", "cycle path sign")
)
KINDS["must_foot_path"] = SignKind(
    "round", "path", ("blue", "white"), ("blue circular sign with a white walking figure", "footpath sign")
)
KINDS["parking"] = SignKind("square", "parking", ("blue", "white"), ("parking sign", 'blue square sign with a white letter "P"', "blue parking sign"),
    0.65, 0.65, 1.6)  # fmt: skip
KINDS["crossing"] = SignKind("square", "crossing", ("blue", "white"), ("pedestrian crossing sign",
    "blue square sign with a figure in a white triangle", "blue pedestrian crossing sign"), 0.7, 0.7, 1.6)  # fmt: skip
KINDS["one_way"] = SignKind(
    "plate",
    "one way",
    ("blue", "white"),
    ("one-way sign", "blue rectangular sign with a white arrow"),
    0.9,
    0.4,
    0.8,
)
for _c, _t in (("blue", "white"), ("green", "white"), ("yellow", "black"), ("white", "black")):
    KINDS[f"guide_{_c}"] = SignKind("board", "direction", (_c, _t), (f"{_c} direction sign", f"{_c} guide sign with {_t} text",
        f"large {_c} board with {_t} lettering and an arrow"), 2.0, 1.3, 0.7)  # fmt: skip
for _c, _t in (("blue", "white"), ("green", "white"), ("white", "black")):
    KINDS[f"street_{_c}"] = SignKind("plate", "street name", (_c, _t), (f"{_c} street name sign", f"{_c} street name plate with {_t} letters"),
        0.95, 0.26, 0.5)  # fmt: skip

KINDS["plate_white"] = SignKind("plate", "supplementary", ("white", "black"), ("small white rectangular plate with black text",
    "small white supplementary sign", "white plate with black letters"), 0.6, 0.33, 0.6)  # fmt: skip

# Families that belong to the red-ringed round signs when only the ring is spoken of.
RED_RING = {"speed limit", "prohibition"}


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


def face(kind: str, ppm: float, rng: np.random.Generator) -> Sprite:
    """The plate of a sign, `KINDS[kind]` meters large, at `ppm` pixels a meter."""
    k = KINDS[kind]
    w, h = k.width, k.height
    s = Sprite(w, h, ppm)
    red, blue = sample_color(rng, "red"), sample_color(rng, "blue")
    white: Rgb = (int(rng.integers(215, 256)),) * 3
    black: Rgb = (int(rng.integers(5, 45)),) * 3
    yellow, green = (
        sample_color(rng, "yellow"),
        sample_color(rng, "green", "dark" if rng.random() < 0.5 else ""),
    )
    cx, cy, r = w / 2, h / 2, w / 2
    ring = rng.uniform(0.13, 0.22)
    f = Field(s, cx, cy, w * 0.62)
    if kind.startswith("speed_") or k.family == "prohibition":
        s.ellipse(cx, cy, r, r, white if rng.random() < 0.3 else red)
        s.ellipse(cx, cy, r * 0.96, r * 0.96, red)
        s.ellipse(cx, cy, r * (1 - ring * 1.25), r * (1 - ring * 1.25), white)
        if kind.startswith("speed_"):
            t = kind[6:]
            half = (0.40 if len(t) == 2 else 0.50) * rng.uniform(0.9, 1.08)
            f.text(
                t,
                0.5 - half,
                0.5 - rng.uniform(0.32, 0.40),
                0.5 + half,
                0.5 + rng.uniform(0.32, 0.40),
                black,
                int(rng.integers(2, 6)),
            )
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
    elif k.family == "end of restriction":
        gray: Rgb = (int(rng.integers(85, 150)),) * 3
        s.ellipse(cx, cy, r, r, black if rng.random() < 0.6 else gray)
        s.ellipse(cx, cy, r * 0.93, r * 0.93, white)
        if kind.startswith("end_") and kind[4:].isdigit():
            t = kind[4:]
            half = 0.42 if len(t) == 2 else 0.5
            f.text(t, 0.5 - half, 0.14, 0.5 + half, 0.86, gray, 4)
        elif kind == "end_overtaking":
            car_front(f, gray, 0.26, 0.32, 0.46)
            car_front(f, gray, 0.76, 0.32, 0.46)
        elif kind == "end_overtaking_trucks":
            truck_side(f, gray, 0.26, 0.3, 0.56)
            car_front(f, gray, 0.8, 0.32, 0.42)
        big = Field(s, cx, cy, w)
        for d in np.linspace(-0.09, 0.09, int(rng.integers(3, 6))):
            big.line([(0.2 + d, 0.2 - d), (0.8 + d, 0.8 - d)], 0.024, black)
    elif kind == "no_entry":
        s.ellipse(cx, cy, r, r, white if rng.random() < 0.5 else red)
        s.ellipse(cx, cy, r * 0.95, r * 0.95, red)
        bar = rng.uniform(0.09, 0.13) * w
        s.rect(cx - 0.37 * w, cy - bar, cx + 0.37 * w, cy + bar, white)
    elif kind in ("no_stopping", "no_parking"):
        s.ellipse(cx, cy, r, r, red)
        s.ellipse(cx, cy, r * 0.78, r * 0.78, blue)
        d = 0.30 * w
        s.line([(cx - d, cy + d), (cx + d, cy - d)], 0.1 * w, red)
        if kind == "no_stopping":
            s.line([(cx - d, cy - d), (cx + d, cy + d)], 0.1 * w, red)
    elif k.shape in ("triangle", "inverted"):
        down = k.shape == "inverted"
        s.poly(_triangle(w, h, 0.0, down), white if rng.random() < 0.5 else red)
        s.poly(_triangle(w, h, 0.06, down), red)
        inner = rng.uniform(0.36, 0.5)
        back = sample_color(rng, "yellow") if not down and rng.random() < 0.05 else white
        s.poly(_triangle(w, h, inner, down, 0.04), back)
        if not down:
            size = (1 - inner) * rng.uniform(0.62, 0.74)
            warning(Field(s, cx, h * rng.uniform(0.36, 0.40), w * size * 0.88), kind[5:], black)
    elif kind == "stop":
        s.poly(_ngon(8, r / np.cos(np.pi / 8), cx, cy, np.pi / 8), white)
        s.poly(_ngon(8, r * 0.94 / np.cos(np.pi / 8), cx, cy, np.pi / 8), red)
        f.text(
            "STOP",
            -0.08,
            0.5 - rng.uniform(0.2, 0.28),
            1.08,
            0.5 + rng.uniform(0.2, 0.28),
            white,
            int(rng.integers(2, 5)),
        )
    elif kind == "priority_road":
        s.poly(_ngon(4, r, cx, cy, 0), black if rng.random() < 0.3 else white)
        s.poly(_ngon(4, r * 0.95, cx, cy, 0), white)
        s.poly(_ngon(4, r * rng.uniform(0.62, 0.76), cx, cy, 0), yellow)
    elif k.shape == "diamond":
        s.poly(_ngon(4, r, cx, cy, 0), black)
        s.poly(_ngon(4, r * 0.94, cx, cy, 0), yellow)
        warning(Field(s, cx, cy, w * 0.46), kind[7:], black)
    elif kind.startswith("must_"):
        s.ellipse(cx, cy, r, r, white if rng.random() < 0.6 else blue)
        s.ellipse(cx, cy, r * 0.95, r * 0.95, blue)
        mandatory(f, kind[5:], white)
    elif kind == "parking":
        s.rounded(0, 0, w, h, 0.05, white)
        s.rounded(0.02, 0.02, w - 0.02, h - 0.02, 0.05, blue)
        f.text("P", 0.18, 0.0, 0.82, 1.0, white, 5)
    elif kind == "crossing":
        s.rounded(0, 0, w, h, 0.05, blue)
        s.poly([(0.1 * w, 0.14 * h), (0.9 * w, 0.14 * h), (0.5 * w, 0.9 * h)], white)
        person(Field(s, cx, h * 0.40, w * 0.5), black, 0.5, 1.0, 0.2)
    elif kind == "one_way":
        s.rounded(0, 0, w, h, 0.04, blue)
        to_right = rng.random() < 0.5
        xs = (0.05, 0.95) if to_right else (0.95, 0.05)
        arrow(Field(s, cx, cy, w * 0.9), [(xs[0], 0.5), (xs[1], 0.5)], 0.13, white, 0.17)
    else:
        _board(
            s, kind, w, h, {"blue": blue, "green": green, "yellow": yellow, "white": white}, white, black, rng
        )
    return s


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


def _board(
    s: Sprite,
    kind: str,
    w: float,
    h: float,
    paints: dict[str, Rgb],
    white: Rgb,
    black: Rgb,
    rng: np.random.Generator,
) -> None:
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
    s.rounded(edge, edge, w - edge, h - edge, 0.05 * min(w, h), paints[color])
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


def kind_weights() -> tuple[list[str], np.ndarray]:
    """The kinds of signs, and how often each is drawn (they sum to 1)."""
    names = list(KINDS)
    p = np.array([KINDS[n].weight for n in names])
    return names, p / p.sum()
