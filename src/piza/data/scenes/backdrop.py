"""The empty street, of which no sentence speaks: sky, ground, woods and buildings."""

from __future__ import annotations

import cv2
import numpy as np

from .brush import fill_polygon, vary
from .buildings import paint_buildings
from .camera import Camera
from .ground import fade_ground, paint_ground
from .palette import Rgb, darker, lighter, mix
from .world import World, haze_at


def paint_backdrop(cam: Camera, world: World, rng: np.random.Generator) -> np.ndarray:
    """The empty street: uint8 (H, W, 3) RGB."""
    frame = np.empty((cam.height, cam.width, 3), np.uint8)
    paint_sky(frame, cam, world, rng)
    paint_ground(frame, cam, world, rng)
    fade_ground(frame, cam, world)
    if world.woods:
        paint_woods(frame, cam, world, rng)
    paint_buildings(frame, cam, world, rng)
    return frame


def paint_sky(frame: np.ndarray, cam: Camera, world: World, rng: np.random.Generator) -> None:
    """Paint the sky down to the horizon, in place."""
    if world.weather == "sun":
        top, low = vary(rng, (70, 130, 205), 30), vary(rng, (175, 205, 232), 20)
    elif world.weather == "fog":
        top, low = vary(rng, (205, 208, 212), 10), world.air
    else:
        top, low = vary(rng, (165, 172, 182), 25), vary(rng, (205, 208, 214), 20)
    if world.time == "dusk":
        top, low = mix(top, (70, 70, 120), 0.5), mix(low, (250, 170, 110), rng.uniform(0.3, 0.8))
    h = max(2, int(cam.horizon) + 2)
    small = np.linspace(np.array(top, np.float32), np.array(low, np.float32), 64)[:, None].repeat(64, 1)
    if world.weather != "fog" and rng.random() < 0.8:
        clouds = cv2.resize(rng.random((5, 9), dtype=np.float32), (64, 64), interpolation=cv2.INTER_CUBIC)
        clouds = clouds + 0.5 * cv2.resize(
            rng.random((16, 20), dtype=np.float32), (64, 64), interpolation=cv2.INTER_CUBIC
        )
        cover = np.clip((clouds - rng.uniform(0.6, 1.0)) * 2.2, 0, 0.9)[..., None]
        small = small * (1 - cover) + np.array(lighter(low, 0.4), np.float32) * cover
    frame[:h] = cv2.resize(
        np.clip(small, 0, 255).astype(np.uint8), (cam.width, h), interpolation=cv2.INTER_LINEAR
    )


def paint_woods(frame: np.ndarray, cam: Camera, world: World, rng: np.random.Generator) -> None:
    """Walls of trees along the open sides of the road, from far to near."""
    dark = rng.uniform(0.35, 0.95)
    autumn = rng.random() < 0.25
    tall = rng.uniform(5, 16)
    for side in (-1, 1):
        if (world.wall_left if side < 0 else world.wall_right) is not None or rng.random() < 0.3:
            continue
        edge = world.road_half + world.walk + rng.uniform(6, 40)
        for z in np.geomspace(260, max(cam.near, 18), 16):
            t = haze_at(world, float(z))
            for _ in range(5):
                x = side * (edge + rng.uniform(0, 10 + 0.1 * z))
                u, v = cam.project(x, 0, float(z))
                s = cam.scale(float(z))
                h = tall * rng.uniform(0.6, 1.2) * s
                if not -h < u < cam.width + h:
                    continue
                leaf: Rgb = (int(rng.integers(45, 90)), int(rng.integers(70, 120)), int(rng.integers(35, 65)))
                if autumn and rng.random() < 0.6:
                    leaf = (
                        int(rng.integers(130, 190)),
                        int(rng.integers(85, 130)),
                        int(rng.integers(30, 60)),
                    )
                leaf = mix(darker(leaf, 1 - dark), world.air, t)
                a = np.linspace(0, 2 * np.pi, 15)[:-1]
                r = rng.uniform(0.75, 1.15, 14)
                pts = np.stack([u + 0.42 * h * r * np.cos(a), v - 0.5 * h - 0.52 * h * r * np.sin(a)], 1)
                fill_polygon(frame, np.round(pts.clip(-3e4, 3e4) * 16).astype(np.int32), leaf)
                for _ in range(3):
                    d = rng.uniform(-0.22, 0.22, 2) * h
                    spot = pts * 0.35 + np.array((u + d[0], v - 0.55 * h + d[1])) * 0.65
                    fill_polygon(
                        frame,
                        np.round(spot.clip(-3e4, 3e4) * 16).astype(np.int32),
                        mix(leaf, (20, 28, 16) if rng.random() < 0.6 else (190, 200, 130), 0.25),
                    )
