"""Named colors: wide HSV ranges to draw from, and which names may be taken for one another."""

from __future__ import annotations

import colorsys

import numpy as np

Rgb = tuple[int, int, int]

# name -> shade -> (hue from, hue to in degrees, saturation from, to, value from, to)
_RANGES: dict[str, dict[str, tuple[float, float, float, float, float, float]]] = {
    "red": {"": (-8, 7, 0.78, 1.0, 0.66, 0.98), "dark": (-8, 5, 0.70, 1.0, 0.36, 0.50)},
    "orange": {"": (20, 32, 0.82, 1.0, 0.86, 1.0)},
    "yellow": {"": (46, 58, 0.70, 1.0, 0.86, 1.0)},
    "green": {
        "": (95, 152, 0.55, 1.0, 0.45, 0.78),
        "dark": (100, 155, 0.50, 0.95, 0.20, 0.33),
        "light": (85, 140, 0.35, 0.55, 0.82, 0.96),
    },
    "blue": {
        "": (208, 236, 0.65, 1.0, 0.60, 0.95),
        "dark": (214, 242, 0.60, 0.95, 0.24, 0.40),
        "light": (195, 214, 0.28, 0.48, 0.86, 1.0),
    },
    "purple": {"": (268, 294, 0.45, 0.85, 0.42, 0.78)},
    "pink": {"": (322, 346, 0.32, 0.55, 0.90, 1.0)},
    "brown": {"": (18, 30, 0.50, 0.78, 0.28, 0.48)},
    "beige": {"": (32, 46, 0.18, 0.33, 0.76, 0.92)},
    "white": {"": (0, 360, 0.0, 0.05, 0.91, 1.0)},
    "silver": {"": (190, 230, 0.0, 0.06, 0.68, 0.78)},
    "gray": {
        "": (0, 360, 0.0, 0.08, 0.42, 0.58),
        "dark": (0, 360, 0.0, 0.10, 0.25, 0.34),
        "light": (0, 360, 0.0, 0.06, 0.64, 0.74),
    },
    "black": {"": (0, 360, 0.0, 0.15, 0.04, 0.14)},
}

COLORS = tuple(_RANGES)

# Pairs a reader may mix up: a sentence must never rest on telling them apart.
_ALIKE = {
    frozenset(pair)
    for pair in (
        ("red", "orange"), ("red", "pink"), ("red", "brown"), ("orange", "yellow"), ("orange", "brown"),
        ("yellow", "beige"), ("beige", "white"), ("beige", "brown"), ("beige", "silver"), ("white", "silver"),
        ("silver", "gray"), ("gray", "black"), ("gray", "white"), ("purple", "pink"), ("purple", "blue"),
        ("brown", "black"), ("beige", "gray"), ("orange", "beige"), ("red", "purple"),
    )
}  # fmt: skip
_DARK_ALIKE = {"black", "brown", "gray", "purple"}
_LIGHT_ALIKE = {"white", "silver", "gray", "beige"}


def sample_color(rng: np.random.Generator, name: str, shade: str = "") -> Rgb:
    """An RGB triple (0 to 255) that reads as `name` ("blue") in `shade` ("", "light", "dark")."""
    h0, h1, s0, s1, v0, v1 = _RANGES[name][shade]
    hue = (h0 + (h1 - h0) * rng.random()) % 360 / 360
    saturation, value = s0 + (s1 - s0) * rng.random(), v0 + (v1 - v0) * rng.random()
    r, g, b = colorsys.hsv_to_rgb(hue, saturation, value)
    return int(r * 255), int(g * 255), int(b * 255)


def shades(name: str) -> tuple[str, ...]:
    """The shades that a color has: "", "light", "dark"."""
    return tuple(_RANGES[name])


def color_match(said: str, said_shade: str, color: str | None, shade: str) -> float:
    """1 when an object of `color`/`shade` is surely what was said, 0 when surely not, 0.5 when one could argue."""
    if color is None:
        return 0.5
    if said == color:
        if not said_shade or said_shade == shade:
            return 1.0
        return 0.5 if "" in (said_shade, shade) else 0.0
    if frozenset((said, color)) in _ALIKE:
        return 0.5
    if (shade == "dark" and said in _DARK_ALIKE) or (said_shade == "dark" and color in _DARK_ALIKE):
        return 0.5
    if (shade == "light" and said in _LIGHT_ALIKE) or (said_shade == "light" and color in _LIGHT_ALIKE):
        return 0.5
    return 0.0


def mix(a: Rgb, b: Rgb, t: float) -> Rgb:
    """`a` moved by the share `t` towards `b`."""
    return tuple(round(x + (y - x) * t) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def darker(a: Rgb, t: float) -> Rgb:
    """A color mixed with black by the share `t`."""
    return mix(a, (0, 0, 0), t)


def lighter(a: Rgb, t: float) -> Rgb:
    """A color mixed with white by the share `t`."""
    return mix(a, (255, 255, 255), t)
