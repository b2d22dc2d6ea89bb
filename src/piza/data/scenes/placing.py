"""Finding places for objects, so that they are in view and hardly cover one another."""

from __future__ import annotations

import numpy as np

from .camera import Camera
from .item import Item, Picker, picker
from .world import World


class Layout:
    """Collects items whose rectangles in the frame hardly cover one another."""

    def __init__(self, cam: Camera, world: World, rng: np.random.Generator) -> None:
        self.cam, self.world, self.rng = cam, world, rng
        self.items: list[Item] = []
        self._rects: list[tuple[float, float, float, float]] = []
        self.pick: Picker = picker(rng)
        self._poles = 0

    def rect(self, it: Item) -> tuple[float, float, float, float]:
        """The rectangle of an item in the frame: x0, y0, x1, y1 in pixels."""
        s = self.cam.scale(it.z)
        u, v = self.cam.project(it.x, it.base, it.z)
        return u - it.width * s / 2, v - it.height * s, u + it.width * s / 2, v

    def _overlap(self, r: tuple[float, float, float, float]) -> float:
        """The largest share of any placed rectangle that `r` covers, or of `r` that a placed one covers."""
        if not self._rects:
            return 0.0
        q = np.array(self._rects)
        w = np.minimum(q[:, 2], r[2]) - np.maximum(q[:, 0], r[0])
        h = np.minimum(q[:, 3], r[3]) - np.maximum(q[:, 1], r[1])
        inter = np.where((w > 0) & (h > 0), w * h, 0)
        if not inter.any():
            return 0.0
        areas = (q[:, 2] - q[:, 0]) * (q[:, 3] - q[:, 1])
        return float((inter / np.minimum(areas, max((r[2] - r[0]) * (r[3] - r[1]), 1e-6))).max())

    def put(self, it: Item, allow: float = 0.0, block: bool = True) -> bool:
        """Accept the item if it is in view and covers little; several things on one pole are put without asking."""
        r = self.rect(it)
        if r[2] < 3 or r[0] > self.cam.width - 3 or r[3] < 3 or r[1] > self.cam.height - 3 or it.z < 1.2:
            return False
        if self._behind_wall(it) or self._overlap(r) > allow:
            return False
        it.seed = int(self.rng.integers(1 << 31))
        self.items.append(it)
        if block:
            self._rects.append(r)
        return True

    def _behind_wall(self, it: Item) -> bool:
        w = self.world
        reach = 0.5 * it.width
        return (w.wall_left is not None and it.x - reach < w.wall_left) or (
            w.wall_right is not None and it.x + reach > w.wall_right
        )

    def force(self, it: Item, block: bool = True) -> None:
        """Accept the item wherever it is."""
        it.seed = int(self.rng.integers(1 << 31))
        self.items.append(it)
        if block:
            self._rects.append(self.rect(it))

    def new_pole(self) -> int:
        """A number for another pole."""
        self._poles += 1
        return self._poles

    def depth_for(self, size_m: float, px: float) -> float:
        """The distance at which `size_m` meters look `px` pixels (at 2048 wide) long."""
        return self.cam.focal * size_m / (px * self.cam.width / 2048)

    def wanted_px(self) -> float:
        """A size in pixels at 2048 wide: mostly that of a target, sometimes larger."""
        r = self.rng.random()
        if r < 0.86:
            return float(np.exp(self.rng.uniform(np.log(22), np.log(72))))
        return float(np.exp(self.rng.uniform(np.log(70), np.log(300))))

    def ground_z(self, z: float) -> float:
        """A distance in meters from which the ground is in view."""
        return float(np.clip(z, self.cam.near * 1.03, 420))

    def free_x(self, z: float, lo: float = -1e9, hi: float = 1e9) -> float:
        """A place across the street at distance z: in view, between the facades."""
        a, b = self.cam.x_at(0.01 * self.cam.width, z), self.cam.x_at(0.99 * self.cam.width, z)
        w = self.world
        if w.wall_left is not None:
            a = max(a, w.wall_left + 0.6)
        if w.wall_right is not None:
            b = min(b, w.wall_right - 0.6)
        a, b = max(a, lo), min(b, hi)
        if a >= b:
            a, b = min(a, b), max(a, b)
        return float(self.rng.uniform(a, b))


def off_road(lay: Layout, z: float) -> float:
    """A place beside the carriageway."""
    half = lay.world.road_half + 0.5
    for _ in range(6):
        x = lay.free_x(z)
        if abs(x) > half:
            return x
    return half * (1 if lay.rng.random() < 0.5 else -1)
