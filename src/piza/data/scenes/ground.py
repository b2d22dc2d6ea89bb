"""The ground: road, sidewalks, markings and clutter on them."""

from __future__ import annotations

import cv2
import numpy as np

from .brush import FAR, fill_polygon, strip_outline, vary, veil
from .camera import Camera
from .palette import Rgb, darker, mix
from .world import World, haze_at

GROUNDS: dict[str, Rgb] = {
    "grass": (98, 122, 62),
    "plaza": (158, 154, 148),
    "dirt": (142, 122, 96),
    "snow": (226, 230, 236),
}


def paint_ground(frame: np.ndarray, cam: Camera, world: World, rng: np.random.Generator) -> None:
    """Paint ground, road, sidewalks and markings below the horizon, in place."""
    h0 = int(cam.horizon)
    base = vary(rng, GROUNDS[world.ground], 22)
    frame[h0:] = base
    asphalt = vary(rng, (96, 96, 99) if world.weather != "rain" else (72, 74, 78), 24)
    if world.ground == "snow" and rng.random() < 0.5:
        asphalt = mix(asphalt, (215, 218, 224), 0.45)
    pave = vary(rng, (165, 160, 153), 24) if world.ground != "snow" else vary(rng, (205, 206, 210), 12)
    near = cam.near * 0.7
    if world.walk:
        edge = world.road_half + world.walk
        fill_polygon(frame, strip_outline(cam, -edge, edge, near, FAR), pave)
        fill_polygon(
            frame,
            strip_outline(cam, -world.road_half - 0.18, world.road_half + 0.18, near, FAR),
            darker(pave, 0.25),
        )
    if world.parking:
        x0, x1, z0, z1 = world.parking
        fill_polygon(frame, strip_outline(cam, x0, x1, z0, z1), mix(asphalt, (120, 120, 122), 0.4))
    fill_polygon(frame, strip_outline(cam, -world.road_half, world.road_half, near, FAR), asphalt)
    white = vary(rng, (228, 228, 224), 14)
    if world.crossing is not None:
        fill_polygon(
            frame, strip_outline(cam, -400, 400, world.crossing, world.crossing + 8, bend=False), asphalt
        )
    _mark_lanes(
        frame, cam, world, white, mix(white, (245, 205, 70), 0.8) if rng.random() < 0.25 else white, rng
    )
    if world.parking:
        x0, x1, z0, z1 = world.parking
        for x in np.arange(x0, x1, 2.7):
            for a in np.arange(z0, z1 - 5, 12.0):
                fill_polygon(frame, strip_outline(cam, x - 0.07, x + 0.07, a, a + 5, bend=True), white)
    _clutter(frame, cam, world, asphalt, white, rng)
    _grain_ground(frame, cam, rng)


def _clutter(
    frame: np.ndarray, cam: Camera, world: World, asphalt: Rgb, white: Rgb, rng: np.random.Generator
) -> None:
    """Patches, cracks, manhole lids, painted arrows on the road; slabs and tufts beside it."""
    near = cam.near * 0.9

    def place() -> tuple[float, float]:
        z = near * float(np.exp(rng.uniform(0, np.log(14))))
        return rng.uniform(-world.road_half, world.road_half), z

    for _ in range(int(rng.integers(0, 7))):
        x, z = place()
        fill_polygon(
            frame,
            strip_outline(cam, x, x + rng.uniform(0.4, 2.0), z, z + rng.uniform(0.5, 5)),
            mix(asphalt, (25, 25, 28), rng.uniform(0.05, 0.35)),
        )
    for _ in range(int(rng.integers(0, 5))):
        x, z = place()
        u, v = cam.project(x, 0, z)
        r = 0.35 * cam.scale(z)
        flat = max(1, int(r * min(0.9, cam.eye / z)))
        if r > 1.5:
            cv2.ellipse(
                frame, (int(u), int(v)), (int(r), flat), 0, 0, 360, darker(asphalt, 0.4), -1, cv2.LINE_AA
            )
    if rng.random() < 0.35:
        z = near * rng.uniform(1.1, 3.0)
        for k in range(world.lanes // 2, world.lanes):
            x = -world.road_half + (k + 0.5) * world.lane
            fill_polygon(frame, strip_outline(cam, x - 0.09, x + 0.09, z, z + 3.0), white)
            head = np.array([cam.project(x + a, 0, z + b) for a, b in ((-0.4, 3.0), (0.4, 3.0), (0.0, 4.6))])
            fill_polygon(frame, np.round(head.clip(-3e4, 3e4) * 16).astype(np.int32), white)
    for _ in range(int(rng.integers(0, 5))):
        x, z = place()
        pts = [cam.project(x + d, 0, z + 0.7 * t) for t, d in enumerate(np.cumsum(rng.normal(0, 0.3, 7)))]
        cv2.polylines(
            frame,
            [np.round(np.array(pts).clip(-3e4, 3e4) * 16).astype(np.int32)],
            False,
            darker(asphalt, 0.3),
            1,
            cv2.LINE_AA,
            4,
        )
    if world.walk and rng.random() < 0.6:
        edge, z = world.road_half + world.walk, near
        while z < near * 8:
            for side in (-1, 1):
                a, b = cam.project(side * (world.road_half + 0.2), 0, z), cam.project(side * edge, 0, z)
                cv2.line(
                    frame, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), (128, 124, 118), 1, cv2.LINE_AA
                )
            z += rng.uniform(0.8, 1.2) * max(1.0, z / 12)
    base = np.array(GROUNDS[world.ground])
    for _ in range(int(rng.integers(0, 60))):
        z = near * float(np.exp(rng.uniform(0, np.log(20))))
        x = rng.uniform(world.road_half + world.walk + 0.5, 40) * (1 if rng.random() < 0.5 else -1)
        u, v = cam.project(x, 0, z)
        r = rng.uniform(0.1, 1.2) * cam.scale(z)
        if 0 < u < cam.width and r > 1:
            tone = tuple(int(c) for c in np.clip(base * rng.uniform(0.8, 1.12), 0, 255))
            cv2.ellipse(
                frame,
                (int(u), int(v)),
                (int(r), max(1, int(r * min(0.6, cam.eye / z)))),
                0,
                0,
                360,
                tone,
                -1,
                cv2.LINE_AA,
            )


def _mark_lanes(
    frame: np.ndarray, cam: Camera, world: World, white: Rgb, middle: Rgb, rng: np.random.Generator
) -> None:
    near = cam.near * 0.7
    gap = None if world.crossing is None else (world.crossing - 4.5, world.crossing + 12)

    def pieces(z0: float, z1: float) -> list[tuple[float, float]]:
        if gap is None or z1 < gap[0] or z0 > gap[1]:
            return [(z0, z1)]
        return [(z0, gap[0]), (gap[1], z1)]

    for k in range(world.lanes + 1):
        x = -world.road_half + k * world.lane
        edge = k in (0, world.lanes)
        if edge:
            x += 0.3 if k == 0 else -0.3
        center = world.lanes % 2 == 0 and k == world.lanes // 2
        if edge and world.walk and rng.random() < 0.5:
            continue
        color = middle if center else white
        if edge or (center and world.lanes > 2):
            for a, b in pieces(near, 260):
                fill_polygon(frame, strip_outline(cam, x - 0.07, x + 0.07, a, b), color)
        else:
            z = near - rng.uniform(0, 6)
            while z < 130:
                for a, b in pieces(z, z + 4):
                    if b - a > 3:
                        fill_polygon(frame, strip_outline(cam, x - 0.08, x + 0.08, a, b), color)
                z += 10
    if gap is not None:
        for z in (gap[0] - 0.2, gap[1] - 3.5):
            if rng.random() < 0.75:
                x = -world.road_half + 0.2
                while x < world.road_half - 0.4:
                    fill_polygon(frame, strip_outline(cam, x, x + 0.5, z, z + 3.2), white)
                    x += 1.0


def _grain_ground(frame: np.ndarray, cam: Camera, rng: np.random.Generator) -> None:
    h0 = int(cam.horizon)
    h = cam.height - h0
    if h < 8:
        return
    blotch = rng.integers(112, 145, (14, 10), dtype=np.uint8)
    fine = rng.integers(116, 141, (h // 3 + 1, cam.width // 6 + 1), dtype=np.uint8)
    gain = cv2.addWeighted(
        cv2.resize(fine, (cam.width, h)),
        0.5,
        cv2.resize(blotch, (cam.width, h), interpolation=cv2.INTER_CUBIC),
        0.5,
        0,
    )
    roi = frame[h0:]
    roi[:] = cv2.multiply(roi, cv2.merge([gain, gain, gain]), scale=1 / 128)


def fade_ground(frame: np.ndarray, cam: Camera, world: World) -> None:
    """Fog over the ground, in strips of rows since haze depends on the row alone."""
    h0 = int(cam.horizon)
    v = h0
    while v < cam.height:
        step = max(1, (v - h0) // 6)
        t = haze_at(world, cam.z_of_row(v + step / 2 + 0.5))
        if t < 0.02:
            break
        roi = frame[v : v + step]
        roi[:] = veil(roi, world.air, t)
        v += step
