"""Rows in SOREC's format about labeled photos: what `piza data sentences` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from piza.data.labels import LabeledBox, LabeledPhoto, LabelFormat, read_labels
from piza.data.sorec import canonical_name, find_image, write_values
from piza.data.streets.objects import MaybeBox, street_objects
from piza.data.streets.sentences import street_sentences
from piza.errors import InputError
from piza.files import check_writable
from piza.image import open_image


@dataclass(frozen=True)
class Written:
    """How many rows were written, about how many photos; how many photos have no boxes, and how many no sentence."""

    rows: int
    photos: int
    unlabeled: int
    silent: int


def write_sentences(
    labels: str | Path,
    images_dir: str | Path,
    out: str | Path,
    label_format: LabelFormat | None = None,
    seed: int = 0,
    per_object: int = 2,
    maybe: Sequence[LabeledPhoto] = (),
    mirrored: bool = False,
) -> Written:
    """Write sentences about labeled photos, each true of exactly one labeled object of its photo.

    The same arguments write the same bytes. Photos without boxes are counted and left out.

    Args:
        labels, images_dir, label_format: see `read_labels`.
        out: the JSON file of rows to write.
        per_object: at most so many sentences about an object.
        maybe: photos with boxes of a detector (`extra` holds the score), which may be of unlabeled look-alikes.
        mirrored: the photos may be mirrored, so that neither left nor right is said.

    Raises:
        InputError: for labels or photos that cannot be read, when no photo has a box, or when no sentence was found.
    """
    check_writable(out)
    photos = read_labels(labels, images_dir, label_format)
    labeled = [photo for photo in photos if photo.boxes]
    if not labeled:
        raise InputError(f"none of the {len(photos)} photos of {str(labels)!r} has a labeled box")
    doubtful = {
        canonical_name(photo.image): [
            MaybeBox(b.xyxy, _score(b, photo.image), b.category) for b in photo.boxes
        ]
        for photo in maybe
    }
    if doubtful and not doubtful.keys() & {canonical_name(photo.image) for photo in photos}:
        raise InputError(
            f"the boxes of a detector are about {min(doubtful)!r} and others that the labels do not name"
        )
    rows: list[dict[str, Any]] = []
    silent = 0
    for photo in labeled:
        found = _rows(
            photo,
            Path(images_dir),
            doubtful.get(canonical_name(photo.image), []),
            seed,
            per_object,
            not mirrored,
        )
        silent += not found
        rows += found
    if not rows:
        raise InputError(
            f"no sentence is true of only one object in any of the {len(labeled)} labeled photos; "
            "expected objects of at least 12 pixels that fill at most a twentieth of their photo"
        )
    write_values([{**row, "id": number} for number, row in enumerate(rows, start=1)], out)
    return Written(len(rows), len(labeled), len(photos) - len(labeled), silent)


def _score(box: LabeledBox, image: str) -> float:
    score = box.extra.get("score", 1.0)
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise InputError(
            f"the boxes of a detector about {image!r}: score: expected 0 to 1, got {score!r:.40}"
        )
    return float(score)


def _rows(
    photo: LabeledPhoto, images_dir: Path, maybe: list[MaybeBox], seed: int, per_object: int, sided: bool
) -> list[dict[str, Any]]:
    picture = open_image(find_image(images_dir, photo.image))
    if picture.shape[:2] != (photo.height, photo.width):
        raise InputError(
            f"the photo {photo.image!r} has {picture.shape[1]} x {picture.shape[0]} pixels, "
            f"but its labels are for {photo.width} x {photo.height}"
        )
    rng = np.random.default_rng([seed, *photo.image.encode("utf-8", "surrogateescape")])
    objects = street_objects(photo, picture, maybe)
    sentences, _ = street_sentences(objects, (photo.width, photo.height), rng, per_object, sided)
    rows = []
    for e in sentences:
        x1, y1, x2, y2 = e.box_xyxy
        box = [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)]
        rows.append({"image": photo.image, "bbox": box, "ref": e.ref, "category": objects[e.index].category})
    return rows
