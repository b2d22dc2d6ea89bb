"""What clauses mean: three-valued predicates over all objects of a scene.

Every predicate gives 1 where a reader surely agrees, 0 where surely not, and 0.5 in between. A sentence names its
target when all its clauses are 1 for the target and their smallest value is 0 for every other object.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .objects import Clause, SceneObject
from .palette import color_match
from .signs import KINDS, RED_RING
from .spatial import spatial_relations

_CARS = {"car": 1.0, "van": 0.5, "vehicle": 0.5}
# noun -> category -> how surely the noun fits
NOUNS: dict[str, dict[str, float]] = {
    "car": _CARS, "automobile": _CARS, "passenger car": _CARS,
    "vehicle": {"vehicle": 1, "car": 1, "van": 1, "truck": 1, "bus": 1, "motorcycle": 0.5, "motorcyclist": 0.5, "cyclist": 0.5, "bicycle": 0.5},
    "van": {"van": 1, "car": 0.5, "truck": 0.5, "bus": 0.5, "vehicle": 0.5},
    "truck": {"truck": 1, "van": 0.5, "bus": 0.5, "vehicle": 0.5},
    "bus": {"bus": 1, "van": 0.5, "truck": 0.5, "vehicle": 0.5},
    "motorcycle": {"motorcycle": 1, "motorcyclist": 0.5, "bicycle": 0.5, "cyclist": 0.5},
    "bicycle": {"bicycle": 1, "cyclist": 0.5, "motorcycle": 0.5, "motorcyclist": 0.5},
    "cyclist": {"cyclist": 1, "motorcyclist": 0.5, "bicycle": 0.5},
    "motorcyclist": {"motorcyclist": 1, "cyclist": 0.5, "motorcycle": 0.5},
    "person": {"person": 1, "cyclist": 0.5, "motorcyclist": 0.5},
    "traffic light": {"traffic light": 1, "pedestrian light": 0.5, "countdown timer": 0.5, "sign or light": 0.5},
    "pedestrian light": {"pedestrian light": 1, "traffic light": 0.5},
    "countdown timer": {"countdown timer": 1, "traffic light": 0.5, "pedestrian light": 0.5, "sign or light": 0.5},
    "sign": {"sign": 1, "sign or light": 0.5}, "pole": {"pole": 1, "lamp": 0.5, "bollard": 0.5},
    "cone": {"cone": 1}, "barrel": {"barrel": 1, "bin": 0.5, "bollard": 0.5}, "barrier": {"barrier": 1},
    "bollard": {"bollard": 1, "barrel": 0.5}, "hydrant": {"hydrant": 1, "bollard": 0.5},
    "mailbox": {"mailbox": 1, "bin": 0.5}, "bin": {"bin": 1, "mailbox": 0.5, "barrel": 0.5, "planter": 0.5},
    "bench": {"bench": 1}, "planter": {"planter": 1, "bin": 0.5, "hedge": 0.5}, "flag": {"flag": 1}, "balloon": {"balloon": 1},
    "stall": {"stall": 1}, "dog": {"dog": 1}, "lamp": {"lamp": 1},
    "tree": {"tree": 1, "hedge": 0.5, "planter": 0.5}, "hedge": {"hedge": 1, "tree": 0.5, "planter": 0.5},
}  # fmt: skip
BODIES = ("sedan", "hatchback", "suv", "wagon")
MARGIN = 1.3  # how much nearer or larger than the next the extreme one must be
UNKNOWN = "unknown"  # a category that could be any, an attribute that could have any value


class Facts:
    """The measured facts of one scene, and the value of every clause over its objects (remembered)."""

    def __init__(self, objects: list[SceneObject], size: tuple[int, int], rough: bool = False) -> None:
        """`rough`: boxes and distances are estimates, as of real photos. Then what is counted must stand apart by more than
        a box, as parked rows overlap, and only what stands on the ground is in front of something or behind it."""
        self.objects, self.size, self.rough = objects, size, rough
        self.ordinal_gap = 1.2 if rough else 0.4  # between centers, in widths of the box
        n = self.n = len(objects)
        box = np.array([o.box_xyxy for o in objects], np.float64).reshape(n, 4)
        self.box = box
        self.cx, self.cy = (box[:, 0] + box[:, 2]) / 2, (box[:, 1] + box[:, 3]) / 2
        self.w, self.h = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
        self.longest = np.maximum(self.w, self.h)
        self.depth = np.array([o.depth for o in objects])
        self.category = np.array([o.category for o in objects])
        # colors and parts of what is tiny or mostly hidden cannot be sworn to
        hidden = np.array([o.visible < 0.35 or o.clarity < 0.5 for o in objects], bool).reshape(n)
        self.vague = (self.longest < 9 * size[0] / 2048) | hidden
        self._memo: dict[object, np.ndarray] = {}
        self._relations: dict[str, np.ndarray] = {}

    # -- values ------------------------------------------------------------------------------------------------
    def all(self, clauses: tuple[Clause, ...]) -> np.ndarray:
        """(n,) the smallest value of the clauses for every object."""
        out = self._memo.get(clauses)
        if out is None:
            out = np.ones(self.n)
            for c in clauses:
                out = np.minimum(out, self.value(c))
            self._memo[clauses] = out
        return out

    def names_only(self, clauses: tuple[Clause, ...], index: int) -> bool:
        """Whether the clauses are surely true of this object and surely false of every other."""
        v = self.all(clauses)
        return bool(v[index] == 1.0 and v.sum() == 1.0)

    def value(self, clause: Clause) -> np.ndarray:
        """(n,) the value of one clause for every object.

        ("noun", noun) · ("body", b) · ("gender", g) · ("tone", "dark"/"light") · ("color", name, shade) · ("part", attribute, color) · ("is", attribute, value) ·
        ("sign", aspect, value) · ("at", region) · ("rel", relation, anchor clauses) · ("most", extreme, set clauses) ·
        ("nth", side, k, set clauses) · ("closest", set clauses, anchor clauses) · ("pair", side, set clauses) · ("amid", anchor clauses, anchor clauses)
        """
        out = self._memo.get(clause)
        if out is None:
            out = getattr(self, "_" + clause[0])(*clause[1:])
            self._memo[clause] = out
        return out

    def _each(self, f: Callable[[SceneObject], float], soften: bool = True) -> np.ndarray:
        out = np.array([f(o) for o in self.objects], np.float64).reshape(self.n)
        return np.where(self.vague, np.maximum(out, 0.5), out) if soften else out

    def _noun(self, noun: str) -> np.ndarray:
        fits = NOUNS.get(noun, {noun: 1.0})  # labels of other data sets name further categories

        def one(o: SceneObject) -> float:
            fit = 0.5 if o.category == UNKNOWN else fits.get(o.category, 0.0)
            return fit if o.certain else min(fit, 0.5)

        return self._each(one, soften=False)

    def _body(self, body: str) -> np.ndarray:
        return self._each(
            lambda o: (
                0.0
                if o.category not in ("car", "van", "vehicle", UNKNOWN)
                else 1.0
                if o.attributes.get("body") == body
                else 0.5
            ),
            False,
        )

    def _color(self, name: str, shade: str) -> np.ndarray:
        def one(o: SceneObject) -> float:
            if o.category == "sign" and "kind" in o.attributes:
                colors = KINDS[o.attributes["kind"]].colors
                return 1.0 if name == colors[0] else 0.5 if name in colors else 0.0
            v = color_match(name, shade, o.color, o.shade)
            others = [o.attributes[k] for k in ("cab", "load", "roof", "ride") if k in o.attributes]
            if v < 0.5 and any(color_match(name, "", c, "") > 0 for c in others):
                return 0.5
            return v

        return self._each(one)

    def _tone(self, tone: str) -> np.ndarray:
        sure = ("black",) if tone == "dark" else ("white", "silver", "beige")
        never = (
            ("white", "silver", "beige", "yellow", "pink", "orange")
            if tone == "dark"
            else ("black", "brown", "red", "purple")
        )

        def one(o: SceneObject) -> float:
            if o.color is None or o.category == "sign":
                return 0.5
            if o.shade:
                return float(o.shade == tone)
            return 1.0 if o.color in sure else 0.0 if o.color in never else 0.5

        return self._each(one)

    def _gender(self, gender: str) -> np.ndarray:
        def one(o: SceneObject) -> float:
            if o.category not in ("person", "cyclist", "motorcyclist", UNKNOWN):
                return 0.0
            return 1.0 if o.attributes.get("gender") == gender else 0.5

        return self._each(one)

    def _part(self, part: str, color: str) -> np.ndarray:
        def one(o: SceneObject) -> float:
            has = o.attributes.get(part)
            if has is None:
                return (
                    0.5
                    if o.category in ("person", "cyclist")
                    and part == "hat"
                    and color in ("black", "brown", "gray", "yellow")
                    else 0.0
                )
            return color_match(color, "", has, "")

        return self._each(one)

    def _is(self, attribute: str, wanted: str) -> np.ndarray:
        def one(o: SceneObject) -> float:
            has = o.attributes.get(attribute)
            if has == UNKNOWN:
                return 0.5
            if attribute == "state" and has is not None and {has, wanted} == {"red", "amber"}:
                return 0.5
            return float(has == wanted)

        return self._each(one)

    def _sign(self, aspect: str, wanted: str) -> np.ndarray:
        def one(o: SceneObject) -> float:
            if o.category in ("sign or light", UNKNOWN) or (
                o.category == "sign" and "kind" not in o.attributes
            ):
                return 0.5
            if o.category != "sign":
                return 0.0
            k = KINDS[o.attributes["kind"]]
            if aspect == "kind":
                return _kind_match(wanted, o.attributes["kind"])
            if aspect == "shape":
                near = {wanted, k.shape} in (
                    {"square", "plate"},
                    {"plate", "board"},
                    {"square", "board"},
                    {"triangle", "inverted"},
                    {"octagon", "round"},
                )
                return 1.0 if k.shape == wanted else 0.5 if near else 0.0
            if aspect == "family":
                return float(k.family == wanted)
            if aspect == "ring":
                soft = k.family in ("no entry", "no stopping", "no parking", "stop")
                return 1.0 if k.family in RED_RING else 0.5 if soft else 0.0
            return 1.0 if wanted == k.colors[0] else 0.5 if wanted in k.colors else 0.0

        return self._each(one)

    def _at(self, region: str) -> np.ndarray:
        w, h = self.size
        x, y = self.cx / w, self.cy / h

        def low(v: np.ndarray, yes: float, no: float) -> np.ndarray:
            return np.where(v < yes, 1.0, np.where(v < no, 0.5, 0.0))

        left, right = low(x, 0.32, 0.44), low(1 - x, 0.32, 0.44)
        middle = low(np.abs(x - 0.5), 0.14, 0.24)
        top, bottom = low(y, 0.30, 0.42), low(1 - y, 0.30, 0.42)
        regions: dict[str, np.ndarray] = {
            "left": left, "right": right, "middle": middle, "top": top, "bottom": bottom,
            "far left": low(x, 0.13, 0.24), "far right": low(1 - x, 0.13, 0.24),
            "left half": low(x, 0.46, 0.53), "right half": low(1 - x, 0.46, 0.53),
            "upper left": np.minimum(left, top), "upper right": np.minimum(right, top),
            "lower left": np.minimum(left, bottom), "lower right": np.minimum(right, bottom),
        }  # fmt: skip
        return regions[region]

    # -- relations ---------------------------------------------------------------------------------------------
    def relation(self, name: str) -> np.ndarray:
        """(n, n) how surely object i stands in the relation to object j."""
        if not self._relations:
            self._relations = spatial_relations(self.objects, self.size[0], self.rough)
        return self._relations[name]

    def _rel(self, name: str, anchor: tuple[Clause, ...]) -> np.ndarray:
        return np.asarray(np.minimum(self.relation(name), self.all(anchor)[None]).max(1))

    def _amid(self, a: tuple[Clause, ...], b: tuple[Clause, ...]) -> np.ndarray:
        """Whether one is on either side, whichever: "between a car and a bus"."""
        ways = [
            np.minimum(self._rel("flank right", left), self._rel("flank left", right))
            for left, right in ((a, b), (b, a))
        ]
        return np.asarray(np.maximum(*ways))

    # -- comparisons -------------------------------------------------------------------------------------------
    def _most(self, extreme: str, group: tuple[Clause, ...]) -> np.ndarray:
        v = self.all(group)
        members = v > 0
        key, ratio = self._key(extreme)
        out = np.zeros(self.n)
        if members.sum() < 2:
            return np.where(members, v, 0.0)
        best = int(np.argmin(np.where(members, key, np.inf)))
        rest = members.copy()
        rest[best] = False
        second = key[rest].min()
        clear = (
            second > key[best] * MARGIN
            if ratio
            else second - key[best] > max(0.012 * self.size[0], 0.5 * self.w[best])
        )
        tied = (
            key < key[best] * MARGIN
            if ratio
            else key - key[best] < max(0.012 * self.size[0], 0.5 * self.w[best])
        )
        out[members & tied] = 0.5
        if clear:
            out[best] = v[best]
        return out

    def _key(self, extreme: str) -> tuple[np.ndarray, bool]:
        """What is smallest for the extreme one, and whether margins are ratios (else pixels)."""
        if extreme == "largest":
            return 1.0 / (self.w * self.h), True
        if extreme == "smallest":
            return self.w * self.h, True
        if extreme == "nearest":
            return self.depth, True
        if extreme == "farthest":
            return 1.0 / self.depth, True
        return {"leftmost": self.cx, "rightmost": -self.cx, "highest": self.cy, "lowest": -self.cy}[
            extreme
        ], False

    def _nth(self, side: str, k: int, group: tuple[Clause, ...]) -> np.ndarray:
        v = self.all(group)
        out = np.where(v > 0, 0.5, 0.0)
        if (v == 0.5).any() or (v > 0).sum() < k + 1:
            return out
        at = np.flatnonzero(v)
        order = at[np.argsort(self.cx[at] if side == "left" else -self.cx[at], kind="stable")]
        steps = np.abs(np.diff(self.cx[order]))
        if (steps[:k] < np.maximum(0.012 * self.size[0], self.ordinal_gap * self.w[order][:k])).any():
            return out
        out[:] = 0.0
        out[order[k - 1]] = 1.0
        return out

    def _pair(self, side: str, group: tuple[Clause, ...]) -> np.ndarray:
        """Of exactly two, the one on that side: "the left sign"."""
        v = self.all(group)
        if (v > 0).sum() != 2:
            return np.where(v > 0, 0.5, 0.0)
        return self._most(
            {"left": "leftmost", "right": "rightmost", "upper": "highest", "lower": "lowest"}[side], group
        )

    def _closest(self, group: tuple[Clause, ...], anchor: tuple[Clause, ...]) -> np.ndarray:
        v, a = self.all(group), self.all(anchor)
        out = np.where(v > 0, 0.5, 0.0)
        if a.sum() != 1.0 or a.max() != 1.0:
            return out
        j = int(np.argmax(a))
        distance = np.hypot(self.cx - self.cx[j], self.cy - self.cy[j])
        far = np.where((v > 0) & (np.arange(self.n) != j), distance, np.inf)
        best = int(np.argmin(far))
        others = np.delete(far, best)
        if len(others) and others.min() > 1.5 * far[best]:
            out[:] = 0.0
            out[best] = v[best]
        return out


def _kind_match(said: str, kind: str) -> float:
    """Whether a sign of `kind` could pass for the kind that was said."""
    if said == kind:
        return 1.0
    if said.split("_", 1)[-1] == kind.split("_", 1)[-1] and {said.split("_")[0], kind.split("_")[0]} == {
        "warn",
        "yellow",
    }:
        return 0.5
    return 0.5 if {said, kind} == {"no_stopping", "no_parking"} else 0.0
