"""The ground plan of a scene: road, facades, weather and light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .camera import Camera
from .palette import Rgb


@dataclass(frozen=True)
class World:
    """The ground plan. Meters beside the road's middle (x) and away from the camera (z)."""

    road_half: float
    lanes: int
    lane: float
    walk: float  # sidewalk width, 0 for none
    wall_left: float | None  # x of the facades, None for open country
    wall_right: float | None
    crossing: float | None  # z of a road running across
    parking: tuple[float, float, float, float] | None  # x0, x1, z0, z1
    ground: str  # "grass", "plaza", "dirt", "snow"
    time: str  # "day", "dusk", "night"
    weather: str  # "sun", "overcast", "rain", "fog", "snow"
    air: Rgb  # the color distance fades to
    fade: float  # meters over which it fades
    woods: bool  # walls of trees along open sides; single trees are not spoken of then


def sample_world(rng: np.random.Generator, cam: Camera) -> World:
    """A random ground plan that suits a camera."""
    lanes = int(rng.choice([2, 2, 3, 4, 4, 6]))
    lane = rng.uniform(3.0, 3.6)
    half = lanes * lane / 2
    walk = 0.0 if rng.random() < 0.2 else rng.uniform(2.0, 6.0)
    edge = half + walk
    walls = [edge + rng.uniform(0.5, 26.0) if rng.random() < 0.5 else None for _ in range(2)]
    crossing = max(cam.near * 1.3, rng.uniform(14, 70)) if rng.random() < 0.5 else None
    parking = None
    if rng.random() < 0.4:
        z0 = max(cam.near * 1.1, rng.uniform(12, 60))
        side = 1 if rng.random() < 0.5 else -1
        a, b = side * (edge + 1.0), side * (edge + rng.uniform(14, 40))
        wall = walls[1] if side > 0 else walls[0]
        if wall is None:
            parking = (min(a, b), max(a, b), z0, z0 + rng.uniform(15, 60))
    time = str(rng.choice(["day", "day", "day", "day", "dusk", "night"]))
    weather = str(rng.choice(["sun", "sun", "overcast", "overcast", "rain", "fog", "snow"]))
    air: Rgb = (200, 210, 222) if weather in ("sun", "overcast") else (196, 200, 204)
    fade = {"sun": 1500.0, "overcast": 900.0, "rain": 420.0, "snow": 350.0, "fog": 170.0}[
        weather
    ] * rng.uniform(0.8, 1.6)
    ground = (
        "snow"
        if weather == "snow" and rng.random() < 0.7
        else str(rng.choice(["grass", "grass", "plaza", "plaza", "dirt"]))
    )
    return World(
        half,
        lanes,
        lane,
        walk,
        None if walls[0] is None else -walls[0],
        walls[1],
        crossing,
        parking,
        ground,
        time,
        weather,
        air,
        fade,
        bool(rng.random() < 0.35),
    )


def haze_at(world: World, z: float) -> float:
    """The share of the air's color at the distance `z` in meters, 0 to 1."""
    return 1.0 - float(np.exp(-z / world.fade))
