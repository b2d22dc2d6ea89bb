"""Rows divided among the parts of a split: what `piza data split` does."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from piza.data.sizes import rows_with_sizes
from piza.data.sorec import write_values
from piza.dataset.grouping import NEAR, By, Group, group_photos
from piza.dataset.similar_photos import SIMILAR
from piza.errors import MAX_COUNT, MAX_SEED, InputError, check_whole
from piza.files import atomic_write, check_writable

# SOREC's: rows of train, val and test as they are in it, a sixth of Train-L as Train-S, and a test of traffic and of the rest.
SOREC = {"trainL": 0.614, "val": 0.107, "test": 0.279}
TRAIN_S = 0.163
SOREC_PARTS = ("trainS", "trainL", "val", "testA", "testB")
TRAFFIC = frozenset({
    "car", "van", "truck", "bus", "vehicle", "train", "tram", "bicycle", "motorcycle", "cyclist", "motorcyclist", "rider", "person",
    "pedestrian", "sign", "traffic sign", "traffic light", "pedestrian light", "countdown timer", "sign or light", "cone",
    "traffic cone",
})  # fmt: skip
"""Categories whose rows are of testA."""


@dataclass
class Split:
    """The rows of each part; which photos are kept together, and in which part they are."""

    parts: dict[str, list[dict[str, Any]]]
    groups: list[Group]
    part_of: dict[str, str]
    made_with: dict[str, Any] = field(default_factory=dict)


def split_rows(
    rows: Sequence[dict[str, Any]],
    images_dir: str | Path,
    parts: Mapping[str, float] | None = None,
    by: By = "photo",
    seed: int = 0,
    pattern: str | None = None,
    near: float = NEAR,
    similar: int | None = SIMILAR,
) -> Split:
    """Divide rows among parts, by photo, place or time; photos that look the same stay together.

    The same rows and seed give the same parts. Ids stay.

    Args:
        rows: as `piza.data.sorec.read_values` gives them.
        images_dir: the folder of the photos.
        parts: name -> its share of the rows, in any unit; None: SOREC's trainS (a part of trainL), trainL, val, testA (rows of
            traffic) and testB (other rows).
        by: see `group_photos`. By time, the first part gets the earliest photos.
        pattern: see `group_photos`.
        near: see `group_photos`.
        similar: see `group_photos`.
        seed: which groups go where.

    Raises:
        InputError: for no rows, a photo that cannot be read or whose group is not known, invalid shares, fewer groups
            than parts, and for SOREC's layout a row without a category.
    """
    if not rows:
        raise InputError("there are no rows to split")
    shares = dict(SOREC if parts is None else parts)
    if not shares or any(not 0 < share <= MAX_COUNT for share in shares.values()):
        raise InputError(f"expected parts with shares over 0, at most {MAX_COUNT}, got {shares}")
    check_whole("seed", seed, 0, MAX_SEED)
    if parts is None:
        _check_categories(rows)
    counts = Counter(row["image"] for row in rows)
    rows_with_sizes(list(rows), images_dir)  # raises for a photo that cannot be read
    groups = group_photos(list(counts), images_dir, by, pattern, near, similar)
    if len(groups) < len(shares):
        raise InputError(
            f"{len(shares)} parts need as many groups of photos, but these {len(counts)} photos make {len(groups)} by {by}, "
            "those that look the same taken together"
        )
    weights = [sum(counts[image] for image in group.images) for group in groups]
    chosen = (_in_order if by == "time" else _balanced)(weights, list(shares.values()), seed)
    names = list(shares)
    part_of = {
        image: names[part] for group, part in zip(groups, chosen, strict=True) for image in group.images
    }
    divided = {name: [row for row in rows if part_of[row["image"]] == name] for name in names}
    if parts is None:
        divided = _sorec_layout(divided, groups, seed)
    made_with = {
        "by": by,
        "seed": seed,
        "pattern": pattern,
        "near": near,
        "similar": similar,
        "shares": shares,
    }
    return Split(divided, groups, part_of, made_with)


def files_of_split(parts: Mapping[str, Any] | None, folder: str | Path) -> list[Path]:
    """The files that `write_split` will write. parts: as of `split_rows`.

    Raises InputError where the folder cannot be written to, or holds rows of other parts.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot write to {str(folder)!r}: expected a folder, got a file")
    if not folder.exists():
        check_writable(folder)
    files = [folder / f"{name}.json" for name in (*(SOREC_PARTS if parts is None else parts), "split")]
    others = sorted(path.name for path in folder.glob("*.json") if path not in files)
    if others:
        raise InputError(
            f"{str(folder)!r} holds {others[0]!r}, which is no part of this split; give a new folder"
        )
    for file in files if folder.exists() else ():
        check_writable(file)
    return files


def write_split(split: Split, folder: str | Path) -> list[Path]:
    """Write FOLDER/PART.json of each part, and FOLDER/split.json, which says which photo is where and which stay together.

    Raises InputError as `files_of_split`.
    """
    files_of_split(split.parts, folder)
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    for name, rows in split.parts.items():
        write_values(rows, folder / f"{name}.json")
    together = [group.images for group in split.groups if len(group.images) > 1]
    content = {**split.made_with, "together": together, "part_of": split.part_of}
    with atomic_write(folder / "split.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    return [folder / f"{name}.json" for name in split.parts]


def _balanced(weights: Sequence[int], shares: Sequence[float], seed: int) -> list[int]:
    """The part of each group, so that the parts' weights come near their shares, and no part is empty."""
    wanted = np.array(shares) / sum(shares) * sum(weights)
    got, groups_of = np.zeros(len(shares)), np.zeros(len(shares), int)
    chosen = [0] * len(weights)
    order = np.random.default_rng(seed).permutation(len(weights)).tolist()
    order.sort(key=lambda group: -weights[group])  # large ones first, as small ones level out; ties as drawn
    for done, group in enumerate(order):
        empty = np.flatnonzero(groups_of == 0)
        open_parts = empty if len(empty) >= len(order) - done else np.arange(len(shares))
        part = int(open_parts[np.argmax((wanted - got)[open_parts])])
        chosen[group] = part
        got[part] += weights[group]
        groups_of[part] += 1
    return chosen


def _in_order(weights: Sequence[int], shares: Sequence[float], seed: int) -> list[int]:
    """The part of each group, in their order: the first ones in the first part. No part is empty."""
    ends = np.cumsum(shares) / sum(shares) * sum(weights)
    chosen: list[int] = []
    part, before = 0, 0.0
    for done, weight in enumerate(weights):
        left, parts_left = len(weights) - done, len(shares) - 1 - part
        full = before + weight / 2 > ends[part]  # most of it lies behind the end
        if parts_left and part in chosen and (full or left <= parts_left):
            part += 1
        chosen.append(part)
        before += weight
    return chosen


def _check_categories(rows: Sequence[dict[str, Any]]) -> None:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("category"), str) or not row["category"]:
            raise InputError(
                f"row {number} has no 'category', which tells testA (traffic) from testB in SOREC's layout; give parts of your "
                "own, such as train=8,val=1,test=1"
            )


def _sorec_layout(
    divided: dict[str, list[dict[str, Any]]], groups: Sequence[Group], seed: int
) -> dict[str, list[dict[str, Any]]]:
    """trainS: whole groups of trainL, until they hold its share of the rows. testA, testB: by category."""
    train = divided["trainL"]
    counts = Counter(row["image"] for row in train)
    own = [group.images for group in groups if counts[group.images[0]]]
    small: set[str] = set()
    for number in np.random.default_rng([seed, 1]).permutation(len(own)):
        if small and sum(counts[image] for image in small) >= TRAIN_S * len(train):
            break
        small.update(own[number])
    test = divided["test"]
    return {
        "trainS": [row for row in train if row["image"] in small],
        "trainL": train,
        "val": divided["val"],
        "testA": [row for row in test if row["category"] in TRAFFIC],
        "testB": [row for row in test if row["category"] not in TRAFFIC],
    }
