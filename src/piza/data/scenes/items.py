"""One thing to be drawn, and makers of every kind of thing: its size, its look, its name and how to paint it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from . import people, signs, street, vehicles
from .palette import Rgb, darker, sample_color, shades
from .sprite import Sprite, Style

Paint = Callable[[float, Style, np.random.Generator], np.ndarray]


@dataclass
class Item:
    """A thing on the ground plan. Meters; `base` is the height of its lower edge above the ground."""

    category: str  # "" for what is drawn but never spoken of
    width: float
    height: float
    paint: Paint
    color: str | None = None
    shade: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    x: float = 0.0
    z: float = 10.0
    base: float = 0.0
    pole: int = -1  # things with the same number hang on one pole
    seed: int = 0
    glow: tuple[float, float, float, Rgb] | None = None  # a lit lamp: board meters x, y, radius, color


Picker = Callable[[np.random.Generator, tuple[str, ...]], tuple[str, str]]


def picker(rng: np.random.Generator) -> Picker:
    """Chooses colors, preferring a few for the whole scene so that things share them."""
    liked = list(
        rng.choice(["red", "yellow", "blue", "green", "white", "black", "gray", "orange"], 4, replace=False)
    )

    def pick(rng: np.random.Generator, options: tuple[str, ...]) -> tuple[str, str]:
        both = [c for c in options if c in liked]
        name = str(rng.choice(both)) if both and rng.random() < 0.65 else str(rng.choice(options))
        shade = str(rng.choice(shades(name))) if rng.random() < 0.35 else ""
        return name, shade

    return pick


CAR_COLORS = (
    "red",
    "blue",
    "white",
    "black",
    "gray",
    "silver",
    "yellow",
    "green",
    "orange",
    "brown",
    "beige",
)
CLOTHES = (
    "red",
    "blue",
    "white",
    "black",
    "gray",
    "yellow",
    "green",
    "orange",
    "pink",
    "purple",
    "brown",
    "beige",
)
TROUSERS = ("blue", "black", "gray", "white", "brown", "beige", "red", "green")


def make_vehicle(rng: np.random.Generator, pick: Picker, category: str, view: str) -> Item:
    """A "car", "van", "truck" or "bus" seen from the "front", "rear" or "side"; often turned a little."""
    color, shade = pick(rng, CAR_COLORS)
    if category in ("van", "truck", "bus") and rng.random() < 0.3:
        color, shade = "white", ""
    paint = sample_color(rng, color, shade)
    body = str(rng.choice(vehicles.BODIES)) if category == "car" else category
    w, h = vehicles.size_of(body, view)
    w, h = w * rng.uniform(0.93, 1.07), h * rng.uniform(0.94, 1.06)
    attributes = {"view": view}
    if category == "car":
        extra = str(rng.choice(["", "", "", "", "", "rack", "taxi"]))
        roof: Rgb | None = None
        attributes |= {"body": body, "extra": extra}
        if rng.random() < 0.1:
            other = "black" if color not in ("black", "gray", "brown") else "white"
            roof, attributes["roof"] = sample_color(rng, other), other
        h *= 1.16 if extra else 1.0

        def show(s: Sprite, side: str, style: Style, r: np.random.Generator) -> None:
            vehicles.draw_car(s, paint, body, side, extra, roof, style, r)
    elif category == "truck":
        kind = str(rng.choice(["box", "box", "tank", "dump"]))
        cab_color, cab_shade = pick(
            rng, ("red", "blue", "white", "black", "yellow", "green", "orange", "gray")
        )
        if rng.random() < 0.5:
            cab_color, cab_shade = color, shade
        attributes["truck"] = kind
        cab = sample_color(rng, cab_color, cab_shade) if cab_color != color else paint
        if cab_color != color and view != "rear":
            attributes["cab"] = cab_color
        if view == "front" and cab_color != color:  # the cab is what one sees
            del attributes["cab"]
            attributes["load"], color, shade = color, cab_color, cab_shade

        def show(s: Sprite, side: str, style: Style, r: np.random.Generator) -> None:
            vehicles.draw_truck(s, paint, cab, side, kind, style, r)
    elif category == "van":

        def show(s: Sprite, side: str, style: Style, r: np.random.Generator) -> None:
            vehicles.draw_van(s, paint, side, style, r)
    else:

        def show(s: Sprite, side: str, style: Style, r: np.random.Generator) -> None:
            vehicles.draw_bus(s, paint, side, style, r)

    length = vehicles.SIZES[body][0]
    turn = rng.uniform(0.08, 0.32) if view != "side" and rng.random() < 0.6 else 0.0
    gain = rng.uniform(0.75, 1.08)

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        show(s, view, style, r)
        out = s.finish(style, r)
        if turn:
            flank = Sprite(length, h, ppm)
            show(flank, "side", style, r)
            out = _turned(
                out,
                flank.finish(style, r),
                turn * length * ppm,
                view == "front",
                paint if category == "car" else None,
            )
        if r.random() < 0.5:
            out = np.ascontiguousarray(out[:, ::-1])
        return worn(out, gain, 0.0)

    return Item(category, w + turn * length, h, draw, color, shade, attributes)


def _turned(end: np.ndarray, flank: np.ndarray, depth_px: float, front: bool, fill: Rgb | None) -> np.ndarray:
    """A vehicle's front or rear with its flank, seen at a slant, to the right of it; `fill` closes a car's cabin."""
    if front:
        flank = flank[:, ::-1]
    h, w = end.shape[:2]
    lap = int(0.16 * w)
    d = max(3, int(depth_px)) + lap
    flank = cv2.resize(np.ascontiguousarray(flank), (d, h), interpolation=cv2.INTER_AREA)
    far = np.array([(0, 0), (d, 0.06 * h), (d, 0.93 * h), (0, h)], np.float32)
    flat = np.array([(0, 0), (d, 0), (d, h), (0, h)], np.float32)
    flank = cv2.warpPerspective(flank, cv2.getPerspectiveTransform(flat, far), (d, h), flags=cv2.INTER_LINEAR)
    rgb = np.ascontiguousarray(flank[..., :3])
    flank[..., :3] = cv2.convertScaleAbs(rgb, alpha=0.86)
    out = np.zeros((h, w - lap + d, 4), np.uint8)
    out[:, w - lap :] = flank
    if fill:
        shape = [
            (0.7 * w, 0.06 * h),
            (w - lap + 0.38 * d, 0.08 * h),
            (w - lap + 0.3 * d, 0.5 * h),
            (0.8 * w, 0.5 * h),
        ]
        cv2.fillPoly(out, [np.array(shape, np.int32)], (*darker(fill, 0.18), 255), cv2.LINE_AA)
        pane = [
            (0.92 * w, 0.14 * h),
            (w - lap + 0.34 * d, 0.15 * h),
            (w - lap + 0.3 * d, 0.38 * h),
            (0.98 * w, 0.38 * h),
        ]
        cv2.fillPoly(out, [np.array(pane, np.int32)], (52, 60, 68, 255), cv2.LINE_AA)
    roi = out[:, :w]
    keep = cv2.bitwise_not(np.ascontiguousarray(end[..., 3]))
    roi[:] = cv2.add(cv2.multiply(roi, cv2.merge([keep, keep, keep, keep]), scale=1 / 255), end)
    return out


def _done(
    s: Sprite,
    style: Style,
    rng: np.random.Generator,
    squeeze: float = 1.0,
    tilt: float = 0.0,
    flip: bool = False,
) -> np.ndarray:
    out = s.finish(style, rng, squeeze, tilt)
    return np.ascontiguousarray(out[:, ::-1]) if flip else out


def _look(rng: np.random.Generator, pick: Picker, attributes: dict[str, str]) -> tuple[str, str, dict]:
    color, shade = pick(rng, CLOTHES)
    low, low_shade = pick(rng, TROUSERS)
    attributes["trousers"] = low
    look: dict = {
        "top": sample_color(rng, color, shade), "bottom": sample_color(rng, low, low_shade),
        "skin": people.SKINS[int(rng.integers(len(people.SKINS)))], "hair": people.HAIRS[int(rng.integers(len(people.HAIRS)))],
    }  # fmt: skip
    return color, shade, look


def make_person(rng: np.random.Generator, pick: Picker) -> Item:
    attributes = {
        "pose": str(rng.choice(["standing", "walking"])),
        "upper": str(rng.choice(["jacket", "shirt", "coat", "sweater", "top"])),
    }
    color, shade, look = _look(rng, pick, attributes)
    child = rng.random() < 0.12
    tall = rng.uniform(1.05, 1.3) if child else rng.uniform(1.6, 1.9)
    if child:
        attributes["age"] = "child"
    look |= {
        "pose": attributes["pose"],
        "coat": attributes["upper"] == "coat",
        "long_hair": rng.random() < 0.45,
        "stripe": rng.random() < 0.1,
    }
    look["lower"] = str(rng.choice(["trousers", "trousers", "trousers", "shorts", "skirt"]))
    attributes["lower"] = look["lower"]
    hats = ("red", "blue", "yellow", "white", "black", "green", "orange")
    attributes["gender"] = (
        "child" if child else "woman" if look["long_hair"] or look["lower"] == "skirt" else "man"
    )
    if rng.random() < 0.35:
        attributes["hat"], s = pick(rng, hats)
        look["hat"] = sample_color(rng, attributes["hat"], s)
        attributes["hat_kind"] = str(rng.choice(["hat", "cap", "helmet"]))
    if rng.random() < 0.35:
        attributes["bag"], s = pick(rng, ("red", "blue", "yellow", "black", "green", "brown", "orange"))
        look["bag"], look["bag_kind"] = (
            sample_color(rng, attributes["bag"], s),
            str(rng.choice(["bag", "backpack"])),
        )
        attributes["bag_kind"] = look["bag_kind"]
    room, top = 0.95 * tall / 1.75, tall
    if rng.random() < 0.13:
        attributes["umbrella"], s = pick(
            rng, ("red", "blue", "yellow", "black", "green", "white", "pink", "purple")
        )
        look["umbrella"] = sample_color(rng, attributes["umbrella"], s)
        room, top = 1.45 * tall / 1.75, tall * 1.28

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(room, top + 0.05, ppm)
        people.draw_person(s, look, style, r, tall)
        return _done(s, style, r, flip=r.random() < 0.5)

    return Item("person", room, top + 0.05, draw, color, shade, attributes)


def make_rider(rng: np.random.Generator, pick: Picker, category: str) -> Item:
    """A "cyclist" or a "motorcyclist"; their color is that of the upper garment."""
    view = str(rng.choice(["side", "front", "rear"]))
    attributes = {"view": view}
    color, shade, look = _look(rng, pick, attributes)
    frame_color, s0 = pick(rng, ("red", "blue", "green", "black", "white", "yellow", "orange"))
    attributes["ride"] = frame_color
    ride = sample_color(rng, frame_color, s0)
    if category == "motorcyclist" or rng.random() < 0.6:
        attributes["hat"], s1 = pick(rng, ("red", "blue", "white", "black", "yellow"))
        attributes["hat_kind"] = "helmet"
        look["hat"] = sample_color(rng, attributes["hat"], s1)
    side = view == "side"
    w, h = ((2.1 if side else 0.9), 1.72) if category == "motorcyclist" else ((1.75 if side else 0.65), 1.8)

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        if category == "cyclist":
            people.draw_cyclist(s, look, ride, side, r)
        else:
            people.draw_rider(s, look, ride, view, r)
        return _done(s, style, r, flip=r.random() < 0.5)

    return Item(category, w, h, draw, color, shade, attributes)


def make_bike(rng: np.random.Generator, pick: Picker, category: str) -> Item:
    """A parked "bicycle" or "motorcycle"."""
    view = "side" if rng.random() < 0.75 else "rear"
    color, shade = pick(rng, ("red", "blue", "green", "black", "white", "yellow", "orange"))
    paint = sample_color(rng, color, shade)
    length, width, h = vehicles.SIZES[category]
    w = length if view == "side" else width

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        if category == "bicycle":
            vehicles.draw_bicycle(s, paint, view == "side", r)
        else:
            vehicles.draw_motorcycle(s, paint, view == "side", True, r)
        return _done(s, style, r, flip=r.random() < 0.5)

    return Item(category, w, h, draw, color, shade, {"view": view})


def make_sign(rng: np.random.Generator, kind: str, pole: int = -1) -> Item:
    k = signs.KINDS[kind]
    size = rng.uniform(0.9, 1.15) if k.shape != "board" else rng.uniform(0.7, 1.6)
    squeeze = 1.0 if rng.random() < 0.6 else rng.uniform(0.72, 1.0)
    tilt = 0.0 if rng.random() < 0.6 else rng.normal(0, 3.5)

    gain = rng.uniform(0.42, 0.85) if rng.random() < 0.3 else rng.uniform(0.9, 1.1)
    faded = rng.uniform(0.1, 0.4) if rng.random() < 0.2 else 0.0

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        return worn(_done(signs.face(kind, ppm * size, r), style, r, squeeze, tilt), gain, faded)

    return Item("sign", k.width * size, k.height * size, draw, k.colors[0], "", {"kind": kind}, pole=pole)


# category -> (width, height, colors, painter, colors of its band or None)
_PLAIN: dict[str, tuple[float, float, tuple[str, ...], Callable, tuple[str, ...] | None]] = {
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
        return _done(s, style, r, flip=category != "flag" and r.random() < 0.5)

    return Item(category, w, h, draw, color, shade, {})


def worn(rgba: np.ndarray, gain: float, faded: float) -> np.ndarray:
    """Darken or brighten a finished sprite by `gain` and wash its colors out towards gray by the share `faded`."""
    a = rgba[..., 3]
    rgb = np.ascontiguousarray(rgba[..., :3])
    if faded:
        b = cv2.convertScaleAbs(a, alpha=0.62)
        gray = cv2.merge([b, b, b])
        rgb = cv2.addWeighted(rgb, 1 - faded, gray, faded, 0)
    rgb = cv2.min(cv2.convertScaleAbs(rgb, alpha=gain), cv2.merge([a, a, a]))
    return np.dstack([rgb, a])


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
        return _done(s, style, r)

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
    kind = str(rng.choice(["arm", "globe"]))
    h = rng.uniform(6.0, 9.0) if kind == "arm" else rng.uniform(3.2, 4.5)
    w = rng.uniform(1.8, 2.6) if kind == "arm" else 0.7
    color = str(rng.choice(["gray", "black", "green", "silver"]))
    paint = sample_color(rng, color, "dark" if color == "green" else "")
    flip = rng.random() < 0.5

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        street.draw_lamp(s, paint, kind, r)
        return _done(s, style, r, flip=flip)

    return Item("lamp", w, h, draw, color, "dark" if color == "green" else "", {"kind": kind})


def make_tree(rng: np.random.Generator, autumn: bool) -> Item:
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
    w, h = rng.uniform(2.5, 9), rng.uniform(0.7, 1.6)
    leaf: Rgb = (int(rng.integers(40, 85)), int(rng.integers(85, 130)), int(rng.integers(30, 60)))

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        street.draw_hedge(s, leaf, r)
        return street.leafy(s.finish(style, r), r)

    return Item("hedge", w, h, draw, None, "", {})
