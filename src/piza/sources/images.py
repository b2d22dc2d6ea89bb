"""Images and films from anywhere, one after the other: only names are ever listed, and an image is read when its turn comes.

Those behind addresses (`s3://...`, `https://...`) are listed and read by `piza.sources.addresses`.
"""

import errno
import glob
import io
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from piza.errors import InputError, InputWarning
from piza.sources.addresses import before_magic, fetch, files_at, is_address, open_address
from piza.sources.video import FrameTime, count_frames, import_av, is_video_name, read_frames

if TYPE_CHECKING:
    from piza.image import ImageSource

Source: TypeAlias = "ImageSource | NamedVideo | Iterable[ImageSource | NamedImage | NamedVideo]"
"""An image, a name that stands for several (see `find_images`), or any iterable of these."""

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .avif .tif .tiff .bmp .gif .ppm .pgm .pbm .pnm .jp2 .j2k .j2c .jpx .jpf".split()
)
"""Names of images end like this, in capital letters or not. A file that is named by itself may end in any way."""

LIST_SUFFIX = ".txt"
"""A file that ends like this holds names of images, one a line."""

LONGEST_NAME = 65_536  # letters of a line in such a file


@dataclass(frozen=True, eq=False)
class NamedImage:
    """An image that has not been read yet.

    name: how results call it: as it was given, or as it was found in a folder that was given; a frame of a film has its
        time behind it, as W3C's media fragments do: "film.mp4#t=00:00:12.480".
    source: what `piza.image.open_image` takes, or a function that fetches it.
    inside: its name inside of the folder, the pattern's folder or the list that was given; the last part of its name where
        it was given by itself. Of a frame: "film.mp4/00-00-12.480.png".
    frame: where in its film it is; None for a photo.
    """

    name: str
    source: "ImageSource | Callable[[], bytes]"
    inside: str
    frame: FrameTime | None = None

    def read(self) -> "ImageSource":
        """What `open_image` takes; a file behind an address is fetched now. Raises InputError where that fails."""
        return self.source() if callable(self.source) else self.source


@dataclass(frozen=True, eq=False)
class NamedVideo:
    """A film that has not been read yet: its name, what opens it, and its name `inside` as that of `NamedImage`."""

    name: str
    open: Callable[[], IO[bytes]]
    inside: str

    def frames(self, every: int = 1) -> Iterator[NamedImage]:
        """Every `every`-th frame, decoded when it is taken. A film that cannot be read, or not to its end, is one more
        image whose `read` raises InputError."""
        try:
            for time, pixels in read_frames(self.open, repr(self.name), every):
                inside = f"{self.inside}/{time.timecode.replace(':', '-')}.png"
                yield NamedImage(f"{self.name}#t={time.timecode}", pixels, inside, time)
                del pixels  # before the next frame is decoded
        except InputError as error:
            yield NamedImage(self.name, _failing(str(error)), self.inside)

    def count(self, every: int = 1) -> int | None:
        """How many frames there are about; None where the film does not say. Raises InputError for what is no film."""
        return count_frames(self.open, repr(self.name), every)


Found: TypeAlias = NamedImage | NamedVideo


def find_images(
    source: Source, *, recursive: bool = False, strict: bool | None = None, every: int = 1
) -> Iterator[NamedImage]:
    """The images that `source` stands for, as `find_sources`, and of each film every `every`-th frame in its turn."""
    for found in find_sources(source, recursive=recursive, strict=strict):
        if isinstance(found, NamedVideo):
            yield from found.frames(every)
        else:
            yield found


def find_sources(source: Source, *, recursive: bool = False, strict: bool | None = None) -> Iterator[Found]:
    """The images and films that `source` stands for, each once, in the order in which they are given.

    Args:
        source: any of
            an image file, or a film (`piza.sources.video.VIDEO_SUFFIXES`);
            a folder: its image files (`IMAGE_SUFFIXES`) in natural order, so that 9.jpg comes before 10.jpg;
            a pattern such as `photos/*.jpg` or `photos/**/*.png`: the image files that it matches, in natural order; films
                where it ends as they do (`films/*.mp4`);
            a text file (.txt) with the name or address of an image or a film on each line, relative to the folder of the text file;
            an address that fsspec knows, such as `https://...` or `s3://...`, of a file, a folder or a pattern;
            the bytes of a file, a Pillow image or an array;
            or an iterable of these, which is read as far as it is needed.
            Files and folders whose names begin with a dot are left out, unless they are named by themselves.
        recursive: take the images in folders of a folder, too.
        strict: raise for a name that does not exist, instead of yielding an image whose `read` or decoding will fail.
            By default True for a single name and False for the names in an iterable.

    Raises:
        InputError: for what is none of these, a folder or a list without an image, a pattern that matches none, an address that
            cannot be reached, a film without PyAV to read it, and (`strict`) a name that does not exist.
    """
    _check_kind(source)
    seen: set[str] = set()
    several = not isinstance(source, (str, Path, bytes, NamedImage)) and _is_iterable(source)
    strict = not several if strict is None else strict
    sources: Iterable[Any] = source if several else [source]  # type: ignore[assignment]
    number = 0
    for number, one in enumerate(sources, start=1):
        if isinstance(one, (NamedImage, NamedVideo)):
            yield one
        elif not isinstance(one, (str, Path)):
            name = f"image-{number}" if several else "image"
            yield NamedImage(name, one, name)
        else:
            for image in _expand(str(one), recursive, strict):
                place = _place(image)
                if place not in seen:
                    seen.add(place)
                    yield image
    if not number:
        raise InputError("expected images, got an empty list")


def _check_kind(source: Any) -> None:
    """Raises InputError for what can hold no image."""
    if isinstance(source, (str, Path, bytes, NamedImage, NamedVideo)) or hasattr(source, "shape"):
        return
    wanted = "expected images: names, bytes of files, Pillow images, arrays, or several of them"
    if isinstance(source, io.IOBase):
        raise InputError(f"{wanted}; got an open file, give its name or what read() returns")
    if not (isinstance(source, Iterable) or hasattr(source, "getexif")):
        raise InputError(f"{wanted}; got {type(source).__name__} {source!r:.60}")


def is_image_name(text: str) -> bool:
    """Whether a text ends like the name of an image file."""
    return os.path.splitext(text)[1].lower() in IMAGE_SUFFIXES


def natural_key(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """A key to sort names by: capital letters count like small ones, and digits by the number that they write."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part], name


def _expand(name: str, recursive: bool, strict: bool) -> Iterator[Found]:
    if is_address(name):
        yield from _at_address(name, recursive)
    elif _is(os.path.isdir, name):
        yield from _not_empty(_in_folder(name, recursive), f"the folder {name!r} holds no image", recursive)
    elif _is(os.path.lexists, name):
        if os.path.splitext(name)[1].lower() == LIST_SUFFIX:
            yield from _in_list(name)
        else:
            yield _local(name)
    elif glob.has_magic(name):
        yield from _not_empty(_matching(name), f"the pattern {name!r} matches no image", True)
    elif strict:
        raise InputError(_why_not_found(name))
    else:
        yield _local(name)


def _why_not_found(name: str) -> str:
    try:
        os.stat(name)
    except PermissionError as error:  # of a folder above it
        return f"{name!r} cannot be read: {error.strerror}"
    except (OSError, ValueError):
        pass
    return f"{name!r} does not exist, expected an image file, a folder or a pattern"


def _in_folder(folder: str, recursive: bool) -> Iterator[Found]:
    waiting, visited = [folder], set()
    while waiting:
        here = waiting.pop()
        place = os.path.realpath(here)
        if place in visited:  # through a link
            continue
        visited.add(place)
        try:
            names = sorted((n for n in os.listdir(here) if not n.startswith(".")), key=natural_key)
        except OSError as error:
            raise InputError(f"the folder {here!r} cannot be read: {error.strerror}") from None
        paths = [os.path.join(here, name) for name in names]
        if recursive:
            waiting += [path for path in reversed(paths) if os.path.isdir(path)]
        for path in paths:
            if is_image_name(path) and not os.path.isdir(path):
                yield _local(path, os.path.relpath(path, folder))


def _matching(pattern: str) -> Iterator[Found]:
    wanted = _wanted_by(pattern)
    found = sorted((path for path in glob.iglob(pattern, recursive=True) if wanted(path)), key=natural_key)
    closed = _closed_folder(pattern)
    if closed is not None and not found:
        raise InputError(f"the folder {closed!r} cannot be read: {os.strerror(errno.EACCES)}")
    if closed is not None:
        warnings.warn(f"left out the folder {closed!r}, which cannot be read", InputWarning, stacklevel=2)
    folder = before_magic(pattern)
    for path in found:
        if not os.path.isdir(path):
            yield _local(path, os.path.relpath(path, folder or "."))


def _closed_folder(pattern: str) -> str | None:
    """A folder whose names a pattern is compared with and that may not be read; `glob` passes it over."""
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
        for folder in glob.iglob(pattern, recursive=True) if pattern else ():
            if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):
                return folder
    return None


def _wanted_by(pattern: str) -> Callable[[str], bool]:
    """What a pattern is meant to match: images, or films where it ends as they do."""
    return is_video_name if is_video_name(pattern) else is_image_name


def _in_list(path: str) -> Iterator[Found]:
    folder, empty = os.path.dirname(path), True
    try:
        with open(path, encoding="utf-8-sig") as file:
            for line in iter(lambda: file.readline(LONGEST_NAME), ""):
                if len(line) == LONGEST_NAME:
                    raise InputError(
                        f"{path!r} holds a line of more than {LONGEST_NAME} letters, expected names of images, one a line"
                    )
                name = line.strip()
                if not name:
                    continue
                empty = False
                if is_address(name):
                    yield _remote(name)
                else:
                    yield _local(
                        os.path.join(folder, name), os.path.basename(name) if os.path.isabs(name) else name
                    )
    except UnicodeDecodeError:
        raise InputError(
            f"{path!r} is not a text file in UTF-8, expected names of images, one a line"
        ) from None
    except OSError as error:
        raise InputError(f"{path!r} cannot be read: {error.strerror}") from None
    if empty:
        raise InputError(f"{path!r} holds no name, expected names of images, one a line")


def _local(path: str, inside: str = "") -> Found:
    inside = inside or os.path.basename(path)
    if not is_video_name(path):
        return NamedImage(path, path, inside)

    def opened() -> IO[bytes]:
        from piza.image import check_file

        check_file(path, "a film")
        return open(path, "rb")

    import_av()
    return NamedVideo(path, opened, inside)


def _remote(address: str, inside: str = "") -> Found:
    path = re.split(r"[?#]", address, maxsplit=1)[0]
    inside = inside or path.rstrip("/").rpartition("/")[2]
    if not is_video_name(path):
        return NamedImage(address, partial(fetch, address), inside)
    import_av()
    return NamedVideo(address, lambda: open_address(address, "a film"), inside)


def _place(image: Found) -> str:
    """A key that two names of the same image share."""
    try:
        return image.name if is_address(image.name) else os.path.realpath(image.name)
    except (OSError, ValueError):  # cannot be the name of a file; reading it will say so
        return image.name


def _not_empty(found: Iterator[Found], message: str, recursive: bool) -> Iterator[Found]:
    first = next(found, None)
    if first is None:
        hint = "" if recursive else ", leaving out its folders"
        raise InputError(f"{message}{hint} (names that end in .jpg, .png, .webp, .tif, ...)")
    yield first
    yield from found


def _at_address(address: str, recursive: bool) -> Iterator[Found]:
    files = files_at(address, recursive, _wanted_by)
    if not files:
        raise InputError(f"{address!r} holds no image (names that end in .jpg, .png, .webp, .tif, ...)")
    for file, inside in sorted(files, key=lambda pair: natural_key(pair[0])):
        yield _remote(file, inside)


def _failing(message: str) -> Callable[[], bytes]:
    """A source that cannot be read."""

    def fetch() -> bytes:
        raise InputError(message)

    return fetch


def _is(test: Callable[[str], bool], name: str) -> bool:
    try:
        return test(name)
    except (OSError, ValueError):  # too long for a file name, or with a zero byte
        return False


def _is_iterable(source: Any) -> bool:
    """Whether a source holds several images: an array and a Pillow image are one."""
    return isinstance(source, Iterable) and not hasattr(source, "shape") and not hasattr(source, "getexif")
