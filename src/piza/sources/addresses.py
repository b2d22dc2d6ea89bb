"""Files behind addresses (`s3://...`, `https://...`), through fsspec, which is imported only for them."""

import glob
import os
import re
from collections.abc import Callable
from typing import IO, Any

from piza.errors import InputError, reason

GONE = (404, 410)
"""What a web server answers about a file that it does not have."""

MAX_REMOTE_BYTES = 2**30
"""Of one file behind an address; what is larger is refused before all of it is in memory."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://\S+")


def is_address(text: str) -> bool:
    """Whether a text is an address for fsspec (`scheme://...`) and not a name of a file or a sentence."""
    return _ADDRESS.fullmatch(text) is not None


def reach(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Raises InputError where there is no way to it."""
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(address)
    except ImportError as error:  # a protocol whose package is not installed: fsspec says which one it is
        raise InputError(
            f"{address!r} cannot be reached without a package: {reason(error)} (piza[remote] has those of S3 and the web)"
        ) from None
    except Exception as error:
        raise InputError(f"{address!r} cannot be reached: {why(error)}") from None
    return system, path


def files_at(
    address: str, recursive: bool, wanted_by: Callable[[str], Callable[[str], bool]]
) -> list[tuple[str, str]]:
    """The files that an address stands for, in no order: the address of each, and its name inside of the folder or the pattern.

    A file, whatever it is called, has no name inside (""). On the web every address is a file: it lists no folders. Of a folder
    (with those in it, if `recursive`) or a pattern, files are left out that `wanted_by(pattern)` does not want, of a folder
    `wanted_by("")`, and those whose names begin with a dot.

    Raises InputError for what cannot be reached or listed.
    """
    if address.lower().startswith(("http://", "https://")):
        return [(address, "")]
    system, path = reach(address)
    try:
        magic = glob.has_magic(path) and not system.exists(path)
        if magic:
            names = system.glob(path)
        elif system.isdir(path):
            names = system.find(path, maxdepth=None if recursive else 1)
        else:
            return [(address, "")]
    except Exception as error:  # as many kinds as there are file systems
        raise InputError(f"{address!r} cannot be listed: {why(error)}") from None
    wanted = wanted_by(path if magic else "")
    given = len(_parts(before_magic(path) if magic else path))
    found = []
    for name in names:
        inside = _parts(name)[given:]
        if wanted(name) and not any(part.startswith(".") for part in inside):
            found.append((system.unstrip_protocol(name), "/".join(inside)))
    return found


def fetch(address: str) -> bytes:
    """The bytes of an image file. Raises InputError where it cannot be read, or has more than `MAX_REMOTE_BYTES`."""
    with open_address(address, "an image file") as file:
        try:
            content = file.read(MAX_REMOTE_BYTES + 1)
        except Exception as error:  # as many kinds as there are file systems
            raise InputError(f"{address!r} cannot be read: {why(error)}") from None
    if len(content) > MAX_REMOTE_BYTES:
        raise InputError(f"{address!r} is too large: over {MAX_REMOTE_BYTES // 2**20:,} MB")
    return content


def open_address(address: str, expected: str) -> IO[bytes]:
    """A file to read. Raises InputError, which says what is expected, where it cannot be opened."""
    system, path = reach(address)
    try:
        return open_on(system, path)
    except FileNotFoundError:
        raise InputError(f"{address!r} does not exist, expected {expected}") from None
    except Exception as error:  # as many kinds as there are file systems
        raise InputError(f"{address!r} cannot be read: {why(error)}") from None


def open_on(system: Any, path: str) -> IO[bytes]:
    """A file of a file system, to read. Raises FileNotFoundError where there is none, and what the system raises for all else.

    Of the web fsspec says so of any failure, also where no server answers; the cause of its error tells.
    """
    try:
        file: IO[bytes] = system.open(path, "rb")
        return file
    except FileNotFoundError as error:
        cause = error.__cause__
        gone = isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in GONE
        if cause is None or gone or not is_web(system):
            raise
        raise cause from None


def is_web(system: Any) -> bool:
    """Whether a file system is that of http and https."""
    return "http" in ([system.protocol] if isinstance(system.protocol, str) else system.protocol)


def why(error: Exception) -> str:
    """What a file system complains about, to quote in an InputError."""
    return reason(error) if str(error).strip() else type(error).__name__


def before_magic(pattern: str) -> str:
    """The folder below which all matches of a pattern are."""
    return os.path.dirname(re.split(r"[*?[]", pattern, maxsplit=1)[0])


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
