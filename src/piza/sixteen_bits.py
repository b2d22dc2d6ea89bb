"""Pixels of 16 bits: cameras store 10, 12 or 14 bits in them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piza.errors import InputError

GRAY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
DARKEST = 64  # of the upper eight bits: colors that stay below leave two bits unused


def scale_16_bit(values: NDArray[Any], highest: int) -> NDArray[np.uint8]:
    """Values up to `highest`, of 8 to 16 bits, to 8, rounded. Row by row, as it takes eight bytes each."""
    depth = min(bits for bits in (8, 10, 12, 14, 16) if highest < 2**bits)
    scaled = np.empty(values.shape, np.uint8)
    for row, out in zip(values, scaled, strict=True):
        out[...] = (row.astype(np.uint32) * 510 + 2**depth - 1) // (2 * (2**depth - 1))
    return scaled


def color_bits(image: Image.Image) -> int:
    """Bits a channel of a file that is not decoded yet, where they are more than 12 and Pillow gives the upper eight of them;
    else 8."""
    if image.mode in GRAY_MODES:
        return 8
    if image.format == "JPEG2000":
        bits = _jpeg2000_bits(image)
        return bits if bits > 12 else 8
    for tile in getattr(image, "tile", None) or ():
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(isinstance(value, str) and ";16" in value for value in arguments):
            return 16
        if image.format == "PPM" and any(isinstance(value, int) and value > 4095 for value in arguments):
            return 16
    return 8


def check_deep_color(image: Image.Image, bits: int, name: str) -> None:
    """Raises InputError where the upper eight of more bits hold next to nothing: the picture would be nearly black.

    image: decoded, of a file with `color_bits` of `bits`, over 8.
    """
    bands: Any = image.getextrema()
    colors = bands[: 1 if image.mode == "LA" else 3] if isinstance(bands[0], tuple) else [bands]
    highest = max(band[1] for band in colors)
    if highest < DARKEST:
        used = bits - 8 + int(highest).bit_length()
        raise InputError(
            f"{name} holds colors of {bits} bits that use the lowest {used} only, and the upper 8 are read: expected values up "
            f"to {2**bits - 1:,}, or 8 bits"
        )


def _jpeg2000_bits(image: Image.Image) -> int:
    """Bits of the deepest channel, from the head of the codestream (ISO 15444-1, A.5.1), behind whatever else is there."""
    file = getattr(image, "fp", None)
    if file is None:
        return 8
    before = file.tell()
    file.seek(0)
    data = file.read(2**20)  # the decoder gives up on a codestream that begins later
    file.seek(before)
    head = data[max(data.find(b"\xff\x4f\xff\x51"), 0) :]
    depths = head[42 : 42 + 3 * min(int.from_bytes(head[40:42], "big"), 4) : 3]
    return max(((depth & 127) + 1 for depth in depths), default=8)
