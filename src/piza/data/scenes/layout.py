"""Where objects stand: clusters of look-alikes at depths that give them a target's size in the image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import item_people, item_street, item_traffic
from .camera import Camera
from .item import Item
from .placing import Layout, off_road
from .signs import KINDS, kind_weights
from .world import World

CAR_LIKE = ("car", "car", "car", "van", "truck", "bus")


def vehicles(lay: Layout, count: int) -> None:
    """Put vehicles on lanes, a crossing or a parking place."""
    rng, w = lay.rng, lay.world
    zone = str(rng.choice(["lanes", "lanes", "crossing", "parking", "anywhere"]))
    category = str(rng.choice(CAR_LIKE))
    px = lay.wanted_px() * 1.1
    for _ in range(count):
        kind = category if rng.random() < 0.75 else str(rng.choice(CAR_LIKE))
        for _ in range(7):
            where = zone if rng.random() < 0.8 else "lanes"
            view = "side"
            if (where == "crossing" and w.crossing is None) or (where == "parking" and w.parking is None):
                where = "lanes"
            if where == "lanes":
                k = int(rng.integers(w.lanes))
                ours = k >= w.lanes // 2
                view = "rear" if ours else "front"
            elif where != "crossing":
                view = str(rng.choice(["rear", "front", "side"]))
            it = item_traffic.make_vehicle(rng, lay.pick, kind, view)
            size = max(it.width, it.height)
            z = lay.ground_z(lay.depth_for(size, px * np.exp(rng.normal(0, 0.35))))
            if where == "crossing":
                z = (w.crossing or 0) + float(rng.choice([2.0, 6.0]))
                x = lay.free_x(z)
            elif where == "lanes":
                x = -w.road_half + (k + 0.5) * w.lane + rng.uniform(-0.3, 0.3)
            elif where == "parking" and w.parking:
                x0, x1, z0, z1 = w.parking
                z = float(np.clip(z, z0, z1))
                x = x0 + (np.floor(rng.uniform(0, max(1, (x1 - x0) / 2.7))) + 0.5) * 2.7
            else:
                x = lay.free_x(z)
            it.x, it.z = float(x), z
            if lay.put(it, 0.12 if rng.random() < 0.85 else 0.4):
                break


def _cluster(
    lay: Layout,
    count: int,
    one: Callable[[], Item],
    spread: float,
    on_road: bool,
    base: tuple[float, float] = (0.0, 0.0),
    allow: float = 0.08,
) -> None:
    """Things around a common spot, at similar depth."""
    rng = lay.rng
    first = one()
    px = lay.wanted_px()
    z0 = lay.ground_z(lay.depth_for(max(first.width, first.height), px))
    x0 = lay.free_x(z0) if on_road else off_road(lay, z0)
    for i in range(count):
        it = first if i == 0 else one()
        for _ in range(8):
            if rng.random() < 0.65:
                z = lay.ground_z(z0 * np.exp(rng.normal(0, 0.16)))
                x = x0 + rng.normal(0, spread * z0 / lay.cam.focal * 200)
            else:
                z = lay.ground_z(lay.depth_for(max(it.width, it.height), lay.wanted_px()))
                x = lay.free_x(z) if on_road else off_road(lay, z)
            it.x, it.z = float(x), z
            it.base = rng.uniform(*base) if base[1] else 0.0
            if lay.put(it, allow):
                if it.category == "flag":
                    staff = item_street.make_pole(rng, it.base + it.height, -1)
                    staff.x, staff.z = it.x - it.width / 2 + 0.03, it.z + 0.01
                    lay.force(staff, block=False)
                break


def people(lay: Layout, count: int) -> None:
    """Put a group of people."""

    def one() -> Item:
        r = lay.rng.random()
        if r < 0.85:
            return item_people.make_person(lay.rng, lay.pick)
        return item_people.make_rider(lay.rng, lay.pick, "cyclist" if r < 0.94 else "motorcyclist")

    _cluster(lay, count, one, 1.4, bool(lay.rng.random() < 0.4))


def bikes(lay: Layout, count: int) -> None:
    """Put parked bicycles or motorcycles."""
    main = str(lay.rng.choice(["bicycle", "motorcycle"]))
    _cluster(lay, count, lambda: item_traffic.make_bike(lay.rng, lay.pick, main), 2.0, False)


def plain(lay: Layout, count: int, category: str) -> None:
    """Put street furniture of a category, in a row or a group."""
    rng = lay.rng
    if category in ("cone", "barrel", "bollard") and rng.random() < 0.45:
        return _row(lay, count, category)
    base = {"flag": (1.5, 5.0), "balloon": (1.2, 9.0)}.get(category, (0.0, 0.0))
    on_road = category in ("cone", "barrel", "barrier", "balloon", "flag")
    _cluster(lay, count, lambda: item_street.make_plain(rng, lay.pick, category), 1.8, on_road, base)


def _row(lay: Layout, count: int, category: str) -> None:
    """A line of cones or posts running along or across the street."""
    rng = lay.rng
    first = item_street.make_plain(rng, lay.pick, category)
    z0 = lay.ground_z(lay.depth_for(max(first.width, first.height), lay.wanted_px()))
    x, z = lay.free_x(z0), z0
    dx, dz = rng.uniform(1.0, 3.0) * (1 if rng.random() < 0.5 else -1), rng.uniform(0, 0.12) * z0
    for i in range(count):
        it = first if i == 0 else item_street.make_plain(rng, lay.pick, category)
        it.x, it.z = x, lay.ground_z(z)
        lay.put(it, 0.05)
        x, z = x + dx, z + dz


def sign_posts(lay: Layout, count: int) -> None:
    """Poles with one to three signs; few kinds a cluster, so that kinds repeat."""
    rng, w = lay.rng, lay.world
    names, p = kind_weights()
    main = list(rng.choice(names, 3, p=p))
    if rng.random() < 0.5:  # close relatives of one kind
        family = KINDS[main[0]].family
        main = [n for n in names if KINDS[n].family == family][:12]
    px = float(np.exp(rng.uniform(np.log(17), np.log(60))))
    left = count
    for _ in range(count * 3):
        if left <= 0:
            break
        n = int(rng.choice([1, 1, 2, 2, 3]))
        kinds = [
            str(rng.choice(main)) if rng.random() < 0.7 else str(rng.choice(names, p=p)) for _ in range(n)
        ]
        pole = lay.new_pole()
        plates = [item_street.make_sign(rng, k, pole) for k in kinds]
        z = lay.depth_for(plates[0].width, px * np.exp(rng.normal(0, 0.3)))
        z = float(np.clip(z, 3.0, 300))
        if rng.random() < 0.65:
            x = (w.road_half + rng.uniform(0.4, 2.0)) * (1 if rng.random() < 0.6 else -1)
        else:
            x = lay.free_x(z)
        low = rng.uniform(1.8, 2.6)
        total = sum(q.height for q in plates) + 0.06 * (n - 1)
        # the group must fit as a whole: judged by a stand-in for all plates
        stand_in = Item("", max(q.width for q in plates), total, plates[0].paint, x=x, z=z, base=low)
        r = lay.rect(stand_in)
        if (
            r[0] < 2
            or r[2] > lay.cam.width - 2
            or r[1] < 2
            or r[3] > lay.cam.height - 2
            or lay._overlap(r) > 0.03
        ):
            continue
        y = low
        for q in reversed(plates):
            q.x, q.z, q.base = x, z, y
            lay.force(q)
            y += q.height + 0.06
        post = item_street.make_pole(rng, y - plates[0].height * 0.3, pole)
        post.x, post.z = x, z + 0.02
        lay.force(post, block=False)
        if KINDS[kinds[-1]].shape not in ("board", "plate") and rng.random() < 0.14:
            extra = item_street.make_sign(rng, "plate_white", pole)
            extra.x, extra.z, extra.base = x, z, low - extra.height - 0.05
            lay.put(extra)
        left -= n


def gantry(lay: Layout) -> None:
    """Signs side by side over the road."""
    rng, w = lay.rng, lay.world
    names = list(KINDS)
    n = int(rng.integers(2, 5))
    boards = [k for k in names if KINDS[k].shape in ("board", "plate")] if rng.random() < 0.6 else names
    plates = [item_street.make_sign(rng, str(rng.choice(boards))) for _ in range(n)]
    z = float(
        np.clip(
            lay.depth_for(max(q.width for q in plates), np.exp(rng.uniform(np.log(25), np.log(70)))), 6, 250
        )
    )
    base = rng.uniform(4.8, 6.2)
    span = 2 * w.road_half + 2
    xs = np.linspace(-0.42, 0.42, n) * span
    ok = False
    for q, x in zip(plates, xs, strict=True):
        q.x, q.z, q.base = float(x), z, base
        ok |= lay.put(q)
    if ok:
        beam = item_street.make_pole(rng, base + 1.0, -1, span / 2)
        beam.x, beam.z = -span / 2, z + 0.05
        lay.force(beam, block=False)
        far = item_street.make_pole(rng, base + 1.0, -1, -span / 2)
        far.x, far.z = span / 2, z + 0.05
        lay.force(far, block=False)


def lights(lay: Layout, count: int) -> None:
    """Put traffic lights and pedestrian lights on poles."""
    rng, w = lay.rng, lay.world
    case = str(rng.choice(["black", "black", "yellow", "green", "gray"]))
    px = float(np.exp(rng.uniform(np.log(20), np.log(64))))
    for _ in range(count):
        other = str(rng.choice(["black", "yellow"])) if rng.random() < 0.2 else case
        for _ in range(6):
            pole = lay.new_pole()
            walk = rng.random() < 0.3
            state = str(rng.choice(["red", "green"] if walk else ["red", "red", "green", "green", "amber"]))
            it = item_street.make_light(
                rng, "pedestrian light" if walk else "traffic light", state, other, pole
            )
            z = float(np.clip(lay.depth_for(it.height, px * np.exp(rng.normal(0, 0.25))), 4, 200))
            arm = (
                0.0
                if walk or rng.random() < 0.6
                else rng.uniform(1.5, 4.5) * (1 if rng.random() < 0.5 else -1)
            )
            side = (1 if arm < 0 else -1) if arm else (1 if rng.random() < 0.5 else -1)
            x = side * (w.road_half + rng.uniform(0.3, 1.5)) if rng.random() < 0.7 else lay.free_x(z)
            it.x, it.z, it.base = x + arm, z, (rng.uniform(4.6, 5.6) if arm else rng.uniform(2.1, 2.9))
            if not lay.put(it, 0.03):
                continue
            post = item_street.make_pole(rng, it.base + it.height * (0.8 if arm else 1.0), pole, arm)
            post.x, post.z = x, z + 0.02
            lay.force(post, block=False)
            if not arm and rng.random() < 0.35:  # a sign or a second light on the same pole
                kind = str(
                    rng.choice(["give_way", "priority_road", "must_straight", "stop", "speed_50", "no_entry"])
                )
                extra = item_street.make_sign(rng, kind, pole)
                extra.x, extra.z, extra.base = x, z, it.base + it.height + 0.08
                lay.put(extra, 0.02)
            break


def greenery(lay: Layout, count: int) -> None:
    """Trees, hedges and lamps, kept from hiding what was placed before."""
    rng = lay.rng
    autumn = rng.random() < 0.25
    for _ in range(count):
        r = rng.random()
        it = (
            item_street.make_tree(rng, autumn)
            if r < 0.6
            else item_street.make_hedge(rng)
            if r < 0.75
            else item_street.make_lamp(rng)
        )
        if lay.world.woods and it.category in ("tree", "hedge"):
            it.category = ""
        for _ in range(6):
            z = float(np.exp(rng.uniform(np.log(max(lay.cam.near, 12)), np.log(260))))
            it.x, it.z = off_road(lay, z), z
            r4 = lay.rect(it)
            if r4[2] - r4[0] > 0.35 * lay.cam.width:
                continue
            # a tree far behind everything may be covered, one in front must not cover anything
            if _hides(lay, it, r4):
                continue
            lay.force(it, block=False)
            break


def _hides(lay: Layout, it: Item, r: tuple[float, float, float, float]) -> bool:
    for o in lay.items:
        if o.z > it.z and o.category:
            q = lay.rect(o)
            w, h = min(q[2], r[2]) - max(q[0], r[0]), min(q[3], r[3]) - max(q[1], r[1])
            if w > 0 and h > 0 and w * h > 0.06 * (q[2] - q[0]) * (q[3] - q[1]):
                return True
    return False


_PLAIN_P = np.array(
    [3.0 if c == "cone" else 0.6 if c in ("dog", "stall", "planter") else 1.0 for c in item_street.PLAIN]
)
_PLAIN_P = _PLAIN_P / _PLAIN_P.sum()


def fill(cam: Camera, world: World, rng: np.random.Generator) -> list[Item]:
    """All things of a scene, in no particular order."""
    lay = Layout(cam, world, rng)
    if rng.random() < 0.25:
        gantry(lay)
    if rng.random() < 0.75:
        sign_posts(lay, int(rng.integers(2, 8)))
    if rng.random() < 0.5:
        lights(lay, int(rng.integers(2, 5)))
    vehicles(lay, int(rng.integers(3, 8)))
    for _ in range(int(rng.integers(0, 2))):
        people(lay, int(rng.integers(2, 6)))
    for category in rng.choice(item_street.PLAIN, int(rng.integers(1, 3)), replace=False, p=_PLAIN_P):
        plain(lay, int(rng.integers(2, 5)), str(category))
    if rng.random() < 0.2:
        bikes(lay, int(rng.integers(2, 5)))
    short = 16 - sum(1 for it in lay.items if it.category)
    for _ in range(4):
        if short <= 0:
            break
        [sign_posts, vehicles, people, lights][int(rng.integers(4))](lay, min(short, 8))
        short = 16 - sum(1 for it in lay.items if it.category)
    greenery(lay, int(rng.integers(2, 12)))
    return lay.items
