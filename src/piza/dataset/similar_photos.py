"""Photos that look the same: the next of a burst, a copy that was resized, brightened or saved again.

Each photo gets a difference hash (which of two neighboring cells of a small gray copy is brighter): 256 bits, of which few
change where the photo hardly does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from piza.data.sorec import find_image
from piza.image import ImageSource, cut, decode_image

SIDE = 16
BITS = SIDE * SIDE
SIMILAR = 24
"""Bits that may differ between photos that look the same."""


def difference_hash(image: ImageSource) -> NDArray[np.bool_]:
    """(256,) whether each of 16 x 16 cells of a gray thumbnail is brighter than its left neighbor. Raises InputError for an
    image that cannot be read."""
    picture = decode_image(image)
    small = cut(picture, (0, 0, picture.shape[1], picture.shape[0]), (SIDE + 1, SIDE)).astype(np.float64)
    gray = small @ np.array([0.299, 0.587, 0.114])
    return np.asarray((gray[:, 1:] > gray[:, :-1]).ravel())


def hash_photos(images: Iterable[str], images_dir: str | Path) -> dict[str, NDArray[np.bool_]]:
    """The hash of each photo of a folder, by name. Raises InputError for one that is not there or cannot be read."""
    return {image: difference_hash(find_image(images_dir, image)) for image in dict.fromkeys(images)}


def similar_pairs(
    hashes: Mapping[str, NDArray[np.bool_]], at_most: int = SIMILAR
) -> Iterator[tuple[str, str, int]]:
    """Pairs of photos of which at most so many bits differ, and how many do; in the order of the photos, one by one: photos of a
    fixed camera are all alike."""
    names = list(hashes)
    if not names:
        return
    packed = np.packbits(np.stack([hashes[name] for name in names]), axis=1)
    for first, name in enumerate(names[:-1]):
        differing = np.bitwise_count(packed[first + 1 :] ^ packed[first]).sum(1)
        for other in np.flatnonzero(differing <= at_most):
            yield name, names[first + 1 + int(other)], int(differing[other])


def connected(names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Groups of names that pairs connect, each in the order of `names`, the groups in that of their first."""
    leader = {name: name for name in names}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for first, other in pairs:
        leader[find(other)] = find(first)
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(find(name), []).append(name)
    return list(groups.values())
