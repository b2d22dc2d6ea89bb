"""Pixels of 16 bits: cameras store 10, 12 or 14 bits in them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piza.errors import InputError

GRAY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
DARKEST = 64  # of the upper eight bits: colors that stay below use 14 bits or fewer


def scale_16_bit(values: NDArray[Any], highest: int) -> NDArray[np.uint8]:
    """Values up to `highest`, of 8 to 16 bits, to 8, rounded. Row by row, as it takes eight bytes each."""
    depth = min(bits for bits in (8, 10, 12, 14, 16) if highest < 2**bits)
    scaled = np.empty(values.shape, np.uint8)
    for row, out in zip(values, scaled, strict=True):
        out[...] = (row.astype(np.uint32) * 510 + 2**depth - 1) // (2 * (2**depth - 1))
    return scaled


def is_deep_color(image: Image.Image) -> bool:
    """Whether a file that is not decoded yet holds 16 bits a channel, of which Pillow gives the upper eight."""
    if image.mode in GRAY_MODES:
        return False
    for tile in getattr(image, "tile", None) or ():
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(isinstance(value, str) and ";16" in value for value in arguments):
            return True
        if image.format == "PPM" and any(isinstance(value, int) and value > 4095 for value in arguments):
            return True
    return False


def check_deep_color(image: Image.Image, name: str) -> None:
    """Raises InputError where the upper eight bits of 16 hold next to nothing: the picture would be nearly black.

    image: decoded, of a file for which `is_deep_color`.
    """
    bands: Any = image.getextrema()
    colors = bands[: 1 if image.mode == "LA" else 3] if isinstance(bands[0], tuple) else [bands]
    highest = max(band[1] for band in colors)
    if highest < DARKEST:
        bits = 8 + int(highest).bit_length()
        raise InputError(
            f"{name} holds colors of 16 bits that use the lowest {bits} only, and the upper 8 are read: expected values up "
            "to 65,535, or 8 bits"
        )
