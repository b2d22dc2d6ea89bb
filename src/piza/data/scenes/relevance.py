"""Which things of a scene a sentence weighs: those it could mean by their looks, and those it places them by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .meaning import Facts
from .objects import Clause, Expression

RELEVANCE = ("alike", "like an anchor", "anchor")
_LOOKS = ("noun", "body", "gender", "tone", "color", "part", "is", "sign")


def relevance(expression: Expression, facts: Facts) -> np.ndarray:
    """(things, 3) for every thing of the scene, in the order of ROLES: 1 if surely so, 0 if surely not, 0.5 in between.

    Alike: all that the sentence says of its target's looks is true of it, wherever it lies and whatever is larger. Like an
    anchor: it looks like a thing that the target is placed by. Anchor: it is one, and lies to the target as is said.
    """
    alike = facts.all(tuple(_of_looks(expression.meaning)))
    kinds, anchors = [np.zeros(facts.n)], [np.zeros(facts.n)]
    for clause in expression.meaning:
        for looks, relation in _anchors(clause):
            found = facts.all(looks)
            kinds.append(found)
            if relation:
                found = np.minimum(found, facts.relation(relation)[expression.index])
            anchors.append(found)
    return np.stack([alike, np.max(kinds, 0), np.max(anchors, 0)], 1)


def _of_looks(clauses: Sequence[Clause]) -> Iterator[Clause]:
    for clause in clauses:
        if clause[0] in _LOOKS:
            yield clause
        elif clause[0] in ("most", "nth", "pair", "closest"):
            yield from _of_looks(next(part for part in clause if isinstance(part, tuple)))


def _anchors(clause: Clause) -> Iterator[tuple[tuple[Clause, ...], str]]:
    """What the anchors of a clause look like, and the relation of the target to them; "" where there is but one such."""
    if clause[0] == "rel":
        yield clause[2], clause[1]
    elif clause[0] == "closest":
        yield clause[2], ""
    elif clause[0] == "amid":
        for looks in clause[1:]:
            yield looks, "flank right"
            yield looks, "flank left"
    elif clause[0] in ("most", "nth", "pair"):
        for inner in clause[-1]:
            yield from _anchors(inner)
