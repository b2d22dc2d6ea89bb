"""A small drawing board with an alpha channel, and laying it onto the frame."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

from .palette import Rgb

_SHIFT = 4
_ONE = 1 << _SHIFT
SOLID = 128  # alpha from which a pixel counts as the object's


@dataclass(frozen=True)
class Style:
    """How one picture is drawn; the same for all that is in it."""

    outline: float  # 0: none, else how dark the rim of every shape is
    shading: float  # strength of the light-to-dark run over a shape
    grain: float  # strength of the texture on shapes
    saturation: float
    detail: float  # chance that an optional detail is drawn
    light_from_left: bool


def sample_style(rng: np.random.Generator) -> Style:
    """A random style for all sprites of a scene."""
    return Style(
        outline=float(rng.uniform(0.3, 0.8)) if rng.random() < 0.3 else 0.0,
        shading=float(rng.uniform(0.1, 0.5)) if rng.random() < 0.7 else 0.0,
        grain=float(rng.uniform(4, 16)) if rng.random() < 0.5 else 0.0,
        saturation=float(rng.uniform(0.82, 1.1)),
        detail=float(rng.choice([0.2, 0.6, 0.9])),
        light_from_left=bool(rng.random() < 0.5),
    )


class Sprite:
    """A board of `width` x `height` meters: x from the left edge, y up from the lower edge.

    Colors are kept premultiplied by alpha, so that shrinking the board by area is right at the rims.
    """

    def __init__(self, width: float, height: float, ppm: float) -> None:
        self.width, self.height, self.ppm = width, height, ppm
        longest = max(width, height) * ppm
        self.over = 4 if longest < 60 else 3 if longest < 110 else 2 if longest < 260 else 1
        self.w_px, self.h_px = ceil(width * ppm) + 2, ceil(height * ppm) + 2
        self.data = np.zeros((self.h_px * self.over, self.w_px * self.over, 4), np.uint8)
        self._k = ppm * self.over
        self._left = self.over
        self._bottom = self.data.shape[0] - self.over

    def points(self, pts: object) -> np.ndarray:
        """Points in meters, y up from the foot, as fixed-point pixels."""
        p = np.asarray(pts, np.float64).reshape(-1, 2)
        out = np.empty_like(p)
        out[:, 0] = (p[:, 0] * self._k + self._left - 0.5) * _ONE
        out[:, 1] = (self._bottom - p[:, 1] * self._k - 0.5) * _ONE
        return np.round(out).astype(np.int32)

    def poly(self, pts: object, color: Rgb) -> None:
        """Fill a polygon of points in meters."""
        cv2.fillPoly(self.data, [self.points(pts)], (*color, 255), cv2.LINE_AA, _SHIFT)

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: Rgb) -> None:
        """Fill a rectangle in meters."""
        self.poly(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), color)

    def rounded(self, x0: float, y0: float, x1: float, y1: float, r: float, color: Rgb) -> None:
        """Fill a rectangle with round corners of radius `r`, in meters."""
        r = min(r, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
        a = np.linspace(0, np.pi / 2, 4)
        c, s = np.cos(a) * r, np.sin(a) * r
        xs = np.concatenate([x1 - r + c, x0 + r - c[::-1], x0 + r - c, x1 - r + c[::-1]])
        ys = np.concatenate([y1 - r + s, y1 - r + s[::-1], y0 + r - s, y0 + r - s[::-1]])
        self.poly(np.stack([xs, ys], 1), color)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, color: Rgb) -> None:
        """Fill an ellipse in meters."""
        center = self.points((cx, cy))[0]
        axes = (max(1, int(rx * self._k * _ONE)), max(1, int(ry * self._k * _ONE)))
        cv2.ellipse(
            self.data,
            (int(center[0]), int(center[1])),
            axes,
            0,
            0,
            360,
            (*color, 255),
            -1,
            cv2.LINE_AA,
            _SHIFT,
        )

    def arc(self, cx: float, cy: float, r: float, start: float, end: float, thick: float, color: Rgb) -> None:
        """Part of a circle, degrees counted counterclockwise from the right."""
        a = np.radians(np.linspace(start, end, max(4, int(abs(end - start) / 15) + 2)))
        self.line(np.stack([cx + r * np.cos(a), cy + r * np.sin(a)], 1), thick, color)

    def line(self, pts: object, thick: float, color: Rgb) -> None:
        """Draw a line of points, `thick` meters wide."""
        t = max(1, round(thick * self._k))
        cv2.polylines(self.data, [self.points(pts)], False, (*color, 255), t, cv2.LINE_AA, _SHIFT)

    def stamp(self, mask: np.ndarray, x0: float, y0: float, x1: float, y1: float, color: Rgb) -> None:
        """Paint `color` through a uint8 mask stretched over the rectangle."""
        (ax, by), (bx, ay) = self.points(((x0, y0), (x1, y1))) // _ONE
        ax, ay, bx, by = int(ax), int(ay), int(bx), int(by)
        if (
            bx - ax < 1
            or by - ay < 1
            or ax < 0
            or ay < 0
            or bx > self.data.shape[1]
            or by > self.data.shape[0]
        ):
            return
        m = cv2.resize(mask, (bx - ax, by - ay), interpolation=cv2.INTER_AREA)[..., None]
        roi = self.data[ay:by, ax:bx]
        paint = np.array((*color, 255), np.uint16)
        roi[:] = ((roi * (255 - m.astype(np.uint16)) + paint * m) // 255).astype(np.uint8)

    def finish(
        self, style: Style, rng: np.random.Generator, squeeze: float = 1.0, tilt: float = 0.0
    ) -> np.ndarray:
        """The board shrunk to frame pixels: uint8 (h, w, 4), premultiplied RGB and alpha."""
        data: np.ndarray = self.data
        if style.outline:
            k = max(3, int(0.05 * min(self.width, self.height) * self._k) | 1)
            inner = cv2.erode(data[..., 3], np.ones((min(k, 9), min(k, 9)), np.uint8), borderValue=0)
            rim = cv2.subtract(data[..., 3], inner)
            keep = cv2.LUT(rim, (255 - np.arange(256) * style.outline).astype(np.uint8))
            data = cv2.multiply(data, cv2.merge([keep, keep, keep, np.full_like(keep, 255)]), scale=1 / 255)
        if tilt:
            h, w = data.shape[:2]
            turn = cv2.getRotationMatrix2D((w / 2, h / 2), tilt, 1.0)
            data = cv2.warpAffine(data, turn, (w, h), flags=cv2.INTER_LINEAR)
        width = max(2, round(self.w_px * squeeze))
        if self.over > 1 or width != self.w_px:
            data = cv2.resize(data, (width, self.h_px), interpolation=cv2.INTER_AREA)
        if style.shading or style.grain:
            data = self._tone(data, style, rng)
        return data

    @staticmethod
    def _tone(data: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
        """Light from above and one side, and texture, worked out at low resolution."""
        h, w = data.shape[:2]
        sh, sw = min(96, max(1, h // 2)), min(96, max(1, w // 2))
        run = np.linspace(128 + 77 * style.shading, 128 - 128 * style.shading, sh, dtype=np.float32)[:, None]
        side = np.linspace(1, 1 - 0.5 * style.shading, sw, dtype=np.float32)[None]
        gain = run * (side if style.light_from_left else side[:, ::-1])
        if style.grain:
            gain += rng.standard_normal((sh, sw), dtype=np.float32) * (style.grain / 2)
        g = cv2.resize(np.clip(gain, 0, 255).astype(np.uint8), (w, h))
        full = np.full_like(g, 128)
        data = cv2.multiply(data, cv2.merge([g, g, g, full]), scale=1 / 128)
        a = cv2.extractChannel(data, 3)
        return cv2.min(data, cv2.merge([a, a, a, a]))


def blend(
    frame: np.ndarray,
    ids: np.ndarray,
    rgba: np.ndarray,
    left: int,
    top: int,
    number: int,
    haze: float,
    air: Rgb,
) -> tuple[int, tuple[int, int, int, int]] | None:
    """Lay a premultiplied sprite onto the frame and mark its solid pixels in `ids` with `number`.

    Returns the count of solid pixels of the whole sprite and the frame rectangle it touched, None when it lies outside.
    """
    h, w = rgba.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, frame.shape[1]), min(top + h, frame.shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    solid = int(np.count_nonzero(rgba[..., 3] >= SOLID))
    part = rgba[y0 - top : y1 - top, x0 - left : x1 - left]
    b, g, r, a = cv2.split(part)
    rgb = cv2.merge([b, g, r])
    if haze > 0.01:
        veil = cv2.merge([a, a, a])
        tint = (air[0] * haze / 255, air[1] * haze / 255, air[2] * haze / 255, 0.0)
        veil = cv2.multiply(veil, tint)  # type: ignore[call-overload]
        rgb = cv2.addWeighted(rgb, 1 - haze, veil, 1.0, 0)
    roi = frame[y0:y1, x0:x1]
    keep = cv2.bitwise_not(a)
    roi[:] = cv2.add(cv2.multiply(roi, cv2.merge([keep, keep, keep]), scale=1 / 255), rgb)
    ids[y0:y1, x0:x1][a >= SOLID] = number
    return solid, (x0, y0, x1, y1)


def shade_ground(
    frame: np.ndarray, cx: float, cy: float, rx: float, ry: float, strength: float, skew: float = 0
) -> None:
    """A soft dark ellipse under something that stands on the ground, drawn out sideways by `skew` pixels."""
    x0, x1 = int(cx - rx + min(0, skew)) - 1, int(cx + rx + max(0, skew)) + 2
    y0, y1 = int(cy - ry) - 1, int(cy + ry) + 2
    ax, ay, bx, by = max(x0, 0), max(y0, 0), min(x1, frame.shape[1]), min(y1, frame.shape[0])
    if bx - ax < 1 or by - ay < 1:
        return
    m = np.full((by - ay, bx - ax), 255, np.uint8)
    dark = int(255 * (1 - strength))
    pts = cv2.ellipse2Poly(
        (int((cx - ax) * 8), int((cy - ay) * 8)), (max(1, int(rx * 8)), max(1, int(ry * 8))), 0, 0, 360, 20
    )
    outline = np.asarray(pts, np.int32)
    if skew:
        far = cv2.ellipse2Poly(
            (int((cx + skew - ax) * 8), int((cy - ry * 0.5 - ay) * 8)),
            (max(1, int(rx * 5)), max(1, int(ry * 5))),
            0,
            0,
            360,
            20,
        )
        outline = np.asarray(cv2.convexHull(np.concatenate([outline, far])), np.int32)
    cv2.fillPoly(m, [outline], dark, cv2.LINE_AA, 3)
    roi = frame[ay:by, ax:bx]
    roi[:] = cv2.multiply(roi, cv2.merge([m, m, m]), scale=1 / 255)
