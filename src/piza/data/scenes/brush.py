"""What sky, ground and buildings are painted with: outlines of ground strips, fills, haze and varied colors."""

from __future__ import annotations

import cv2
import numpy as np

from .camera import Camera
from .palette import Rgb

FAR = 900.0


def veil(part: np.ndarray, air: Rgb, t: float) -> np.ndarray:
    """An image faded towards the color of the air by the share `t`."""
    tint = (air[0] * t, air[1] * t, air[2] * t, 0.0)
    faded: np.ndarray = cv2.add(cv2.convertScaleAbs(part, alpha=1 - t), tint)  # type: ignore[call-overload]
    return faded


def vary(rng: np.random.Generator, c: Rgb, spread: int) -> Rgb:
    """A color at most `spread` lighter or darker, and a little off in hue."""
    d = rng.integers(-spread, spread + 1)
    e = rng.integers(-spread // 3, spread // 3 + 1, 3)
    return tuple(int(np.clip(v + d + k, 0, 255)) for v, k in zip(c, e, strict=True))  # type: ignore[return-value]


def strip_outline(cam: Camera, x0: float, x1: float, z0: float, z1: float, bend: bool = True) -> np.ndarray:
    """The outline in the frame of a strip of ground between two x, from z0 to z1; fixed-point with 4 bits."""
    z0 = max(z0, cam.near * 0.6)
    if z1 <= z0:
        return np.zeros((0, 2), np.int32)
    z = np.geomspace(z0, z1, (40 if z1 > 6 * z0 else 8) if bend and cam.curve else 2)
    s = cam.focal / z
    mid = cam.bend(z) if bend else 0.0
    v = cam.horizon + cam.eye * s
    a = np.stack([cam.width / 2 + (x0 + mid) * s, v], 1)
    b = np.stack([cam.width / 2 + (x1 + mid) * s, v], 1)
    return np.round(np.concatenate([a, b[::-1]]).clip(-3e4, 3e4) * 16).astype(np.int32)


def fill_polygon(frame: np.ndarray, pts: np.ndarray, color: Rgb) -> None:
    """Fill an outline of fixed-point points with 4 bits, in place."""
    if len(pts) > 2:
        cv2.fillPoly(frame, [pts], color, cv2.LINE_AA, 4)
