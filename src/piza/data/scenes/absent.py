"""Sentences about nothing: true of something in another scene, and surely of nothing in this one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..sorec import write_values
from .language import expressions
from .meaning import Facts
from .objects import Clause, Expression, SceneObject
from .scene import render
from .write import _setup, pick_rows

LOOKED_AT = 50  # sentences looked at for each one that is wanted, at most


def is_absent(meaning: tuple[Clause, ...], facts: Facts) -> bool:
    """Whether a sentence of this meaning is surely true of nothing in a scene; what is doubtful of anything is not."""
    return not facts.n or bool(facts.all(meaning).max() == 0)


def is_near_miss(meaning: tuple[Clause, ...], facts: Facts) -> bool:
    """Whether something in the scene is of the kind that is spoken of, and surely all that is said of it but one thing."""
    return any((facts.all(less) == 1.0).any() for less in _weakened(meaning))


def _weakened(clauses: tuple[Clause, ...]) -> Iterator[tuple[Clause, ...]]:
    """The meanings that are left where one thing is not said; the kind of thing always is."""
    kind_is_named = any(clause[0] == "noun" for clause in clauses)
    for place, clause in enumerate(clauses):
        for left in _left_of(clause, kind_is_named):
            yield clauses[:place] + left + clauses[place + 1 :]


def _left_of(clause: Clause, kind_is_named: bool) -> Iterator[tuple[Clause, ...]]:
    """What may be left of one clause."""
    head = clause[0]
    if head in ("most", "nth", "pair", "closest"):  # "the leftmost red car": a red car, the leftmost car
        place = next(i for i, part in enumerate(clause) if isinstance(part, tuple))
        yield clause[place]
        for group in _weakened(clause[place]):
            yield ((*clause[:place], group, *clause[place + 1 :]),)
    elif head in ("body", "gender", "sign"):  # a word for the kind that says something more
        yield () if kind_is_named else (("noun", {"body": "car", "gender": "person", "sign": "sign"}[head]),)
    elif head != "noun":
        yield ()


def choose(
    facts: Facts,
    others: Sequence[Expression],
    count: int,
    rng: np.random.Generator,
    used: Mapping[str, int] | None = None,
) -> list[Expression]:
    """At most `count` different sentences of other scenes that are absent from this one.

    Near misses come first, then kinds of sentences that were seldom taken here, then sentences that were seldom `used`
    before. Fewer are returned where `LOOKED_AT` sentences for each one wanted hold no more.
    """
    used = used or {}
    near: dict[str, Expression] = {}
    far: dict[str, Expression] = {}
    for place in rng.permutation(len(others))[: LOOKED_AT * count]:
        e = others[place]
        if e.ref not in near and e.ref not in far and is_absent(e.meaning, facts):
            (near if is_near_miss(e.meaning, facts) else far)[e.ref] = e
        if len(near) >= 4 * count:  # enough to choose from
            break
    taken: list[Expression] = []
    kinds: Counter[str] = Counter()
    while len(taken) < count and (near or far):
        left = near or far
        e = min(left.values(), key=lambda e: (kinds[e.kind], used.get(e.ref, 0)))
        taken.append(left.pop(e.ref))
        kinds[e.kind] += 1
    return taken


def _told(
    number: int, seed: int, size: tuple[int, int], per_image: int
) -> tuple[list[SceneObject], list[Expression]]:
    """The objects of scene `number` of a folder, and the sentences that `write.write` writes about them."""
    scene_seed = seed * 1_000_003 + number
    objects = render(scene_seed, size, 0).objects
    rng = np.random.default_rng([scene_seed, 4])
    return objects, pick_rows(expressions(objects, size, rng, 4), per_image, rng)


def write_absent(
    out: str | Path,
    count: int,
    seed: int,
    each: int,
    size: tuple[int, int] = (2048, 1152),
    workers: int = 1,
    expressions_per_image: int = 8,
) -> int:
    """Write OUT/absent.json beside what `write.write` wrote with the same arguments; the number of sentences.

    A list of {"image", "ref"}: `each` sentences a scene, fewer where the other scenes have no more, that are in rows.json
    for another picture and surely true of nothing in this one. The scenes are drawn once more for it, as pictures do not
    tell what is in them. The same arguments write the same bytes, whatever the number of workers. Raises InputError for
    fewer than two scenes or one sentence.
    """
    check_absent(count, each)
    task = partial(_told, seed=seed, size=size, per_image=expressions_per_image)
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_setup) as pool:
            told = list(pool.map(task, range(count), chunksize=4))
    else:
        told = [task(number) for number in range(count)]
    absent: list[dict[str, str]] = []
    used: Counter[str] = Counter()
    for number, (objects, _) in enumerate(told):
        rng = np.random.default_rng([seed * 1_000_003 + number, 5])
        others = [e for other, (_, sentences) in enumerate(told) if other != number for e in sentences]
        chosen = choose(Facts(objects, size), others, each, rng, used)
        used.update(e.ref for e in chosen)
        absent += [{"image": f"{number:06d}.jpg", "ref": e.ref} for e in chosen]
    write_values(absent, Path(out) / "absent.json")
    return len(absent)


def check_absent(count: int, each: int) -> None:
    """Raise InputError where no sentences about nothing can be found: for fewer than two scenes or one sentence."""
    if count < 2:
        raise InputError(
            f"sentences about nothing are those of other scenes: at least 2 are needed, got {count}"
        )
    if each < 1:
        raise InputError(f"at least one sentence about nothing must be asked for, got {each}")
