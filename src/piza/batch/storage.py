"""A folder here or behind an address: images are fetched from one, and the parts of a batch are written to another.

What is wrong with one file is told apart from a folder that is gone as a whole (a bucket that was removed, a network that is
down, a disk that is no longer mounted): the first is an answer about that file, the second ends the run.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol, TypeVar

from piza.data.sorec import check_image_name, find_image, quote
from piza.errors import InputError
from piza.files import atomic_write, check_writable, sweep_temporary
from piza.sources.addresses import MAX_REMOTE_BYTES, is_address, open_on, reach, why

PAUSES = (0.5, 2.0)
"""Seconds to wait before a file behind an address is asked for again."""

_NO_ANSWER = (None, 429, 500, 502, 503, 504)
"""Answers of a web server that are about the server; others are about the file. None: there was no answer."""

_WHOLE_UPLOADS = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "memory"))
_Found = TypeVar("_Found")


class FolderLost(InputError):
    """A whole folder cannot be reached: no fault of the file that was asked for."""


class Folder(Protocol):
    """Files under names that are relative to the folder."""

    place: str

    def check(self) -> None:
        """Raise FolderLost unless the folder is there and holds something."""

    def image(self, name: str) -> Path | bytes:
        """What `piza.image.decode_image` takes. Raises InputError where there is no such file, and FolderLost."""

    def names(self) -> set[str]:
        """The names of the files in it; none where it does not exist. Raises InputError where it cannot be listed."""

    def open(self, name: str) -> IO[bytes]:
        """A file, to read. Raises OSError."""

    def prepare(self) -> None:
        """Make the folder, and remove what a killed process left. Raises InputError."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file that appears whole or not at all. Raises InputError."""


def open_folder(place: str | Path) -> Folder:
    """The folder at a path or an address. Nothing is read or made yet. Raises InputError for an address of no known kind."""
    text = str(place)
    if text.lower().startswith("file://"):
        text = text[len("file://") :]
    return RemoteFolder(text) if is_address(text) else LocalFolder(text)


class LocalFolder:
    """A folder of this machine. place: its absolute path."""

    def __init__(self, path: str):
        self.place = os.path.abspath(path)
        self._path = Path(self.place)

    def check(self) -> None:
        """See `Folder`."""
        try:
            with os.scandir(self._path) as entries:
                if next(entries, None) is None:
                    raise FolderLost(f"the folder of images {self.place!r} is empty")
        except FileNotFoundError:
            raise FolderLost(f"the folder of images {self.place!r} does not exist") from None
        except NotADirectoryError:
            raise FolderLost(f"expected the folder of images, but {self.place!r} is a file") from None
        except (OSError, ValueError) as error:
            raise FolderLost(f"the folder of images {self.place!r} cannot be read: {why(error)}") from None

    def image(self, name: str) -> Path:
        """See `Folder`."""
        try:
            return find_image(self._path, name)
        except InputError:
            self.check()
            raise

    def names(self) -> set[str]:
        """See `Folder`."""
        try:
            return set(os.listdir(self._path))
        except FileNotFoundError:
            return set()
        except (OSError, ValueError) as error:
            raise InputError(f"the folder {self.place!r} cannot be read: {why(error)}") from None

    def open(self, name: str) -> IO[bytes]:
        """See `Folder`."""
        return (self._path / name).open("rb")

    def prepare(self) -> None:
        """See `Folder`."""
        try:
            if not self._path.is_dir():
                check_writable(self._path)
                self._path.mkdir()
        except OSError as error:
            raise InputError(f"cannot write to {self.place!r}: {error.strerror}") from None
        sweep_temporary(self._path)

    def write(self, name: str, content: bytes) -> None:
        """See `Folder`."""
        path = self._path / name
        try:
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise InputError(f"cannot write {str(path)!r}: {error.strerror or why(error)}") from None


class RemoteFolder:
    """A folder behind an address that fsspec knows. place: the address, without a slash at its end."""

    def __init__(self, address: str):
        self.place = address.rstrip("/")
        self._scheme = address.partition("://")[0].lower()
        self._system, self._path = reach(self.place)

    def check(self) -> None:
        """See `Folder`. On the web there are no folders, so that only reading a file tells."""
        if self._scheme in ("http", "https"):
            return
        try:
            self._system.invalidate_cache()
            there = self._system.isdir(self._path)
        except Exception as error:  # as many kinds as there are file systems
            raise FolderLost(f"the folder of images {self.place!r} cannot be reached: {why(error)}") from None
        if not there:
            raise FolderLost(
                f"the folder of images {self.place!r} cannot be reached: it does not exist or is empty"
            )

    def image(self, name: str) -> bytes:
        """See `Folder`."""
        check_image_name(name)
        try:
            content = _again(lambda: self._fetch(name), FileNotFoundError)
        except FileNotFoundError:
            self.check()
            raise InputError(f"there is no image {quote(name)} in the folder {self.place!r}") from None
        except Exception as error:  # as many kinds as there are file systems
            if self._scheme in ("http", "https") and getattr(error, "status", None) in _NO_ANSWER:
                raise FolderLost(f"{self.place!r} cannot be reached: {why(error)}") from None
            self.check()
            raise InputError(f"the image {quote(name)} cannot be read: {why(error)}") from None
        if len(content) > MAX_REMOTE_BYTES:
            raise InputError(f"the image {quote(name)} is too large: over {MAX_REMOTE_BYTES // 2**20:,} MB")
        return content

    def names(self) -> set[str]:
        """See `Folder`."""
        try:
            self._system.invalidate_cache()
            return {path.rpartition("/")[2] for path in self._system.ls(self._path, detail=False)}
        except FileNotFoundError:
            return set()
        except Exception as error:  # as many kinds as there are file systems
            raise InputError(f"{self.place!r} cannot be listed: {why(error)}") from None

    def open(self, name: str) -> IO[bytes]:
        """See `Folder`."""
        file: IO[bytes] = self._system.open(f"{self._path}/{name}", "rb")
        return file

    def prepare(self) -> None:
        """See `Folder`. Of a bucket, no folder has to be made, and none of its uploads is ever half a file."""
        if self._scheme in _WHOLE_UPLOADS:
            return
        try:
            self._system.makedirs(self._path, exist_ok=True)
        except Exception as error:  # as many kinds as there are file systems
            raise InputError(f"cannot write to {self.place!r}: {why(error)}") from None

    def write(self, name: str, content: bytes) -> None:
        """See `Folder`."""

        def put() -> None:
            path = f"{self._path}/{name}"
            if self._scheme in _WHOLE_UPLOADS:
                self._system.pipe_file(path, content)
                return
            temporary = f"{self._path}/.{name}.unfinished"
            self._system.pipe_file(temporary, content)
            self._system.mv(temporary, path)

        try:
            _again(put)
        except Exception as error:  # as many kinds as there are file systems
            raise InputError(f"cannot write '{self.place}/{name}': {why(error)}") from None

    def _fetch(self, name: str) -> bytes:
        with open_on(self._system, f"{self._path}/{name}") as file:
            content: bytes = file.read(MAX_REMOTE_BYTES + 1)
        return content


def _again(action: Callable[[], _Found], *final: type[Exception]) -> _Found:
    """What an action returns; one that fails, other than by an error that is `final`, is tried again after a pause."""
    for pause in PAUSES:
        try:
            return action()
        except final:
            raise
        except Exception:  # as many kinds as there are file systems
            time.sleep(pause)
    return action()
