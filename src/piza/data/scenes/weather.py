"""Light, weather and the camera's own faults, laid over the finished picture."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .palette import Rgb
from .world import World


@lru_cache(maxsize=1)
def _noise_tile() -> np.ndarray:
    """Gaussian noise around 128, uint8 (1024, 1536, 3), always the same."""
    tile = np.random.default_rng(7).standard_normal((1024, 1536, 3), dtype=np.float32)
    out = np.clip(tile * 40 + 128, 0, 255).astype(np.uint8)
    out.setflags(write=False)
    return out


def _add_noise(frame: np.ndarray, amount: float, rng: np.random.Generator) -> None:
    tile = _noise_tile()
    th, tw = tile.shape[:2]
    dy, dx = int(rng.integers(th)), int(rng.integers(tw))
    for y in range(-dy, frame.shape[0], th):
        for x in range(-dx, frame.shape[1], tw):
            y0, x0, y1, x1 = max(y, 0), max(x, 0), min(y + th, frame.shape[0]), min(x + tw, frame.shape[1])
            roi = frame[y0:y1, x0:x1]
            t = tile[y0 - y : y1 - y, x0 - x : x1 - x]
            roi[:] = cv2.addWeighted(roi, 1.0, t, amount, -128 * amount)


def grade(frame: np.ndarray, world: World, rng: np.random.Generator) -> np.ndarray:
    """Exposure, tint and contrast by a table, and an uneven light over the picture."""
    gain, tint = rng.uniform(0.85, 1.1), rng.uniform(-0.05, 0.05)
    lift = rng.uniform(0, 16)
    if world.time == "night":
        gain, tint, lift = rng.uniform(0.45, 0.68), rng.uniform(-0.1, 0.12), 0.0
    elif world.time == "dusk":
        gain, tint = rng.uniform(0.62, 0.85), rng.uniform(-0.02, 0.10)
    elif world.weather == "sun":
        gain = rng.uniform(0.98, 1.16)
    gamma = rng.uniform(0.88, 1.15)
    ramp = (np.arange(256) / 255.0) ** gamma * 255
    table = np.stack(
        [ramp * gain * (1 + tint) + lift, ramp * gain + lift, ramp * gain * (1 - tint) + lift], 1
    )
    frame = cv2.LUT(frame, np.clip(table, 0, 255).astype(np.uint8)[None])
    if world.time != "day" or rng.random() < 0.4:
        h, w = frame.shape[:2]
        light = rng.uniform(0.82, 1.12, (4, 6)).astype(np.float32)
        if world.time == "night":
            light[2:, 1:5] *= 1.25
        small = np.clip(cv2.resize(light, (96, 54), interpolation=cv2.INTER_CUBIC) * 128, 40, 255).astype(
            np.uint8
        )
        g = cv2.resize(small, (w, h))
        frame = cv2.multiply(frame, cv2.merge([g, g, g]), scale=1 / 128)
    return frame


def add_glow(frame: np.ndarray, u: float, v: float, r: float, color: Rgb, halo: float) -> None:
    """Relight a lamp after the picture was darkened, with a halo `halo` times its radius."""
    cv2.circle(frame, (int(u * 16), int(v * 16)), max(8, int(r * 16)), color, -1, cv2.LINE_AA, 4)
    big = int(r * halo) + 2
    x0, y0, x1, y1 = int(u) - big, int(v) - big, int(u) + big + 1, int(v) + big + 1
    ax, ay, bx, by = max(x0, 0), max(y0, 0), min(x1, frame.shape[1]), min(y1, frame.shape[0])
    if bx <= ax or by <= ay:
        return
    yy, xx = np.ogrid[ay:by, ax:bx]
    fall = np.clip(1 - np.hypot(yy - v, xx - u) / big, 0, 1) ** 2 * 0.6
    add = (fall[..., None] * np.array(color)).astype(np.uint8)
    roi = frame[ay:by, ax:bx]
    roi[:] = cv2.add(roi, add)


def fall(frame: np.ndarray, world: World, rng: np.random.Generator) -> None:
    """Rain streaks or snow flakes, thin enough to leave small things readable."""
    h, w = frame.shape[:2]
    k = w / 2048
    if world.weather == "rain":
        n, lean, length = int(rng.integers(200, 700)), rng.uniform(-0.3, 0.3), rng.uniform(10, 26) * k
        xy = rng.random((n, 2)) * (w, h)
        lay = frame.copy() if n else frame
        ends = xy + np.stack([np.full(n, lean * length), np.full(n, length)], 1)
        lines = np.stack([xy, ends], 1).astype(np.int32)
        cv2.polylines(lay, list(lines), False, (205, 210, 218), 1, cv2.LINE_AA)
        cv2.addWeighted(lay, 0.35, frame, 0.65, 0, dst=frame)
    elif world.weather == "snow":
        n = int(rng.integers(150, 600))
        xs, ys, rs = rng.random(n) * w, rng.random(n) * h, rng.uniform(8, 30, n) * k
        for x, y, r in zip(xs, ys, rs, strict=True):
            cv2.circle(frame, (int(x * 16), int(y * 16)), int(r), (238, 241, 246), -1, cv2.LINE_AA, 4)


def sensor(frame: np.ndarray, world: World, rng: np.random.Generator) -> np.ndarray:
    """Blur, sharpening, noise, saturation and JPEG artifacts."""
    roll = rng.random()
    if roll < 0.4:
        sigma = float(rng.uniform(0.4, 1.0))
        frame = cv2.GaussianBlur(frame, (3, 3) if sigma < 0.75 else (5, 5), sigma)
    elif roll < 0.47:
        frame = cv2.blur(frame, (3, 1))
    elif roll < 0.6:
        frame = cv2.addWeighted(frame, 1.6, cv2.GaussianBlur(frame, (3, 3), 0.8), -0.6, 0)
    if rng.random() < 0.35:
        s = float(rng.uniform(0.75, 1.15))
        gray = np.array([0.299, 0.587, 0.114])
        frame = cv2.transform(frame, np.eye(3) * s + (1 - s) * gray[None])
    if rng.random() < 0.6 or world.time == "night":
        _add_noise(frame, float(rng.uniform(0.03, 0.17)) * (1.3 if world.time == "night" else 1.0), rng)
    if rng.random() < 0.25:
        ok, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 90))])
        if ok:
            frame = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return frame
