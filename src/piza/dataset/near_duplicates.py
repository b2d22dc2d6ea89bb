"""Sentences that say the same in nearly the same words, within one photo."""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

SAME_THING = 0.85  # how alike two sentences about one thing may be, of 1

# Words that may be left out or exchanged without another thing being meant.
_FILLERS = frozenset(
    "a an the is are it its this that there which who object thing positioned located situated placed seen visible "
    "appears being can be of in to scene image picture photo".split()
)
_SAME = {"colored": "color", "coloured": "color", "grey": "gray", "beside": "next", "automobile": "car"}


class Twin(NamedTuple):
    """Two sentences of one photo that say the same. first, second: their places, first < second. alike: 0 to 1.

    same_thing: whether they are about one object; else it is ambiguous which of two objects is meant.
    """

    first: int
    second: int
    alike: float
    same_thing: bool


def content(text: str) -> tuple[str, ...]:
    """The words that say which object is meant, in order."""
    words = re.findall(r"[^\W_]+", text.lower())  # numbers, too: they tell signs and buses apart
    return tuple(_SAME.get(word, word) for word in words if word not in _FILLERS)


def twins(texts: Sequence[str], photos: Sequence[Hashable], things: Sequence[Hashable]) -> Iterator[Twin]:
    """The pairs of sentences that say the same.

    Sentences about different objects are a pair where all their words are the same, fillers aside, as a single other
    word may distinguish the objects. Sentences about one object are a pair where they are more alike than
    `SAME_THING`.

    Args:
        texts: the sentences.
        photos: which photo each is about; only sentences about one photo are compared.
        things: which object each is about.
    """
    said = [content(text) for text in texts]
    alike_in: dict[tuple[Hashable, tuple[str, ...]], list[int]] = defaultdict(list)
    about: dict[tuple[Hashable, Hashable], list[int]] = defaultdict(list)
    for place, photo in enumerate(photos):
        alike_in[photo, said[place]].append(place)
    for places in alike_in.values():
        first = places[0]
        other = next((place for place in places if things[place] != things[first]), None)
        if other is not None:  # of each sentence one about another thing
            yield Twin(first, other, 1.0, False)
            for place in set(places) - {first, other}:
                pair = sorted((place, first if things[place] != things[first] else other))
                yield Twin(pair[0], pair[1], 1.0, False)
    for place, (photo, thing) in enumerate(zip(photos, things, strict=True)):
        for earlier in about[photo, thing]:
            alike = SequenceMatcher(None, said[earlier], said[place], autojunk=False).ratio()
            if alike > SAME_THING:
                yield Twin(earlier, place, alike, True)
                break
        about[photo, thing].append(place)
