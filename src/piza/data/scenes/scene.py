"""Draw one scene: plan, backdrop, things from far to near, light and weather, what is visible of each, sentences."""

from __future__ import annotations

import numpy as np

from . import backdrop, layout, weather
from .camera import Camera, sample_camera
from .item import Item
from .language import expressions
from .objects import Scene, SceneObject
from .sprite import Style, blend, sample_style, shade_ground
from .world import World, haze_at, sample_world

_FLOATING = ("balloon", "flag", "sign", "traffic light", "pedestrian light")


def render(seed: int, size: tuple[int, int] = (2048, 1152), per_object: int = 2) -> Scene:
    """The scene of a seed: the same picture, objects and sentences every time.

    `size` is (width, height) in pixels; at most `per_object` sentences are written about one object.
    """
    scene = _draw(seed, size)
    scene.rows = expressions(scene.objects, size, np.random.default_rng([seed, 3]), per_object)
    return scene


def _draw(seed: int, size: tuple[int, int], without: int = -1) -> Scene:
    """The scene without sentences; `without` leaves the item of that number out of the picture."""
    rng = np.random.default_rng([seed, 0])
    cam = sample_camera(rng, *size)
    world = sample_world(rng, cam)
    style = sample_style(rng)
    items = layout.fill(cam, world, rng)
    frame = backdrop.paint_backdrop(cam, world, np.random.default_rng([seed, 1]))
    ids = np.zeros(frame.shape[:2], np.int16)
    order = sorted(range(len(items)), key=lambda k: (-items[k].z, k))
    solid = np.zeros(len(items), np.int64)
    reach: dict[int, tuple[int, int, int, int]] = {}
    skew = float(rng.uniform(-1.6, 1.6)) if world.weather == "sun" and world.time == "day" else 0.0
    for k in order:
        if k == without:
            continue
        hit = _paint(frame, ids, items[k], k + 1, cam, world, style, skew)
        if hit:
            solid[k], reach[k] = hit
    air = np.random.default_rng([seed, 2])
    frame = weather.grade(frame, world, air)
    _relight(frame, ids, items, cam, world, order)
    weather.fall(frame, world, air)
    frame = weather.sensor(frame, world, air)
    objects = [
        o
        for k in sorted(reach)
        if (o := _seen(ids, items[k], k + 1, int(solid[k]), reach[k], haze_at(world, items[k].z))) is not None
    ]
    return Scene(np.ascontiguousarray(frame), objects)


def _paint(
    frame: np.ndarray,
    ids: np.ndarray,
    it: Item,
    number: int,
    cam: Camera,
    world: World,
    style: Style,
    skew: float,
) -> tuple[int, tuple[int, int, int, int]] | None:
    ppm = cam.scale(it.z)
    u, v = cam.project(it.x, it.base, it.z)
    longest = max(it.width, it.height) * ppm
    if longest > 2.2 * cam.width or u + longest < 0 or u - longest > cam.width:
        return None
    rgba = it.paint(ppm, style, np.random.default_rng(it.seed))
    if it.base == 0.0 and it.category and it.category not in _FLOATING and it.width * ppm > 4:
        flat = max(1.0, it.width * ppm * 0.5 * min(0.5, cam.eye / it.z * 0.8))
        shade_ground(
            frame,
            u,
            v - flat * 0.3,
            it.width * ppm * (0.3 if it.category == "tree" else 0.52),
            flat,
            0.35 if not skew else 0.5,
            skew * it.height * ppm * 0.5,
        )
    left, top = round(u - rgba.shape[1] / 2), round(v) - rgba.shape[0] + 1
    return blend(frame, ids, rgba, left, top, number, haze_at(world, it.z), world.air)


def _relight(
    frame: np.ndarray,
    ids: np.ndarray,
    items: list[Item],
    cam: Camera,
    world: World,
    order: list[int],
) -> None:
    """Lamps shine on in the dark: put the lit ones back after the picture was graded."""
    halo = {"day": 1.2, "dusk": 2.5, "night": 3.5}[world.time]
    for k in order:
        it = items[k]
        if it.glow is None:
            continue
        x, y, r, color = it.glow
        s = cam.scale(it.z)
        u, v = cam.project(it.x - it.width / 2 + x, it.base + y, it.z)
        ui, vi = round(u), round(v)
        if 0 <= ui < cam.width and 0 <= vi < cam.height and ids[vi, ui] == k + 1:
            if it.category == "traffic light":
                weather.add_glow(frame, u, v, r * s * 0.9, color, halo)


def _seen(
    ids: np.ndarray, it: Item, number: int, solid: int, reach: tuple[int, int, int, int], haze: float
) -> SceneObject | None:
    """What is left to see of an item, None when it is nothing nameable."""
    if not it.category or not solid:
        return None
    x0, y0, x1, y1 = reach
    mask = ids[y0:y1, x0:x1] == number
    cols, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(cols):
        return None
    box = (float(x0 + cols[0]), float(y0 + rows[0]), float(x0 + cols[-1] + 1), float(y0 + rows[-1] + 1))
    visible = float(mask.sum()) / solid
    if max(box[2] - box[0], box[3] - box[1]) < 5 or visible < 0.04:
        return None
    h, w = ids.shape
    cut = box[0] <= 0 or box[1] <= 0 or box[2] >= w or box[3] >= h
    return SceneObject(
        it.category,
        it.color,
        dict(it.attributes),
        box,
        visible,
        float(it.z),
        it.shade,
        it.pole,
        cut,
        1 - haze,
    )
