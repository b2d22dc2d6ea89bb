"""Several files of rows as one, and rows about photos that are there twice: `piza data merge` and `piza data dedupe`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from piza.data.sorec import canonical_name, check_image_name
from piza.dataset.similar_photos import SIMILAR, connected, hash_photos, similar_pairs
from piza.errors import HASH_BITS, InputError, check_whole

Rows = list[dict[str, Any]]


@dataclass
class Merged:
    """rows: of all files. repeated: left out, as the same row was there before. renumbered: whether ids were given anew."""

    rows: Rows
    repeated: int = 0
    renumbered: bool = False


def merge_rows(files: Sequence[tuple[str, Rows]], under: Sequence[str] = ()) -> Merged:
    """The rows of several files, in order; of rows with the same photo, box and sentence the first.

    Names of photos must mean the same photo in all files, or each file gets a folder of its own to put before them.

    Args:
        files: name, for messages, and rows of each.
        under: a folder for each file, "" for none; none at all: names stay.

    Raises:
        InputError: for another number of folders than files, a folder that leads elsewhere, and a photo that has one sentence
            with other boxes in two files: then two photos share a name, or one of the rows is wrong.
    """
    if under and len(under) != len(files):
        raise InputError(f"expected a folder for each of the {len(files)} files, got {len(under)}")
    for folder in under:
        if folder:
            check_image_name(folder)
    result = Merged([])
    seen: dict[tuple[str, str], list[tuple[list[Any], int]]] = {}
    ids: Counter[Any] = Counter()
    for number, (name, rows) in enumerate(files):
        folder = under[number].strip("/") if under else ""
        for row in rows:
            image = f"{folder}/{row['image']}" if folder else row["image"]
            key = (canonical_name(image), row["ref"])
            there = seen.setdefault(key, [])
            if any(row["bbox"] == box for box, _ in there):
                result.repeated += 1
                continue
            first = next((first for _, first in there if first != number), None)
            if first is not None:
                raise InputError(
                    f"{files[first][0]!r} and {name!r} have the sentence {row['ref'][:60]!r} for different boxes of the photo "
                    f"{image!r}; if these are two photos, give each file a folder of its own (--under)"
                )
            there.append((row["bbox"], number))
            result.rows.append({**row, "image": image})
            ids[_id(row)] += 1
    if any(count > 1 for count in ids.values()) or None in ids:
        result.renumbered = True
        result.rows = [{**row, "id": number} for number, row in enumerate(result.rows, start=1)]
    return result


def _id(row: dict[str, Any]) -> Any:
    return (type(row["id"]).__name__, row["id"]) if "id" in row else None


@dataclass
class Deduped:
    """rows: those of the photos that are kept. groups: photos that look the same, the kept one first. photos: of all rows."""

    rows: Rows
    groups: list[list[str]] = field(default_factory=list)
    photos: int = 0


def dedupe_rows(rows: Rows, images_dir: str | Path, similar: int = SIMILAR) -> Deduped:
    """Rows about one photo of each group that look the same: the one with the most rows, the first among equals.

    similar: bits of 256 that may differ. Raises InputError for a photo that cannot be read.
    """
    check_whole("similar", similar, 0, HASH_BITS)
    counts = Counter(row["image"] for row in rows)
    pairs = similar_pairs(hash_photos(counts, images_dir), similar)
    groups = [group for group in connected(list(counts), ((a, b) for a, b, _ in pairs)) if len(group) > 1]
    groups = [
        sorted(group, key=lambda image: -counts[image]) for group in groups
    ]  # stable: the first among equals
    dropped = {image for group in groups for image in group[1:]}
    return Deduped([row for row in rows if row["image"] not in dropped], groups, len(counts))
