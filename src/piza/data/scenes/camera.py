"""A pinhole camera looking level over a flat ground: where things stand in the frame and how large they look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """Ground coordinates are meters: x to the right, z away from the camera, y up from the ground."""

    width: int  # frame pixels
    height: int
    horizon: float  # frame row of the horizon
    focal: float  # pixels
    eye: float  # meters above the ground
    curve: float  # sideways bend of the road: x = curve * z**2 up to 160 m, then straight on

    def scale(self, z: float) -> float:
        """Pixels a meter at distance z."""
        return self.focal / z

    def bend(self, z: float | np.ndarray) -> float | np.ndarray:
        """How far a curved road has moved to the side at the distance `z`, in meters."""
        bent = np.minimum(z, 160.0)
        return self.curve * (np.square(bent) + 320.0 * (z - bent))

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Frame pixel of the ground point (x beside the bending road's middle, y up, z away)."""
        s = self.focal / z
        return self.width / 2 + (x + float(self.bend(z))) * s, self.horizon + (self.eye - y) * s

    def x_at(self, u: float, z: float) -> float:
        """Meters beside the road's middle that frame column `u` shows at distance z."""
        return (u - self.width / 2) * z / self.focal - float(self.bend(z))

    def z_of_row(self, v: float) -> float:
        """Distance of the ground seen in frame row `v` (below the horizon)."""
        return self.eye * self.focal / max(v - self.horizon, 1e-3)

    @property
    def near(self) -> float:
        """Distance of the nearest ground in the picture."""
        return self.z_of_row(self.height)


def sample_camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    """A camera at 1.4 to 28 meters: a car's windscreen, a bus, a bridge, a balcony, a roof."""
    low, high = (1.4, 6.0) if rng.random() < 0.6 else (5.0, 28.0)
    eye = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    horizon = height * rng.uniform(0.26, 0.56)
    if eye > 10:
        horizon = height * rng.uniform(0.03, 0.28)
    elif eye > 4:
        horizon = height * rng.uniform(0.16, 0.42)
    curve = 0.0 if rng.random() < 0.5 else rng.uniform(-1.2e-3, 1.2e-3)
    return Camera(width, height, horizon, width * rng.uniform(0.6, 1.25), eye, curve)
