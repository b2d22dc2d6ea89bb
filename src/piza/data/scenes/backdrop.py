"""What no sentence speaks of: sky, ground, road, markings, facades and the far skyline."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera
from .palette import Rgb, darker, lighter, mix

FAR = 900.0


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
    return 1.0 - float(np.exp(-z / world.fade))


def _veil(part: np.ndarray, air: Rgb, t: float) -> np.ndarray:
    tint = (air[0] * t, air[1] * t, air[2] * t, 0.0)
    return cv2.add(cv2.convertScaleAbs(part, alpha=1 - t), tint)  # type: ignore[call-overload]


def _vary(rng: np.random.Generator, c: Rgb, spread: int) -> Rgb:
    d = rng.integers(-spread, spread + 1)
    e = rng.integers(-spread // 3, spread // 3 + 1, 3)
    return tuple(int(np.clip(v + d + k, 0, 255)) for v, k in zip(c, e, strict=True))  # type: ignore[return-value]


def _strip(cam: Camera, x0: float, x1: float, z0: float, z1: float, bend: bool = True) -> np.ndarray:
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


def _fill(frame: np.ndarray, pts: np.ndarray, color: Rgb) -> None:
    if len(pts) > 2:
        cv2.fillPoly(frame, [pts], color, cv2.LINE_AA, 4)


def paint_sky(frame: np.ndarray, cam: Camera, world: World, rng: np.random.Generator) -> None:
    if world.weather == "sun":
        top, low = _vary(rng, (70, 130, 205), 30), _vary(rng, (175, 205, 232), 20)
    elif world.weather == "fog":
        top, low = _vary(rng, (205, 208, 212), 10), world.air
    else:
        top, low = _vary(rng, (165, 172, 182), 25), _vary(rng, (205, 208, 214), 20)
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


_GROUNDS: dict[str, Rgb] = {
    "grass": (98, 122, 62),
    "plaza": (158, 154, 148),
    "dirt": (142, 122, 96),
    "snow": (226, 230, 236),
}


def paint_ground(frame: np.ndarray, cam: Camera, world: World, rng: np.random.Generator) -> None:
    h0 = int(cam.horizon)
    base = _vary(rng, _GROUNDS[world.ground], 22)
    frame[h0:] = base
    asphalt = _vary(rng, (96, 96, 99) if world.weather != "rain" else (72, 74, 78), 24)
    if world.ground == "snow" and rng.random() < 0.5:
        asphalt = mix(asphalt, (215, 218, 224), 0.45)
    pave = _vary(rng, (165, 160, 153), 24) if world.ground != "snow" else _vary(rng, (205, 206, 210), 12)
    near = cam.near * 0.7
    if world.walk:
        edge = world.road_half + world.walk
        _fill(frame, _strip(cam, -edge, edge, near, FAR), pave)
        _fill(
            frame, _strip(cam, -world.road_half - 0.18, world.road_half + 0.18, near, FAR), darker(pave, 0.25)
        )
    if world.parking:
        x0, x1, z0, z1 = world.parking
        _fill(frame, _strip(cam, x0, x1, z0, z1), mix(asphalt, (120, 120, 122), 0.4))
    _fill(frame, _strip(cam, -world.road_half, world.road_half, near, FAR), asphalt)
    white = _vary(rng, (228, 228, 224), 14)
    if world.crossing is not None:
        _fill(frame, _strip(cam, -400, 400, world.crossing, world.crossing + 8, bend=False), asphalt)
    _mark_lanes(
        frame, cam, world, white, mix(white, (245, 205, 70), 0.8) if rng.random() < 0.25 else white, rng
    )
    if world.parking:
        x0, x1, z0, z1 = world.parking
        for x in np.arange(x0, x1, 2.7):
            for a in np.arange(z0, z1 - 5, 12.0):
                _fill(frame, _strip(cam, x - 0.07, x + 0.07, a, a + 5, bend=True), white)
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
        _fill(
            frame,
            _strip(cam, x, x + rng.uniform(0.4, 2.0), z, z + rng.uniform(0.5, 5)),
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
            _fill(frame, _strip(cam, x - 0.09, x + 0.09, z, z + 3.0), white)
            head = np.array([cam.project(x + a, 0, z + b) for a, b in ((-0.4, 3.0), (0.4, 3.0), (0.0, 4.6))])
            _fill(frame, np.round(head.clip(-3e4, 3e4) * 16).astype(np.int32), white)
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
    base = np.array(_GROUNDS[world.ground])
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
                _fill(frame, np.round(pts.clip(-3e4, 3e4) * 16).astype(np.int32), leaf)
                for _ in range(3):
                    d = rng.uniform(-0.22, 0.22, 2) * h
                    spot = pts * 0.35 + np.array((u + d[0], v - 0.55 * h + d[1])) * 0.65
                    _fill(
                        frame,
                        np.round(spot.clip(-3e4, 3e4) * 16).astype(np.int32),
                        mix(leaf, (20, 28, 16) if rng.random() < 0.6 else (190, 200, 130), 0.25),
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
                _fill(frame, _strip(cam, x - 0.07, x + 0.07, a, b), color)
        else:
            z = near - rng.uniform(0, 6)
            while z < 130:
                for a, b in pieces(z, z + 4):
                    if b - a > 3:
                        _fill(frame, _strip(cam, x - 0.08, x + 0.08, a, b), color)
                z += 10
    if gap is not None:
        for z in (gap[0] - 0.2, gap[1] - 3.5):
            if rng.random() < 0.75:
                x = -world.road_half + 0.2
                while x < world.road_half - 0.4:
                    _fill(frame, _strip(cam, x, x + 0.5, z, z + 3.2), white)
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
    wall = _vary(rng, _WALLS[int(rng.integers(len(_WALLS)))], 18)
    t = np.empty((200, 240, 3), np.uint8)
    t[:] = wall
    if rng.random() < 0.35:
        for row in range(0, 200, 5):
            cv2.line(t, (0, row), (240, row), darker(wall, 0.12), 1)
    floors, bays = int(rng.integers(3, 6)), int(rng.integers(4, 8))
    fh, bw = 160 / floors, 240 / bays
    glass = _vary(rng, (84, 100, 116), 34)
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
    return _veil(texture, world.air, t) if t > 0.02 else texture


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
            green = mix(_vary(rng, (76, 98, 70), 16), world.air, 0.25 + 0.6 * haze_at(world, 400 - 150 * k))
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


def paint_backdrop(cam: Camera, world: World, rng: np.random.Generator) -> np.ndarray:
    """The empty street: uint8 (H, W, 3) RGB."""
    frame = np.empty((cam.height, cam.width, 3), np.uint8)
    paint_sky(frame, cam, world, rng)
    paint_ground(frame, cam, world, rng)
    _fade_ground(frame, cam, world)
    if world.woods:
        paint_woods(frame, cam, world, rng)
    paint_buildings(frame, cam, world, rng)
    return frame


def _fade_ground(frame: np.ndarray, cam: Camera, world: World) -> None:
    """Fog over the ground, in strips of rows since haze depends on the row alone."""
    h0 = int(cam.horizon)
    v = h0
    while v < cam.height:
        step = max(1, (v - h0) // 6)
        t = haze_at(world, cam.z_of_row(v + step / 2 + 0.5))
        if t < 0.02:
            break
        roi = frame[v : v + step]
        roi[:] = _veil(roi, world.air, t)
        v += step
