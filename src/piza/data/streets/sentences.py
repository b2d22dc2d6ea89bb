"""Sentences about the objects of a photo, by the generator of `piza.data.scenes`."""

from collections.abc import Collection, Sequence

import numpy as np

from piza.data.scenes.language import Writer, expressions
from piza.data.scenes.meaning import Facts
from piza.data.scenes.objects import Expression, SceneObject

MIN_SIDE = 12.0  # pixels of the photo: the longest side of a target
MAX_SHARE = 0.05  # and how much of the photo its box may fill
MIN_VISIBLE = 0.6
ROUNDS = 4  # how often each kind of sentence is tried: among look-alikes few are true of one object
_NEVER = ("pole", "tree", "hedge", "lamp", "stall", "sign or light", "unknown")


def targets_of(
    objects: Sequence[SceneObject],
    size: tuple[int, int],
    min_side: float = MIN_SIDE,
    max_share: float = MAX_SHARE,
) -> list[int]:
    """The numbers of the objects that sentences may be about."""
    found = []
    for number, o in enumerate(objects):
        x1, y1, x2, y2 = o.box_xyxy
        small = o.longest >= min_side and (x2 - x1) * (y2 - y1) <= max_share * size[0] * size[1]
        if small and o.certain and o.visible >= MIN_VISIBLE and not o.truncated and o.category not in _NEVER:
            found.append(number)
    return found


def street_sentences(
    objects: list[SceneObject],
    size: tuple[int, int],
    rng: np.random.Generator,
    per_object: int = 4,
    sided: bool = True,
    min_side: float = MIN_SIDE,
    max_share: float = MAX_SHARE,
    all_signs: bool = True,
    only: Collection[int] | None = None,
) -> tuple[list[Expression], Facts]:
    """Sentences that are each true of exactly one object, whatever the uncertain ones are; and the facts they rest on.

    Args:
        objects: as `street_objects` gives them. size: (width, height) of the photo.
        sided: False for a photo that may be mirrored: neither left nor right is said.
        min_side, max_share: of targets, see `targets_of`.
        all_signs: False where only signs of known kinds are labeled: a sentence then names the kind.
        only: the numbers of the objects that sentences are wanted about; None: of all.
    """
    if not objects:
        return [], Facts([], size)
    facts = Facts(objects, size, rough=True)
    writer = Writer(objects, size, rng, facts, sided, all_signs)
    targets = targets_of(objects, size, min_side, max_share)
    targets = [number for number in targets if only is None or number in only]
    return expressions(objects, size, rng, per_object, writer, targets, ROUNDS), facts
