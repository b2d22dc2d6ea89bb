"""Opening pictures from untrusted places, and cutting windows out of them.

Everything after this module sees one kind of picture: an array of uint8, shape (height, width, 3), RGB, upright.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from piza.errors import InputError, reason

ImageArray: TypeAlias = NDArray[np.uint8]
ImageSource: TypeAlias = "str | Path | Image.Image | NDArray | DecodedImage"

MAX_PIXELS = 150_000_000
"""Larger pictures are refused before they are decoded: 150 megapixels are 450 MB of RGB."""

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
"""What is read. A closed list, because Pillow also reads formats that start other programs (EPS)."""

BACKGROUND = 128
"""Gray level put behind transparent pixels: neither the bright nor the dark extreme."""

REDUCING_GAP = 1.9
"""A window that shrinks by more than twice this is first shrunk by a whole number, such that it still shrinks by this much:
faster, and within a few gray levels of the same pixels. Just below two: five megapixels shrink by 3.8 for a first look."""

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")

# EXIF orientation -> the turn that makes the stored rows upright (EXIF 2.32, tag 0x0112).
_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[int, Callable[[NDArray], NDArray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


class DecodedImage:
    """A file that Pillow has decoded, and that nobody has made an array of: that takes as long again, and looks at parts of
    it (`cut`) do without. `open_image` makes the array, once."""

    def __init__(self, image: Image.Image):
        self.image = image  # upright RGB, and nobody else's
        self._array: ImageArray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, 3), as of the array."""
        return self.image.height, self.image.width, 3

    def array(self) -> ImageArray:
        if self._array is None:
            self._array = np.array(self.image)
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return np.array(self.array(), dtype=dtype, copy=copy)


def decode_image(image: ImageSource) -> ImageArray | DecodedImage:
    """As `open_image`, but a file of plain RGB is left as Pillow decoded it."""
    if isinstance(image, DecodedImage):
        return image
    if not isinstance(image, (str, Path)):
        return open_image(image)
    with _open_file(image) as opened:
        if opened.mode != "RGB" or opened.has_transparency_data:
            return _from_pillow(opened, repr(str(image)))
        _decode(opened, repr(str(image)))
        if opened.mode != "RGB" or _orientation(opened) != 1:  # known for certain when it is decoded
            return _from_pillow(opened, repr(str(image)))
        return DecodedImage(opened.copy() if opened.readonly else opened)


def open_image(image: ImageSource) -> ImageArray:
    """Any picture a user may hand over -> uint8 array (height, width, 3), RGB, turned upright.

    Takes the path of a file (JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF, PPM, JPEG 2000; the first frame of an animation), a
    Pillow image, or a numpy array of uint8 or uint16 with shape (h, w), (h, w, 1), (h, w, 3) RGB or (h, w, 4) RGBA.
    The EXIF orientation is respected; palette, gray, CMYK, one-bit and 16-bit pictures are converted (16 bits are
    scaled, not clipped); transparent pixels are laid on gray.

    Raises InputError, in one sentence, for a file that is missing, is no picture, is damaged or is over
    `MAX_PIXELS`, and for an array of another shape or type.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, DecodedImage):
        return image.array()
    if isinstance(image, Image.Image):
        return _from_pillow(image, "the picture")
    if not isinstance(image, (str, Path)):
        raise InputError(
            f"a picture must be a path, a Pillow image or a numpy array, got {type(image).__name__}"
        )
    with _open_file(image) as opened:
        return _from_pillow(opened, repr(str(image)))


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of the picture `open_image` would give, read from the head of the file; no pixel is decoded.

    Raises InputError for a file that is missing, is no picture, or is over `MAX_PIXELS`; damaged pixels are not seen.
    """
    with _open_file(path) as opened:
        _check_size(opened.width, opened.height, repr(str(path)))
        # Pillow turns the size of a TIFF itself. It decodes a whole PNG to look for an orientation behind the pixels,
        # where next to nobody writes one.
        behind = opened.format == "PNG" and not {"exif", "Raw profile type exif"} & set(opened.info)
        turned = opened.format != "TIFF" and not behind and _orientation(opened) >= 5
        return (opened.height, opened.width) if turned else opened.size


def _open_file(image: str | Path) -> Image.Image:
    name = repr(str(image))
    _check_file(image, name)
    try:
        with _quiet():
            return Image.open(image, formats=FORMATS)
    except UnidentifiedImageError:
        raise InputError(f"{name} is not a picture that can be read (JPEG, PNG, WebP, TIFF, ...)") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name} is too large: over {MAX_PIXELS // 10**6} megapixels") from None
    except PermissionError:
        raise InputError(f"{name} cannot be read: no permission") from None
    except Exception as error:  # decoders meet hostile bytes and raise nearly anything
        raise InputError(f"{name} cannot be read as a picture: {reason(error)}") from None


def cut(
    picture: ImageArray | DecodedImage, window_xyxy: Sequence[float] | NDArray, size_wh: tuple[int, int]
) -> ImageArray:
    """Cut a window out of a picture and resize it: uint8 (h, w, 3) with (w, h) = `size_wh`.

    `window_xyxy` is in pixels of the picture, need not be whole numbers, and must lie inside the picture (to
    1e-6) and have an area. Bilinear; when the window shrinks the filter widens with the scale, so nothing
    aliases. Pixels just outside the window take part at its edges, as if the whole picture were resized.

    Raises ValueError for a window outside the picture or without area, or a size below 1: those are faults of
    the caller, not of the user.
    """
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = (float(value) for value in window_xyxy)
    out_w, out_h = (int(value) for value in size_wh)
    inside = x1 >= -1e-6 and y1 >= -1e-6 and x2 <= width + 1e-6 and y2 <= height + 1e-6
    if not (inside and x2 > x1 and y2 > y1):
        raise ValueError(f"the window {(x1, y1, x2, y2)} is not inside a picture of {width} x {height}")
    if out_w < 1 or out_h < 1:
        raise ValueError(f"a window cannot be cut to {out_w} x {out_h} pixels")

    if isinstance(picture, DecodedImage):
        box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        return _shrunk(picture.image, (out_w, out_h), box)

    # Only the part of the picture the filter can reach is handed to Pillow, which copies what it gets.
    reach_x = math.ceil(max((x2 - x1) / out_w, 1.0)) + 1
    reach_y = math.ceil(max((y2 - y1) / out_h, 1.0)) + 1
    left, right = max(math.floor(x1) - reach_x, 0), min(math.ceil(x2) + reach_x, width)
    top, bottom = max(math.floor(y1) - reach_y, 0), min(math.ceil(y2) + reach_y, height)
    box = (
        max(x1 - left, 0.0),
        max(y1 - top, 0.0),
        min(x2 - left, float(right - left)),
        min(y2 - top, float(bottom - top)),
    )
    part = Image.fromarray(np.ascontiguousarray(picture[top:bottom, left:right]))
    return _shrunk(part, (out_w, out_h), box)


def _shrunk(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> ImageArray:
    return np.array(image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=REDUCING_GAP))


def _check_file(path: str | Path, name: str) -> None:
    try:
        path = Path(path)
        if path.is_dir():
            raise InputError(f"{name} is a folder, a picture file is wanted")
        if not path.exists():
            raise InputError(f"{name} does not exist, a picture file is wanted")
        if not path.is_file():  # a pipe or a device, which may never end
            raise InputError(f"{name} is not a regular file, a picture file is wanted")
        if path.stat().st_size == 0:
            raise InputError(f"{name} is empty, a picture file is wanted")
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise InputError(f"{name} cannot be read: {error.strerror}") from None


def _from_pillow(image: Image.Image, name: str) -> ImageArray:
    _decode(image, name)
    try:
        rgb = _rgb(image, name)
    except InputError:
        raise
    except Exception as error:  # decoders meet hostile bytes and raise nearly anything
        raise InputError(f"{name} is damaged and cannot be decoded: {reason(error)}") from None
    turn = _UPRIGHT.get(_orientation(image))
    return np.ascontiguousarray(turn(rgb)) if turn else rgb


def _decode(image: Image.Image, name: str) -> None:
    _check_size(image.width, image.height, name)
    try:
        with _quiet():
            image.load()
    except Exception as error:  # decoders meet hostile bytes and raise nearly anything
        raise InputError(f"{name} is damaged and cannot be decoded: {reason(error)}") from None


def _orientation(image: Image.Image) -> int:
    """The turn EXIF asks for, 1 to 8; 1 where it says nothing that can be understood."""
    try:
        with _quiet():
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # broken metadata is no reason to refuse sound pixels
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _rgb(image: Image.Image, name: str) -> ImageArray:
    """Pixels of a loaded Pillow image of any mode, as uint8 (h, w, 3), as they are stored (not turned)."""
    if image.mode in _SIXTEEN_BIT_MODES:
        gray = np.asarray(image)
        if gray.min() < 0 or gray.max() > 65535:
            raise InputError(f"{name} has more than 16 bits a pixel, at most 16 are read")
        return _gray_to_rgb(_scale_16_bit(gray))
    if image.mode == "F":
        raise InputError(f"{name} holds float pixels, 8 or 16 bits are wanted")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        flat = Image.new("RGB", image.size, (BACKGROUND, BACKGROUND, BACKGROUND))
        flat.paste(rgba, mask=rgba.getchannel("A"))
        return np.array(flat)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _from_array(array: NDArray) -> ImageArray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InputError(
            f"a picture array must have shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), got {array.shape}"
        )
    if array.dtype not in (np.uint8, np.uint16):
        raise InputError(f"a picture array must be of uint8 (0 to 255) or uint16, got {array.dtype}")
    _check_size(array.shape[1], array.shape[0], "the picture")
    pixels = array if array.dtype == np.uint8 else _scale_16_bit(array)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return _gray_to_rgb(pixels.reshape(pixels.shape[:2]))
    if pixels.shape[2] == 4:
        return _rgb(Image.fromarray(np.ascontiguousarray(pixels)), "the picture")
    return np.ascontiguousarray(pixels)


def _scale_16_bit(values: NDArray) -> ImageArray:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 -> 255, rounded


def _gray_to_rgb(gray: NDArray) -> ImageArray:
    return np.repeat(gray[:, :, None], 3, axis=2)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings (odd metadata, its own size limit) off the screen: a picture opens, or says why not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise InputError(f"{name} has no pixels: its size is {width} x {height}")
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise InputError(f"{name} is too large: {width} x {height} pixels are over {limit} megapixels")
