"""Frames with sentences, without their pixels: the scenes of caches, and the photos of `streets.rows`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from piza.training.from_scratch.frames.cache import FrameCache
from piza.training.from_scratch.lists.cached import Cache
from piza.training.from_scratch.lists.object_lists import ObjectList, read_street_rows

# Of these a photo lists all that may be there, so a sentence about another photo's is true of nothing where there is none.
ABSENT_CATEGORIES = ("bus", "truck", "person", "bicycle", "motorcycle", "traffic light")
VEHICLES = ("car", "van", "truck", "bus", "vehicle")


@dataclass
class Frames:
    """Frames of one kind with sentences: keys in the cache and their objects, in the same order."""

    keys: list[str]
    lists: list[ObjectList]

    def cached(self, cache: Cache) -> "Frames":
        """Those of which a cache has a list."""
        kept = [number for number, key in enumerate(self.keys) if key in cache.by_key]
        return Frames([self.keys[n] for n in kept], [self.lists[n] for n in kept])


def scene_frames(caches: Sequence[Path]) -> Frames:
    """The drawn scenes of caches; keys as `lists.cached` counts them."""
    keys, lists = [], []
    number = 0
    for folder in caches:
        cache_of_scenes = FrameCache(folder)
        for index in range(len(cache_of_scenes)):
            frame = cache_of_scenes[index]
            rows: list[Any] = [
                (ref, owner, values.astype(np.float32))
                for (ref, _, owner), values in zip(frame.rows, frame.relevance, strict=True)
            ]
            if rows:
                keys.append(f"scenes/{number}")
                lists.append(ObjectList(frame.objects, frame.size, frame.attributes, rows, frame.absent))
            number += 1
    return Frames(keys, lists)


def photo_frames(path: Path) -> Frames:
    """The photos of `streets.rows`, each with sentences about others of its source that are true of nothing in it."""
    content = json.loads(path.read_text())
    asked = {row["key"] for row in content["rows"]}
    keys = [photo["key"] for photo in content["photos"] if photo["key"] in asked]
    lists = read_street_rows(path)
    by_source: dict[str, list[tuple[str, list[str]]]] = {}
    for key, one in zip(keys, lists, strict=True):
        by_source.setdefault(key.split("/")[0], []).extend(
            (ref, one.words[index]) for ref, index, _ in one.rows
        )
    for key, one in zip(keys, lists, strict=True):
        source = key.split("/")[0]
        rng = np.random.default_rng([7, *key.encode()])
        others = by_source[source]
        for number in rng.permutation(len(others))[:60]:
            ref, words = others[int(number)]
            if len(one.absent) < 4 and is_absent(words, one, source):
                one.absent.append(ref)
    return Frames(keys, lists)


def is_absent(words: list[str], one: ObjectList, source: str) -> bool:
    """Whether a photo surely has no object of the kind or category of another's: nothing in it may be one."""
    there = {word for words_there in one.words for word in words_there}
    kinds = [word for word in words if word.startswith("kind=")]
    if kinds:
        return source == "signs" and not set(kinds) & there
    category = next((word[9:] for word in words if word.startswith("category=")), "")
    if category not in ABSENT_CATEGORIES or source not in ("dawn", "signs", "camvid"):
        return False
    rivals = [category, "cyclist", "motorcyclist"]
    if category in VEHICLES:
        rivals = [name for name in VEHICLES if name != "car" or category not in ("truck", "bus")]
    # A vehicle in doubt carries the word of all vehicles alone.
    bare = any(
        "category=vehicle" in words_there
        and not any(f"category={name}" in words_there for name in VEHICLES[:-1])
        for words_there in one.words
    )
    return not bare and not any(f"category={name}" in there for name in rivals if name != "vehicle")
