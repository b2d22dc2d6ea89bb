"""One object to be drawn, how its colors are chosen, and how a sprite is finished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from .palette import Rgb, shades
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


def finished(
    s: Sprite,
    style: Style,
    rng: np.random.Generator,
    squeeze: float = 1.0,
    tilt: float = 0.0,
    flip: bool = False,
) -> np.ndarray:
    """The sprite as (height, width, 4) uint8 premultiplied RGBA, mirrored with `flip`."""
    out = s.finish(style, rng, squeeze, tilt)
    return np.ascontiguousarray(out[:, ::-1]) if flip else out


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
