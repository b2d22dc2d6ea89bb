"""Sentences about proposals without a language model: the generator of drawn scenes, on what a detector found.

A sentence is true of one object only, as far as the detector finds them all: it fits nothing else that may be there.
"""

from collections.abc import Sequence

import numpy as np

from piza.data.labels import LabeledBox, LabeledPhoto
from piza.data.scenes.signs import KINDS
from piza.data.streets.objects import MaybeBox, street_objects
from piza.data.streets.sentences import street_sentences
from piza.dataset.candidates import Candidate
from piza.dataset.records import Proposal
from piza.dataset.selection import SelectionConfig, merge_duplicates
from piza.image import ImageArray

GENERATOR = "generator"
MIN_CATEGORY_SCORE = (
    0.4  # score from which on a proposal is what its category says; below, nothing is said of it
)
SURE = 0.5  # score from which on something else in the photo is taken for real, so that sentences may name it
MAYBE = 0.35  # and from which on it may be there, so that no sentence may fit it
KNOWN = ("color", "state", "arrow", "view", "gender")  # groups of words that a sentence may rest on


def generated(
    image: ImageArray,
    proposals: Sequence[Proposal],
    seen: Sequence[Candidate],
    seed: int,
    count: int,
    sided: bool = True,
    maybe: float = MAYBE,
) -> list[list[str]]:
    """Up to `count` sentences about each proposal of one photo; none where nothing fits it alone.

    image: uint8 (height, width, 3) RGB. seen: all that a detector finds in the photo, large objects too. sided: False for
    a photo that may be mirrored. maybe: score from which on something else may be there: the lower, the fewer sentences, and the
    more of them are true.
    """
    height, width = image.shape[:2]
    known = [number for number, p in enumerate(proposals) if is_describable(p)]
    boxes = tuple(
        LabeledBox(proposals[n].box_xyxy, proposals[n].category, _known(proposals[n])) for n in known
    )
    photo = LabeledPhoto(proposals[0].image, width, height, boxes)
    seen = [c for c in merge_duplicates(seen, SelectionConfig().duplicate_iou) if c.category]
    others = [MaybeBox(c.xyxy, c.score, c.category) for c in seen]
    objects = street_objects(
        photo, image, others, {c.category for c in seen}, min_score=maybe, sure_score=SURE
    )
    rng = np.random.default_rng([seed, *photo.image.encode("utf-8", "surrogateescape")])
    sentences, _ = street_sentences(
        objects, (width, height), rng, count, sided, min_side=0.0, max_share=1.0, only=range(len(known))
    )
    texts: list[list[str]] = [[] for _ in proposals]
    for sentence in sentences:
        if sentence.ref not in texts[known[sentence.index]]:
            texts[known[sentence.index]].append(sentence.ref)
    return texts


def is_describable(proposal: Proposal) -> bool:
    """Whether the generator can describe a proposal: its category is known, with a score of at least `MIN_CATEGORY_SCORE`."""
    return bool(proposal.category) and proposal.score >= MIN_CATEGORY_SCORE


def _known(proposal: Proposal) -> dict[str, str]:
    """The words of a proposal that the generator knows what to do with."""
    words: dict[str, str] = {}
    for word in proposal.attributes:
        name, _, value = word.partition("=")
        if name in KNOWN or (name == "kind" and proposal.category == "sign" and value in KINDS):
            words[name] = value
    return words
