"""Sentences about the objects of a scene, each checked to name exactly one of them; short phrases with all their boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .meaning import Facts
from .objects import Clause, Expression, Scene, SceneObject
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


def _one(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _a(text: str) -> str:
    first = text.split(maxsplit=1)[0].lower()
    return (
        "an " if (first[0] in "aeiou" and not first.startswith(("one", "uni"))) or first == "suv" else "a "
    ) + text


_REGIONS = {
    "left": ("on the left side of the scene", "on the left", "on the left-hand side", "on the left side of the picture", "in the left part of the image", "towards the left of the scene"),
    "right": ("on the right side of the scene", "on the right", "on the right-hand side", "on the right side of the image", "in the right part of the picture", "towards the right of the scene"),
    "middle": ("in the middle of the scene", "in the middle", "around the center of the photo", "near the center of the picture", "in the central part of the image"),
    "top": ("in the upper part of the scene", "at the top of the photo", "near the top of the picture", "high up in the image"),
    "bottom": ("in the lower part of the scene", "at the bottom of the photo", "near the bottom of the image", "in the foreground at the bottom of the picture"),
    "far left": ("at the far left of the scene", "close to the left edge of the picture", "on the far left", "on the far left side", "near the left border of the photo"),
    "far right": ("at the far right of the scene", "close to the right edge of the picture", "on the far right", "on the far right side", "near the right border of the photo"),
    "left half": ("in the left half of the image",), "right half": ("in the right half of the image",),
    "upper left": ("in the upper left of the scene", "in the top left part of the image"),
    "upper right": ("in the upper right of the scene", "in the top right part of the image"),
    "lower left": ("in the lower left of the scene", "in the bottom left part of the picture"),
    "lower right": ("in the lower right of the scene", "in the bottom right part of the picture"),
}  # fmt: skip
_RELATIONS = {
    "left": ("to the left of {}", "on the left of {}", "left of {}", "with {} somewhere to its right", "with {} to its right"),
    "right": ("to the right of {}", "on the right of {}", "right of {}", "with {} somewhere to its left", "with {} to its left"),
    "just left": ("just to the left of {}", "immediately left of {}", "directly to the left of {}", "with {} right beside it on its right"),
    "just right": ("just to the right of {}", "immediately right of {}", "directly to the right of {}", "with {} right beside it on its left"),
    "near": ("next to {}", "next to {}", "beside {}", "close to {}", "near {}", "adjacent to {}", "right by {}", "alongside {}"),
    "above": ("above {}", "over {}", "higher up than {} and right over it", "with {} below it"),
    "hanging over": ("hanging over {}", "hanging above {}", "above {}", "over {}"),
    "below": ("below {}", "beneath {}", "underneath {}", "under {}", "with {} above it"),
    "mounted above": ("mounted above {}", "attached to the pole above {}", "directly above {}", "on the same pole above {}", "fixed just above {}"),
    "mounted below": ("mounted below {}", "attached to the pole below {}", "directly under {}", "on the same pole below {}", "hanging just below {}"),
    "in front of": ("in front of {}", "partly in front of {}", "ahead of {} from the camera's point of view", "with {} behind it", "directly in front of {}"),
    "behind": ("behind {}", "just behind {}", "directly behind {}", "with {} in front of it"),
    "hidden by": ("partially hidden by {}", "partly hidden behind {}", "partially obscured by {}", "partially blocked by {}", "partly covered by {}"),
}  # fmt: skip
_EXTREMES = {
    "leftmost": ("leftmost {}", "{} on the far left", "{} farthest to the left", "{} furthest left"),
    "rightmost": ("rightmost {}", "{} on the far right", "{} farthest to the right", "{} furthest right"),
    "highest": ("highest {}", "{} that is highest up", "{} at the very top", "uppermost {}", "topmost {}"),
    "lowest": ("lowest {}", "{} lowest in the picture"),
    "nearest": ("nearest {}", "{} closest to the camera", "{} closest to us", "{} that is closest to the camera", "{} nearest to the viewer", "closest {}"),
    "farthest": ("farthest {}", "{} that is farthest away", "{} farthest in the distance", "{} farthest from the camera", "most distant {}", "{} furthest away"),
    "largest": ("largest {}", "biggest {}", "{} that appears largest"),
    "smallest": ("smallest {}", "{} that appears smallest", "{} that looks tiniest"),
}  # fmt: skip
_ORDINALS = ("", "first", "second", "third", "fourth", "fifth")
_VERBS = ("located", "positioned", "situated", "standing", "visible", "placed", "found")
_MOVERS = ("located", "positioned", "situated", "visible", "seen")

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
        true = np.array([self.facts.value(("at", r)) == 1.0 for r in _REGIONS])
        self._regions = [
            [r for r, t in zip(_REGIONS, true[:, i], strict=True) if t] for i in range(len(objects))
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
        r = _one(self.rng, self._regions[i])
        return _one(self.rng, _REGIONS[r]), (("at", r),)

    def anchor(self, i: int, j: int) -> Name:
        """A name for the thing the target is placed by."""
        roll = self.rng.random()
        return name(self.objects[j], self.rng, 0 if roll < 0.1 else 1 if roll < 0.8 else 2)

    def _article(self, n: Name, j: int) -> str:
        if self.unique(n.claims, j):
            return f"the {n.text}" if self.rng.random() < 0.6 else _a(n.text)
        return _a(n.text)

    def relation(self, i: int, names: tuple[str, ...]) -> Draft | None:
        """A true relation of object i to something else."""
        rng = self.rng
        for _ in range(4):
            r = _one(rng, names)
            r = "above" if (wording := r) == "hanging over" else r
            mates = np.flatnonzero(self.facts.relation(r)[i] == 1.0)
            mates = mates[~self.facts.vague[mates]]
            mates = mates[~np.isin(self.facts.category[mates], _NAMELESS)]
            if not len(mates):
                continue
            j = int(_one(rng, mates))
            if self.objects[j].category in _SCENERY and rng.random() < 0.5:
                continue
            n = self.anchor(i, j)
            if not self.true_of(n.claims, j):
                continue
            return _one(rng, _RELATIONS[wording]).format(self._article(n, j)), (("rel", r, n.claims),)
        return None

    def between(self, i: int) -> Draft | None:
        """Which two objects it is between."""
        lefts = np.flatnonzero(self.facts.relation("flank right")[i] == 1.0)
        rights = np.flatnonzero(self.facts.relation("flank left")[i] == 1.0)
        lefts, rights = lefts[~self.facts.vague[lefts]], rights[~self.facts.vague[rights]]
        lefts, rights = (at[~np.isin(self.facts.category[at], _NAMELESS)] for at in (lefts, rights))
        if not len(lefts) or not len(rights):
            return None
        j, k = int(_one(self.rng, lefts)), int(_one(self.rng, rights))
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
        return _one(self.rng, shapes), clauses

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
                side = _one(rng, ("left", "right"))
                for k in (1, 2, 3, 4, 5):
                    c = ("nth", side, k, n.claims)
                    if self.unique((c,), i):
                        return Name(f"{_ORDINALS[k]} {n.text}", (c,), person=n.person), [
                            (f"from the {side}", ())
                        ] if not _long(n) else [(f"counting from the {side}", ())]
            if roll < 0.5:
                j = int(rng.integers(len(self.objects)))
                if j != i and not facts.vague[j]:
                    b = name(self.objects[j], rng, 1)
                    c = ("closest", n.claims, b.claims)
                    if self.unique(b.claims, j) and self.unique((c,), i):
                        return Name(
                            f"{n.text} {_one(rng, ('closest to', 'nearest to'))} the {b.text}",
                            (c,),
                            person=n.person,
                        ), []
            for extreme in rng.permutation(list(_EXTREMES)):
                c = ("most", str(extreme), n.claims)
                if facts.value(c)[i] != 1.0:
                    continue
                if facts.rough and extreme in ("largest", "smallest") and "light" in self.objects[i].category:
                    continue  # boxes hold the housing or just the lamp
                shape = _one(rng, _EXTREMES[str(extreme)])
                if _long(n) and not shape.endswith("{}"):
                    shape = _EXTREMES[str(extreme)][0]
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
        ref = _word(self.rng, n, texts, self.objects[i].category)
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


def _word(rng: np.random.Generator, n: Name, mods: list[str], category: str) -> str:
    """Put a name and its modifiers into one sentence."""
    t = n.text
    unique_kind = any(c[0] in ("most", "nth", "pair", "closest") for c in n.claims)
    ordinal = mods and (mods[0].startswith("from the") or mods[0].startswith("counting from"))
    if ordinal:
        t, mods = f"{t} {mods[0]}", mods[1:]
    verb = _one(rng, _MOVERS if n.person or category in ("car", "van", "truck", "bus") else _VERBS)
    if verb == "standing" and category in ("balloon", "flag"):
        verb = "visible"
    joined = _join(rng, mods)
    the = f"the {t}"
    roll = rng.random()
    if not mods:
        shapes = (f"{the}", f"{the}", f"find {the}", f"locate {the} in this picture", f"the object is {the if unique_kind else _a(t)}",
                  f"{the} in the scene", f"look for {the}", f"you can see {the if unique_kind else _a(t)}", f"point to {the} in the image")  # fmt: skip
        out = _one(rng, shapes)
    elif roll < 0.30:
        out = f"{the}{_glue(joined)}"
    elif roll < 0.58:
        out = f"{the} is {_predicate(verb, joined)}"
    elif roll < 0.70:
        out = f"the object is {the if unique_kind else _a(t)}{_glue(joined)}"
    elif roll < 0.80:
        out = f"{_one(rng, ('find', 'locate', 'look for', 'point to', 'show me', 'this is'))} {the}{_glue(joined)}"
    elif roll < 0.86 and not unique_kind:
        out = f"{_one(rng, ('there is', 'you can see', 'one can see'))} {_a(t)}{_glue(joined)}"
    elif roll < 0.93:
        first, rest = mods[0], mods[1:]
        link = f"{the}" if unique_kind or rng.random() < 0.5 else f"there is {_a(t)}"
        out = f"{first}, {link}" if not rest else f"{first}, {link}{_glue(_join(rng, rest))}"
        if first.startswith(("with ", "mounted", "fixed", "hanging", "flanked", "higher", "ahead", "partly")):
            out = f"{the}{_glue(joined)}"
    else:
        who = "who" if n.person else "which"
        out = f"{the}, {who} is {_predicate(verb, joined)}"
    return f"{out[0].upper()}{out[1:]}."


def _join(rng: np.random.Generator, mods: list[str]) -> str:
    if len(mods) < 2:
        return mods[0] if mods else ""
    return mods[0] + "".join(
        _one(rng, (", ", " and ", ", ") if not m.startswith("with") else (", ",)) + m for m in mods[1:]
    )


def _glue(joined: str) -> str:
    return (
        ", "
        if joined.startswith(("mounted", "with ", "flanked", "fixed", "hanging", "higher", "attached"))
        else " "
    ) + joined


def _predicate(verb: str, joined: str) -> str:
    if joined.startswith(("mounted", "flanked", "fixed", "hanging", "attached", "partially", "partly")):
        return joined
    if joined.startswith("with "):
        return "shown " + joined
    return f"{verb} {joined}"


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
