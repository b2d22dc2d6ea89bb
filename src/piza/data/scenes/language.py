"""Sentences about the objects of a scene, each checked to name exactly one of them; short phrases with all their boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .meaning import Facts
from .objects import Clause, Expression, Scene, SceneObject
from .wording import (
    EXTREMES,
    ORDINALS,
    REGIONS,
    RELATIONS,
    one_of,
    sentence_of,
    with_article,
)
from .words import Name, name

KINDS = ("attribute", "relation", "position", "superlative")
MIN_PX, MAX_PX = 12.0, 60.0  # longest side of a target at a frame width of 2048
MIN_AREA = 236.0  # and its smallest area: 0.01 % of a frame of 2048x1152


# Never the subject of a sentence, though they may be spoken of in one.
_SCENERY = ("tree", "hedge", "lamp", "stall")


# Labels that tell too little to place anything by.
_NAMELESS = ("sign or light", "unknown")


def is_target(o: SceneObject, size: tuple[int, int]) -> bool:
    """Whether sentences may be written about the object."""
    k = size[0] / 2048
    x0, y0, x1, y1 = o.box_xyxy
    small_enough = MIN_PX * k <= o.longest <= MAX_PX * k and (x1 - x0) * (y1 - y0) >= MIN_AREA * k * k
    return (
        small_enough
        and o.visible >= 0.75
        and o.clarity >= 0.55
        and not o.truncated
        and o.category not in _SCENERY
    )


Draft = tuple[str, tuple[Clause, ...]]  # a modifier and the clause it claims


class Writer:
    """Writes checked sentences about one scene."""

    def __init__(
        self,
        objects: list[SceneObject],
        size: tuple[int, int],
        rng: np.random.Generator,
        facts: Facts | None = None,
        sided: bool = True,
        all_signs: bool = True,
    ) -> None:
        """`sided`: whether left and right may be spoken of; a mirrored photo forbids it. `all_signs`: whether all signs are
        among the objects; else only those of a kind are, and a sentence must name the kind."""
        self.facts, self.objects, self.rng, self.size = facts or Facts(objects, size), objects, rng, size
        self.sided, self.all_signs = sided, all_signs
        self.seen: set[str] = set()
        true = np.array([self.facts.value(("at", r)) == 1.0 for r in REGIONS])
        self._regions = [
            [r for r, t in zip(REGIONS, true[:, i], strict=True) if t] for i in range(len(objects))
        ]

    def true_of(self, clauses: tuple[Clause, ...], i: int) -> bool:
        """Whether all clauses are surely true of object `i`."""
        return bool(self.facts.all(clauses)[i] == 1.0)

    def unique(self, clauses: tuple[Clause, ...], i: int) -> bool:
        """Whether the clauses are true of object `i` and surely of no other."""
        if not self.all_signs and self.objects[i].category == "sign" and not _names_kind(clauses):
            return False
        return self.facts.names_only(clauses, i)

    # -- modifiers ---------------------------------------------------------------------------------------------
    def region(self, i: int) -> Draft | None:
        """Where in the image object `i` is."""
        if not self._regions[i]:
            return None
        r = one_of(self.rng, self._regions[i])
        return one_of(self.rng, REGIONS[r]), (("at", r),)

    def anchor(self, i: int, j: int) -> Name:
        """A name for the thing the target is placed by."""
        roll = self.rng.random()
        return name(self.objects[j], self.rng, 0 if roll < 0.1 else 1 if roll < 0.8 else 2)

    def _article(self, n: Name, j: int) -> str:
        if self.unique(n.claims, j):
            return f"the {n.text}" if self.rng.random() < 0.6 else with_article(n.text)
        return with_article(n.text)

    def relation(self, i: int, names: tuple[str, ...]) -> Draft | None:
        """A true relation of object i to something else."""
        rng = self.rng
        for _ in range(4):
            r = one_of(rng, names)
            r = "above" if (wording := r) == "hanging over" else r
            mates = np.flatnonzero(self.facts.relation(r)[i] == 1.0)
            mates = mates[~self.facts.vague[mates]]
            mates = mates[~np.isin(self.facts.category[mates], _NAMELESS)]
            if not len(mates):
                continue
            j = int(one_of(rng, mates))
            if self.objects[j].category in _SCENERY and rng.random() < 0.5:
                continue
            n = self.anchor(i, j)
            if not self.true_of(n.claims, j):
                continue
            return one_of(rng, RELATIONS[wording]).format(self._article(n, j)), (("rel", r, n.claims),)
        return None

    def between(self, i: int) -> Draft | None:
        """Which two objects it is between."""
        lefts = np.flatnonzero(self.facts.relation("flank right")[i] == 1.0)
        rights = np.flatnonzero(self.facts.relation("flank left")[i] == 1.0)
        lefts, rights = lefts[~self.facts.vague[lefts]], rights[~self.facts.vague[rights]]
        lefts, rights = (at[~np.isin(self.facts.category[at], _NAMELESS)] for at in (lefts, rights))
        if not len(lefts) or not len(rights):
            return None
        j, k = int(one_of(self.rng, lefts)), int(one_of(self.rng, rights))
        a, b = self.anchor(i, j), self.anchor(i, k)
        if not (self.true_of(a.claims, j) and self.true_of(b.claims, k)):
            return None
        if a.claims == b.claims and a.plural and self.rng.random() < 0.8:
            return f"between two {a.plural}", (("amid", a.claims, b.claims),)
        ta, tb = self._article(a, j), self._article(b, k)
        if self.rng.random() < 0.45:
            return f"between {ta} and {tb}", (("amid", a.claims, b.claims),)
        clauses = (("rel", "flank right", a.claims), ("rel", "flank left", b.claims))
        shapes = (f"between {ta} on its left and {tb} on its right", f"with {ta} on its left and {tb} on its right",
                  f"flanked by {ta} on the left and {tb} on the right", f"to the right of {ta} and to the left of {tb}")  # fmt: skip
        return one_of(self.rng, shapes), clauses

    def neighbor(self, i: int) -> Draft | None:
        """How it lies to another object."""
        roll = self.rng.random()
        if self.objects[i].pole >= 0 and roll < 0.45:
            d = self.relation(i, ("mounted above", "mounted below"))
            if d:
                return d
        if roll > 0.75:
            d = self.between(i)
            if d:
                return d
        if self.objects[i].category in ("traffic light", "pedestrian light", "sign", "lamp") and roll < 0.6:
            d = self.relation(i, ("hanging over",))
            if d:
                return d
        if self.objects[i].visible < 0.97 and roll < 0.6:
            d = self.relation(i, ("hidden by",))
            if d:
                return d
        return self.relation(
            i,
            (
                "left",
                "right",
                "just left",
                "just right",
                "near",
                "near",
                "above",
                "below",
                "in front of",
                "behind",
            ),
        )

    # -- plans -------------------------------------------------------------------------------------------------
    def plan(self, i: int, kind: str) -> tuple[Name, list[Draft]] | None:
        """A name (its claims may hold a comparison) and modifiers that together name object i alone."""
        return {
            "attribute": self._attribute,
            "position": self._position,
            "relation": self._relation,
            "superlative": self._superlative,
        }[kind](i)

    def _named(self, i: int, detail: int) -> Name | None:
        n = name(self.objects[i], self.rng, detail)
        return n if self.true_of(n.claims, i) else None

    def _attribute(self, i: int) -> tuple[Name, list[Draft]] | None:
        for detail in (1, 2, 2, 2):
            n = self._named(i, detail)
            if n and self.unique(n.claims, i):
                return n, []
        return None

    def _grow(self, i: int, make: Callable[[int], Draft | None]) -> tuple[Name, list[Draft]] | None:
        """A name that leaves several candidates, and a modifier that settles it; a second one if needed."""
        rng = self.rng
        for _ in range(8):
            n = self._named(i, int(rng.choice([0, 1, 1, 1, 2])))
            d = make(i)
            if n is None or d is None:
                continue
            if self.unique(n.claims, i) and rng.random() < 0.7:
                continue
            if self.unique(n.claims + d[1], i):
                return n, [d]
            e = self.region(i) if rng.random() < 0.5 else self.neighbor(i)
            if e and _differ(d, e) and self.unique(n.claims + d[1] + e[1], i):
                return n, [d, e]
        return None

    def _position(self, i: int) -> tuple[Name, list[Draft]] | None:
        return self._grow(i, self.region)

    def _relation(self, i: int) -> tuple[Name, list[Draft]] | None:
        return self._grow(i, self.neighbor)

    def _superlative(self, i: int) -> tuple[Name, list[Draft]] | None:
        rng, facts = self.rng, self.facts
        for _ in range(6):
            n = self._named(i, int(rng.choice([0, 1, 1, 1])))
            if n is None or facts.all(n.claims).sum() < 2:
                continue
            roll = rng.random()
            if roll < 0.18 and (facts.all(n.claims) > 0).sum() == 2:
                for side in rng.permutation(["left", "right", "upper", "lower"]):
                    c: Clause = ("pair", str(side), n.claims)
                    if self.unique((c,), i):
                        return Name(f"{side} {n.text}", (c,), person=n.person), []
            if roll < 0.36:
                side = one_of(rng, ("left", "right"))
                for k in (1, 2, 3, 4, 5):
                    c = ("nth", side, k, n.claims)
                    if self.unique((c,), i):
                        return Name(f"{ORDINALS[k]} {n.text}", (c,), person=n.person), [
                            (f"from the {side}", ())
                        ] if not _long(n) else [(f"counting from the {side}", ())]
            if roll < 0.5:
                j = int(rng.integers(len(self.objects)))
                if j != i and not facts.vague[j]:
                    b = name(self.objects[j], rng, 1)
                    c = ("closest", n.claims, b.claims)
                    if self.unique(b.claims, j) and self.unique((c,), i):
                        return Name(
                            f"{n.text} {one_of(rng, ('closest to', 'nearest to'))} the {b.text}",
                            (c,),
                            person=n.person,
                        ), []
            for extreme in rng.permutation(list(EXTREMES)):
                c = ("most", str(extreme), n.claims)
                if facts.value(c)[i] != 1.0:
                    continue
                if facts.rough and extreme in ("largest", "smallest") and "light" in self.objects[i].category:
                    continue  # boxes hold the housing or just the lamp
                shape = one_of(rng, EXTREMES[str(extreme)])
                if _long(n) and not shape.endswith("{}"):
                    shape = EXTREMES[str(extreme)][0]
                text = shape.format(n.text)
                if n.plural and rng.random() < 0.3 and shape.endswith("{}"):
                    text = (
                        f"{shape.format('one')} of the {n.plural}"
                        if rng.random() < 0.4
                        else f"{text} of all the {n.plural}"
                    )
                    text = text.replace(" one of the", " of the")
                if self.unique((c,), i):
                    return Name(text, (c,), person=n.person), []
        return None

    # -- wording -----------------------------------------------------------------------------------------------
    def write(self, i: int, kind: str) -> Expression | None:
        """One sentence of the kind about object i that has not been written yet; None if none was found."""
        plan = self.plan(i, kind)
        if plan is None:
            return None
        n, mods = plan
        clauses = n.claims + tuple(c for _, cs in mods for c in cs)
        texts = [t for t, _ in mods]
        words = len(n.text.split()) + sum(len(t.split()) for t in texts)
        used_at = any(c[0] == "at" for c in clauses)
        counted = any(c[0] in ("nth", "pair") for c in clauses)  # more would read as counting among fewer
        if not counted and self.rng.random() < (
            0.85 if words < 8 else 0.5 if words < 15 else 0.12
        ):  # true, though not needed
            d = self.region(i) if not used_at and self.rng.random() < 0.55 else self.neighbor(i)
            if d and _differ(("", clauses), d) and self.true_of(d[1], i):
                texts.append(d[0])
                clauses += d[1]
        if not self.unique(clauses, i) or not (self.sided or is_unsided(clauses)):
            return None
        ref = sentence_of(self.rng, n, texts, self.objects[i].category)
        if not 5 <= len(ref.split()) <= 30 or ref in self.seen:
            return None
        self.seen.add(ref)
        o = self.objects[i]
        mates = [p for j, p in enumerate(self.objects) if j != i]
        return Expression(ref, o.box_xyxy, i, kind, any(p.category == o.category for p in mates),
                          any(p.color == o.color and p.color is not None for p in mates), clauses)  # fmt: skip


def _differ(a: Draft, b: Draft) -> bool:
    """Whether two modifiers say different things: another relation, and a place in the picture once at most."""
    heads = [{c[:2] if c[0] == "rel" else c[0] for c in d[1]} for d in (a, b)]
    return not heads[0] & heads[1] & ({"at"} | {h for h in heads[0] if isinstance(h, tuple)})


def is_unsided(clauses: tuple[Clause, ...]) -> bool:
    """Whether the clauses stay true when the picture is mirrored."""
    for clause in clauses:
        if clause[0] in ("at", "rel", "most", "nth", "pair") and any(
            side in str(clause[1]) for side in ("left", "right")
        ):
            return False
        if not all(is_unsided(part) for part in clause if isinstance(part, tuple)):
            return False
    return True


def _names_kind(clauses: tuple[Clause, ...]) -> bool:
    """Whether the clauses say which kind of sign is meant."""
    return any(
        clause[:2] in (("sign", "kind"), ("sign", "family"))
        or (
            clause[0] in ("most", "nth", "pair", "closest")
            and _names_kind(next(p for p in clause if isinstance(p, tuple)))
        )
        for clause in clauses
    )


def _long(n: Name) -> bool:
    return len(n.text.split()) > 3


def expressions(
    objects: list[SceneObject],
    size: tuple[int, int],
    rng: np.random.Generator,
    per_object: int = 4,
    writer: Writer | None = None,
    targets: Sequence[int] | None = None,
    rounds: int = 2,
) -> list[Expression]:
    """Up to `per_object` different sentences for every object fit to be a target, of all four kinds where possible.

    `size` is the frame's (width, height). Every sentence is true of exactly one object under `meaning.Facts`. `targets`:
    the numbers of the objects that are; None for all that `is_target` lets through. `rounds`: how often every kind is tried.
    """
    if not objects:
        return []
    writer = writer or Writer(objects, size, rng)
    out: list[Expression] = []
    for i, o in enumerate(objects):
        if i not in targets if targets is not None else not is_target(o, size):
            continue
        kinds = [str(k) for k in rng.permutation(KINDS) if k != "superlative" or rng.random() < 0.6]
        if rng.random() < 0.6:  # seldom possible among look-alikes, so tried first
            kinds.sort(key=lambda k: k != "attribute")
        got = 0
        for k in kinds * rounds:
            if got >= per_object:
                break
            e = writer.write(i, k)
            if e:
                out.append(e)
                got += 1
    return out


def phrases(scene: Scene, rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    """Short noun phrases, each with the boxes (n, 4) xyxy of all objects it is true of.

    Phrases that are doubtful for some clearly visible object are left out.
    """
    if not scene.objects:
        return []
    h, w = scene.image.shape[:2]
    facts = Facts(scene.objects, (w, h))
    clear = np.array([o.visible >= 0.5 and o.clarity >= 0.3 for o in scene.objects])
    out: list[tuple[str, np.ndarray]] = []
    said: set[str] = set()
    for i, o in enumerate(scene.objects):
        if not clear[i] or facts.vague[i]:
            continue
        for detail in (0, 1, 2):
            n = name(o, rng, detail)
            v = facts.all(n.claims)
            if n.text in said or v[i] != 1.0 or ((v == 0.5) & clear & ~facts.vague).any():
                continue
            said.add(n.text)
            out.append((n.text, facts.box[(v == 1.0) & clear]))
    return out
