"""Opening images from untrusted places, and cutting windows out of them.

Everything after this module sees one kind of image: an array of uint8, shape (height, width, 3), RGB.
"""

import io
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from piza.errors import InputError, reason
from piza.process import silence_libtiff, without_warnings
from piza.sixteen_bits import GRAY_MODES, check_deep_color, color_bits, scale_16_bit

ImageArray: TypeAlias = NDArray[np.uint8]
ImageSource: TypeAlias = "str | Path | bytes | Image.Image | NDArray[Any] | DecodedImage"

MAX_PIXELS = 150_000_000
"""Larger images are refused before they are decoded: 150 megapixels are 450 MB of RGB."""

MAX_JPEG2000_PIXELS = 80_000_000
"""JPEG 2000 takes several times as long and as much memory a pixel."""

MAX_SIDE = 65_535
"""And so are longer ones (the most that a JPEG can have)."""

MAX_ASPECT = 1_000
"""And thinner ones: decoders and filters work row by row, and a row or a column of one pixel costs them as much as many."""

MAX_SCANS = 100
"""A progressive JPEG decodes all of its pixels once a scan; cameras and tools write at most a dozen."""

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
"""What is read. A closed list, because Pillow also reads formats that start other programs (EPS)."""

BACKGROUND = 128
"""Gray level put behind transparent pixels: neither the bright nor the dark extreme."""

BAND_PIXELS = 8_000_000  # converted at once

REDUCING_GAP = 1.9
"""A window that shrinks by more than twice this is first shrunk by a whole number, such that it still shrinks by this much:
faster, and within a few gray levels of the same pixels. Just below two: five megapixels shrink by 3.8 for a first look."""

# EXIF orientation -> the turn that makes the stored rows upright (EXIF 2.32, tag 0x0112).
_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
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
        """The pixels; made once."""
        if self._array is None:
            self._array = _in_bands(self.image, np.asarray)
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array(), dtype=dtype, copy=copy)


class ImageReference:
    """Where an image is, without holding its pixels: the name or the bytes of a file, or what the program gave.

    What the program gave (an array, a Pillow image) is held weakly, unless `keep`: a list of results must not hold every
    frame of a film.
    """

    def __init__(self, source: ImageSource, keep: bool = False):
        self._given: Any = source if keep or isinstance(source, (str, Path, bytes)) else weakref.ref(source)
        self._opened: weakref.ref[ImageArray] | None = None

    def open(self) -> ImageArray:
        """The image as `open_image` gives it; the same array for as long as somebody holds it.

        Raises InputError where it is gone or has changed so that it cannot be read.
        """
        opened = self._opened() if self._opened is not None else None
        if opened is None:
            given = self._given() if isinstance(self._given, weakref.ref) else self._given
            if given is None:
                raise InputError(
                    "the image of this result is no longer held by the program: hold it, or search with keep_image=True"
                )
            opened = open_image(given)
            self._opened = weakref.ref(opened)
        return opened

    def __getstate__(self) -> dict[str, Any]:
        given = self._given() if isinstance(self._given, weakref.ref) else self._given
        return {"_given": given, "_opened": None}


def decode_image(image: ImageSource) -> ImageArray | DecodedImage:
    """As `open_image`, but a file of plain RGB is left as Pillow decoded it."""
    if isinstance(image, DecodedImage):
        return image
    if not isinstance(image, (str, Path, bytes)):
        return open_image(image)
    name = _name(image)
    opened = _open_file(image)
    if opened.mode == "RGB" and not opened.has_transparency_data:
        _decode(opened, name)  # after which mode and orientation are known for certain
        if opened.mode == "RGB" and _orientation(opened) == 1:
            several = getattr(opened, "n_frames", 1) > 1  # then the file stays open
            if not (opened.readonly or several):
                return DecodedImage(opened)
            with opened:
                return DecodedImage(opened.copy())
    return _upright(opened, name)


def open_image(image: ImageSource) -> ImageArray:
    """Any image a user may hand over -> uint8 array (height, width, 3), RGB.

    Takes the path or the bytes of a file (JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF, PPM, JPEG 2000; the first frame of an
    animation), a Pillow image, or a numpy array of uint8 or uint16 with shape (h, w), (h, w, 1), (h, w, 3) RGB or (h, w, 4)
    RGBA. What comes straight from a file (a path, bytes, what `PIL.Image.open` returned) is turned upright as its EXIF
    orientation says; any other Pillow image and any array are taken as they are, whatever metadata they still carry, so that
    boxes are in the pixels of what was given. Palette, gray, CMYK, one-bit and 16-bit images are converted (16 bits are
    scaled by the bit depth in use: 12-bit values of a camera become the full range; of 16-bit colors in a file the upper 8
    are read, and one that does not use them is refused); transparent pixels are laid on gray.

    Raises InputError, in one sentence, for a file that is missing, is no image, is damaged or is over `MAX_PIXELS`,
    `MAX_SIDE`, `MAX_ASPECT` or `MAX_SCANS`, and for an array of another shape or type.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, DecodedImage):
        return image.array()
    if isinstance(image, Image.Image):
        return _from_pillow(image, "the image")
    if not isinstance(image, (str, Path, bytes)):
        raise InputError(
            f"an image should be a path, the bytes of a file, a Pillow image or a numpy array, got {type(image).__name__}"
        )
    return _upright(_open_file(image), _name(image))


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of the image `open_image` would give, read from the head of the file; no pixel is decoded.

    Raises InputError for a file that is missing, is no picture, or is over `MAX_PIXELS`; damaged pixels are not seen.
    """
    with _open_file(path) as opened:
        _check_size(opened.width, opened.height, repr(str(path)))
        # Pillow turns the size of a TIFF itself. It decodes a whole PNG to look for an orientation behind the pixels,
        # where next to nobody writes one.
        behind = opened.format == "PNG" and not {"exif", "Raw profile type exif"} & set(opened.info)
        turned = opened.format != "TIFF" and not behind and _orientation(opened) >= 5
        return (opened.height, opened.width) if turned else opened.size


def _name(image: str | Path | bytes) -> str:
    return "the image" if isinstance(image, bytes) else repr(str(image))


def _open_file(image: str | Path | bytes) -> Image.Image:
    name = _name(image)
    if isinstance(image, bytes):
        if not image:
            raise InputError(f"{name} is empty, expected an image file")
    else:
        check_file(image)
    try:
        with _quiet():
            opened = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=FORMATS)
            _check_scans(opened, image, name)
            if opened.format == "JPEG2000" and opened.width * opened.height > MAX_JPEG2000_PIXELS:
                raise InputError(f"{name} is a JPEG 2000 of over {MAX_JPEG2000_PIXELS // 10**6} megapixels")
            return opened
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name} is not an image that can be read (JPEG, PNG, WebP, TIFF, ...)") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name} is too large: over {MAX_PIXELS // 10**6} megapixels") from None
    except PermissionError:
        raise InputError(f"{name} cannot be read: no permission") from None
    except Exception as error:  # decoders meet hostile bytes and raise nearly anything
        raise InputError(f"{name} cannot be read as an image: {reason(error)}") from None


def cut(
    picture: ImageArray | DecodedImage, window_xyxy: Sequence[float] | NDArray[Any], size_wh: tuple[int, int]
) -> ImageArray:
    """Cut a window out of an image and resize it: uint8 (h, w, 3) with (w, h) = `size_wh`.

    `window_xyxy` is in pixels of the image, need not be whole numbers, and must lie inside the image (to
    1e-6) and have an area. Bilinear; when the window shrinks the filter widens with the scale, so nothing
    aliases. Pixels just outside the window take part at its edges, as if the whole image were resized.

    Raises ValueError for a window outside the picture or without area, or a size below 1: those are faults of
    the caller, not of the user.
    """
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = (float(value) for value in window_xyxy)
    out_w, out_h = (int(value) for value in size_wh)
    inside = x1 >= -1e-6 and y1 >= -1e-6 and x2 <= width + 1e-6 and y2 <= height + 1e-6
    if not (inside and x2 > x1 and y2 > y1):
        raise ValueError(f"the window {(x1, y1, x2, y2)} is not inside an image of {width} x {height}")
    if out_w < 1 or out_h < 1:
        raise ValueError(f"a window cannot be cut to {out_w} x {out_h} pixels")

    if isinstance(picture, DecodedImage):
        box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        return _shrunk(picture.image, (out_w, out_h), box)

    # Only the part of the image the filter can reach is handed to Pillow, which copies what it gets.
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


def check_file(path: str | Path, expected: str = "an image file") -> None:
    """Raise InputError, which says what is expected, unless a path leads to a regular file that is not empty."""
    name = repr(str(path))
    try:
        path = Path(path)
        if path.is_dir():
            raise InputError(f"{name} is a folder, expected {expected}")
        if not path.exists():
            raise InputError(f"{name} does not exist, expected {expected}")
        if not path.is_file():  # a pipe or a device, which may never end
            raise InputError(f"{name} is not a regular file, expected {expected}")
        if path.stat().st_size == 0:
            raise InputError(f"{name} is empty, expected {expected}")
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise InputError(f"{name} cannot be read: {error.strerror}") from None


def _stored_pixels(image: Image.Image, name: str) -> ImageArray:
    """Pixels of a Pillow image of any mode, as they are stored (not turned)."""
    _decode(image, name)
    try:
        return _rgb(image, name)
    except InputError:
        raise
    except Exception as error:  # decoders meet hostile bytes and raise nearly anything
        raise InputError(f"{name} is damaged and cannot be decoded: {reason(error)}") from None


def _upright(opened: Image.Image, name: str) -> ImageArray:
    """The pixels of a file, turned upright; closes it."""
    try:
        pixels = _stored_pixels(opened, name)
        turn = _UPRIGHT.get(_orientation(opened))
    finally:
        opened.close()  # and with it what was decoded, before a turned copy is made
    return np.ascontiguousarray(turn(pixels)) if turn else pixels


def _from_pillow(image: Image.Image, name: str) -> ImageArray:
    rgb = _stored_pixels(image, name)
    # What the program made of a file (rotated, cropped) may still carry the file's orientation.
    turn = _UPRIGHT.get(_orientation(image)) if isinstance(image, ImageFile.ImageFile) else None
    return np.ascontiguousarray(turn(rgb)) if turn else rgb


def _decode(image: Image.Image, name: str) -> None:
    _check_size(image.width, image.height, name)
    try:
        with _quiet():
            bits = color_bits(image)
            image.load()
    except Exception as error:  # decoders meet hostile bytes and raise nearly anything
        raise InputError(f"{name} is damaged and cannot be decoded: {reason(error)}") from None
    if bits > 8:
        check_deep_color(image, bits, name)


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
    if image.mode == "F":
        raise InputError(f"{name} holds float pixels, expected 8 or 16 bits")
    if image.mode in GRAY_MODES:
        extrema: Any = image.getextrema()  # of one band, two numbers
        low, high = (int(value) for value in extrema)
        if low < 0 or high > 65535:
            raise InputError(f"{name} has more than 16 bits a pixel, at most 16 are read")
        return _in_bands(image, lambda band: scale_16_bit(np.asarray(band), high)[:, :, None])
    if image.has_transparency_data:
        return _in_bands(image, _on_gray)
    return _in_bands(image, lambda band: np.asarray(band if band.mode == "RGB" else band.convert("RGB")))


def _in_bands(image: Image.Image, convert: Callable[[Image.Image], NDArray[Any]]) -> ImageArray:
    """What `convert` makes of an image, (h, w, 3) or (h, w, 1), band by band, so that no second copy is ever whole."""
    width, height = image.size
    out = np.empty((height, width, 3), np.uint8)
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
        out[top : top + rows] = convert(band)
    return out


def _on_gray(image: Image.Image) -> NDArray[Any]:
    rgba = image.convert("RGBA")
    flat = Image.new("RGB", image.size, (BACKGROUND, BACKGROUND, BACKGROUND))
    flat.paste(rgba, mask=rgba.getchannel("A"))
    return np.asarray(flat)


def _from_array(array: NDArray[Any]) -> ImageArray:
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise InputError("an image array should hold every pixel, got a masked one")
    array = np.asarray(array)  # a matrix has two dimensions whatever is done to it
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InputError(
            f"an image array should have shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), got {array.shape}"
        )
    if array.dtype not in (np.uint8, np.uint16):
        raise InputError(f"an image array should be of uint8 (0 to 255) or uint16, got {array.dtype}")
    _check_size(array.shape[1], array.shape[0], "the image")
    pixels = array if array.dtype == np.uint8 else scale_16_bit(array, int(array.max(initial=0)))
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if pixels.shape[2] == 4:
        return _rgb(Image.fromarray(np.ascontiguousarray(pixels)), "the image")
    return np.ascontiguousarray(pixels)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings (odd metadata, Pillow's own size limit) off the screen: an image opens, or says why not."""
    silence_libtiff()
    with without_warnings():
        yield


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise InputError(f"{name} has no pixels: its size is {width} x {height}")
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise InputError(f"{name} is too large: {width} x {height} pixels are over {limit} megapixels")
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"{name} is too long: {width} x {height} pixels, expected sides of at most {MAX_SIDE:,}"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InputError(
            f"{name} is too thin: {width} x {height} pixels, expected at most {MAX_ASPECT:,} to 1"
        )


def _check_scans(image: Image.Image, source: str | Path | bytes, name: str) -> None:
    """Refuses a progressive JPEG of very many scans, each of which costs as much as decoding the whole image."""
    if image.format != "JPEG" or not image.info.get("progressive"):
        return
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    if (scans := content.count(b"\xff\xda")) > MAX_SCANS:
        raise InputError(f"{name} is a JPEG of {scans} scans, expected at most {MAX_SCANS}")
