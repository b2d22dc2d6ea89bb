"""Facades along the road and the far skyline."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from .brush import vary, veil
from .camera import Camera
from .palette import Rgb, darker, lighter, mix
from .world import World, haze_at

_WALLS: tuple[Rgb, ...] = (
    (196, 172, 140),
    (172, 96, 76),
    (222, 214, 198),
    (150, 152, 156),
    (206, 178, 122),
    (138, 112, 96),
    (186, 196, 200),
    (230, 200, 180),
)


def facade_texture(rng: np.random.Generator, night: bool) -> np.ndarray:
    """Four floors with windows and a ground floor: uint8 (200, 240, 3)."""
    wall = vary(rng, _WALLS[int(rng.integers(len(_WALLS)))], 18)
    t = np.empty((200, 240, 3), np.uint8)
    t[:] = wall
    if rng.random() < 0.35:
        for row in range(0, 200, 5):
            cv2.line(t, (0, row), (240, row), darker(wall, 0.12), 1)
    floors, bays = int(rng.integers(3, 6)), int(rng.integers(4, 8))
    fh, bw = 160 / floors, 240 / bays
    glass = vary(rng, (84, 100, 116), 34)
    frame_color = lighter(wall, 0.5) if rng.random() < 0.6 else darker(wall, 0.5)
    wx, wy = rng.uniform(0.4, 0.75), rng.uniform(0.5, 0.75)
    for i in range(floors):
        for j in range(bays):
            x, y = (j + 0.5) * bw, (i + 0.5) * fh + 3
            a, b = (int(x - wx * bw / 2), int(y - wy * fh / 2)), (int(x + wx * bw / 2), int(y + wy * fh / 2))
            g = mix(glass, (215, 225, 235), rng.random() * 0.35)
            if rng.random() < (0.45 if night else 0.04):
                g = (250, 214, 140)
            cv2.rectangle(t, (a[0] - 2, a[1] - 2), (b[0] + 2, b[1] + 2), frame_color, -1)
            cv2.rectangle(t, a, b, g, -1)
            if wx > 0.55:
                cv2.line(t, (int(x), a[1]), (int(x), b[1]), frame_color, 1)
        if rng.random() < 0.3:
            cv2.line(t, (0, int((i + 1) * fh)), (240, int((i + 1) * fh)), lighter(wall, 0.3), 2)
    base = darker(wall, 0.3)
    cv2.rectangle(t, (0, 164), (240, 200), base, -1)
    for j in range(4):
        shop = mix(glass, (250, 225, 165), 0.6 if night else 0.15)
        cv2.rectangle(t, (j * 60 + 6, 174), (j * 60 + 54, 199), shop, -1)
    cv2.rectangle(t, (0, 0), (240, 3), darker(wall, 0.35), -1)
    return t


def paint_buildings(frame: np.ndarray, cam: Camera, world: World, rng: np.random.Generator) -> None:
    """A far skyline over the horizon, then the facades along both sides from far to near."""
    textures = [facade_texture(rng, world.time != "day") for _ in range(4)]
    _skyline(frame, cam, world, textures, rng)
    for wall in (world.wall_left, world.wall_right):
        if wall is None:
            continue
        sign = 1 if wall > 0 else -1
        bounds = [max(cam.near * 0.5, rng.uniform(4, 30))]
        while bounds[-1] < 210:
            bounds.append(bounds[-1] * 1.0 + rng.uniform(9, 30))
        for z0, z1 in reversed(list(itertools.pairwise(bounds))):
            skip = rng.random() < 0.12
            if world.crossing is not None and z1 > world.crossing - 3 and z0 < world.crossing + 12:
                skip = True
            height, which, dark = rng.uniform(7, 22), int(rng.integers(4)), rng.uniform(0.75, 1.0)
            if skip:
                continue
            z1 -= rng.choice([0.0, 0.0, 2.0])
            tex = cv2.convertScaleAbs(_hazed(textures[which], world, z0), alpha=float(dark))
            u0, v0 = cam.project(wall, 0, z0)
            u1, v1 = cam.project(wall, 0, z1)
            t0, t1 = cam.project(wall, height, z0)[1], cam.project(wall, height, z1)[1]
            s0 = cam.scale(z0)
            # the end wall that looks at the camera, from the facade outwards
            end = np.array([(u0, t0), (u0 + sign * 14 * s0, t0), (u0 + sign * 14 * s0, v0), (u0, v0)])
            _warp(frame, cv2.convertScaleAbs(tex, alpha=0.8), end)
            _warp(frame, tex, np.array([(u0, t0), (u1, t1), (u1, v1), (u0, v0)]))


def _skyline(
    frame: np.ndarray, cam: Camera, world: World, textures: list[np.ndarray], rng: np.random.Generator
) -> None:
    hz = cam.horizon
    mode = rng.random()
    if mode < 0.35:  # hills or woods
        for k in range(2):
            n = 40
            y = (
                hz
                - np.abs(np.cumsum(rng.normal(0, 4.0, n))) * cam.height / 1152
                - (26 - 12 * k) * cam.height / 1152
            )
            pts = np.concatenate(
                [[(0, hz + 3)], np.stack([np.linspace(0, cam.width, n), y], 1), [(cam.width, hz + 3)]]
            )
            green = mix(vary(rng, (76, 98, 70), 16), world.air, 0.25 + 0.6 * haze_at(world, 400 - 150 * k))
            cv2.fillPoly(frame, [np.round(pts * 16).astype(np.int32)], green, cv2.LINE_AA, 4)
        return
    z = rng.uniform(150, 420)
    s = cam.scale(z)
    u = -20.0
    while u < cam.width:
        w = rng.uniform(14, 45) * s
        if rng.random() < 0.85:
            top = hz + (cam.eye - rng.uniform(8, 30)) * s
            foot = hz + cam.eye * s
            tex = _hazed(textures[int(rng.integers(4))], world, z)
            _warp(frame, tex, np.array([(u, top), (u + w, top), (u + w, foot), (u, foot)]))
        u += w + rng.uniform(0, 4) * s


def _warp(frame: np.ndarray, texture: np.ndarray, quad: np.ndarray) -> None:
    """Stretch `texture` over the frame quad (top left, top right, bottom right, bottom left)."""
    x0, y0 = np.floor(quad.min(0)).astype(int)
    x1, y1 = np.ceil(quad.max(0)).astype(int) + 1
    x0, y0, x1, y1 = (
        max(int(x0), 0),
        max(int(y0), 0),
        min(int(x1), frame.shape[1]),
        min(int(y1), frame.shape[0]),
    )
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    while texture.shape[1] > 16 and texture.shape[1] > 1.6 * (quad[:, 0].max() - quad[:, 0].min()):
        texture = cv2.resize(texture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    h, w = texture.shape[:2]
    src = np.array([(0, 0), (w, 0), (w, h), (0, h)], np.float32)
    dst = (quad - (x0, y0)).astype(np.float32)
    m = cv2.getPerspectiveTransform(src, dst)
    out = cv2.warpPerspective(
        texture, m, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    mask = np.zeros(out.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(dst.clip(-30000, 30000) * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    cv2.copyTo(out, mask, frame[y0:y1, x0:x1])


def _hazed(texture: np.ndarray, world: World, z: float) -> np.ndarray:
    t = haze_at(world, z)
    return veil(texture, world.air, t) if t > 0.02 else texture
