"""Writing files so that nobody ever reads half a file, and sweeping up what a killed write left."""

import errno
import json
import os
import platform
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from piza.errors import InputError

_PROCESSES = "/proc/self/ns/pid"  # names the container: in another one, the same number is another process
_PLACE = platform.node() + (os.readlink(_PROCESSES) if os.path.islink(_PROCESSES) else "")
_HOST = f"{zlib.crc32(_PLACE.encode()):08x}"
_TEMPORARY = re.compile(r"\..*\.piza-(?P<host>[0-9a-f]{8})-(?P<pid>[0-9]+)-[0-9a-f]{8}(\.[^.]*)?")
_STALE_SECONDS = 24 * 3600  # a temporary file of another host is taken for abandoned after this time
_swept: set[tuple[int, str]] = set()  # (process, folder)
_kept: set[int] = set()  # folders of `one_writer`, open
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; when the block ends well, move it onto `path`.

    The temporary name keeps the suffix, because writers such as Pillow choose the format by it. The file gets the mode that
    the umask asks for, whatever the writer chose, and reaches the disk before its name does: after a power cut `path` is the
    old file or the new one. When the block raises, the temporary file is removed and `path` is untouched. What a killed
    process left is removed when another one first writes in the same folder.

    Raises InputError when the folder does not exist or cannot be written to, when `path` is a folder, or when the disk is full.
    """
    path = Path(path)
    check_writable(path)
    _sweep_once(path.parent)
    temporary = _temporary_name(path)
    try:
        mode = _default_mode(temporary)
        yield temporary
        os.chmod(temporary, mode)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise _told(error, path, temporary) from None
    finally:
        temporary.unlink(missing_ok=True)


def _told(error: OSError, path: Path, temporary: Path) -> Exception:
    """The error, as an InputError about `path` where the disk is full, or where what is written there cannot be made."""
    of_ours = isinstance(error.filename, str) and Path(error.filename).is_relative_to(temporary)
    if error.errno in _NO_ROOM or of_ours:
        return InputError(f"cannot write {str(path)!r}: {error.strerror or error}")
    return error


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `path`; when the block ends well, it becomes `path`, as in `atomic_write`.

    Raises InputError when `path` is a file or a folder that is not empty, or cannot be made.
    """
    path = Path(path)
    try:
        check_new_folder(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(path.parent)
        temporary = _temporary_name(path)
        temporary.mkdir()
    except OSError as error:
        raise InputError(f"cannot write to {str(path)!r}: {error.strerror}") from None
    try:
        yield temporary
        for place in (*temporary.rglob("*"), temporary):
            _sync(place)
        if path.exists():
            path.rmdir()
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise _told(error, path, temporary) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def replaced_files(folder: str | Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a new temporary folder in `folder`; when the block ends well, its files take the place of those in `folder`.

    names: of all files that may come out of this. They are moved in this order, others after them, and one that was not made is
    removed from `folder`. When the block raises, `folder` is untouched; modes and flushing as in `atomic_write`.

    Raises InputError when the folder cannot be made or written to, one of its files is a folder, or the disk is full.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {str(folder)!r}: {error.strerror}") from None
    for name in names:
        check_writable(folder / name)
    _sweep_once(folder)
    temporary = _temporary_name(folder / "files")
    try:
        temporary.mkdir()
        mode = _default_mode(temporary / "mode")
        yield temporary
        made = [path for path in temporary.iterdir() if path.is_file()]
        made.sort(key=lambda path: names.index(path.name) if path.name in names else len(names))
        for path in made:
            os.chmod(path, mode)
            _sync(path)
        for path in made:
            os.replace(path, folder / path.name)
        for name in set(names) - {path.name for path in made}:
            (folder / name).unlink(missing_ok=True)
        _sync(folder)
    except OSError as error:
        raise _told(error, folder, temporary) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def one_writer(folder: str | Path) -> Iterator[None]:
    """Within, no other process of this machine comes in for the same folder. Raises InputError where one is in already.

    A process that is forked within is not in: if this one is killed, another may come in although the forked one lives on.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a folder, on Windows; two writers there are not noticed
        yield
        return
    try:
        _kept.add(descriptor)
        lock(descriptor, folder)
        yield
    finally:
        if descriptor in _kept:
            _kept.discard(descriptor)
            os.close(descriptor)


def _let_go() -> None:
    for descriptor in _kept:
        os.close(descriptor)
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def lock(descriptor: int, path: str | Path) -> None:
    """Keep an open file or folder for this process, until it is closed. Raises InputError where another process does so."""
    try:
        import fcntl
    except ImportError:  # Windows; two writers there are not noticed
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"another process is writing {str(path)!r}") from None
    except OSError:  # a file system without locks
        return


def sweep_temporary(folder: str | Path) -> int:
    """Remove what `atomic_write` and `atomic_folder` of processes that are gone have left; returns how many.

    A folder that is missing has none. Files of other hosts and containers, as on a shared disk, are removed a day after the last
    write to them.
    """
    removed = 0
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.startswith(".")]
    except OSError:
        return 0
    for entry in entries:
        match = _TEMPORARY.fullmatch(entry.name)
        if match is None:
            continue
        try:
            if match["host"] == _HOST:
                abandoned = not _is_running(int(match["pid"]))
            else:
                abandoned = time.time() - entry.stat().st_mtime > _STALE_SECONDS
            if abandoned:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
                removed += 1
        except OSError:
            continue
    return removed


def _sweep_once(folder: Path) -> None:
    """Sweep a folder when this process first writes in it."""
    key = os.getpid(), os.path.abspath(folder)
    if key not in _swept:
        _swept.add(key)
        sweep_temporary(folder)


def _temporary_name(path: Path) -> Path:
    stem = shortened(path.stem, 80)
    return path.with_name(f".{stem}.piza-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")


def shortened(name: str, max_bytes: int) -> str:
    """The beginning of a file's name that takes at most so many bytes on the disk, where a name has at most 255 of them."""
    while len(os.fsencode(name)) > max_bytes:
        name = name[:-1]
    return name


def check_not_read(written: Iterable[str | Path], read: Iterable[str | Path]) -> None:
    """Raise InputError when a file that is to be written is one of those that are read, which would be lost."""
    places = {_place(path) for path in read}
    for path in written:
        if _place(path) in places:
            raise InputError(f"cannot write {str(path)!r}: it is read by the same command; name another file")


def _place(path: str | Path) -> str:
    """One text for all names of a file."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # no name of a file; whoever opens it says so
        return str(path)


def as_path(path: object) -> Path:
    """The path that was given, as text or a path. Raises InputError for anything else."""
    if not isinstance(path, (str, Path)):
        raise InputError(f"expected the name of a file or folder, got {type(path).__name__} {path!r:.60}")
    if "\0" in str(path):
        raise InputError(
            f"expected the name of a file or folder, got one with a zero byte, {str(path)!r:.60}"
        )
    return Path(path)


def is_temporary(path: str | Path) -> bool:
    """Whether a file's name is one that `atomic_write` gives to unfinished files."""
    return _TEMPORARY.fullmatch(Path(path).name) is not None


def parse_json(text: str | bytes, where: str) -> Any:
    """The content of JSON that others wrote, in which no object may name a field twice: the last one would win without a word.

    Raises InputError, beginning with `where`, for such a field; ValueError or RecursionError, as `json.loads`, for what is no
    JSON.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise InputError(f"{where}: the field {twice!r:.60} is given twice")
        return found

    return json.loads(text, object_pairs_hook=once)


def check_writable(path: str | Path) -> None:
    """Raise InputError when a file could not be created at `path`; creates nothing. Worth asking before long work."""
    path = as_path(path)
    try:
        if path.is_dir():
            raise InputError(f"cannot write {str(path)!r}: expected the name of a file, got a folder")
        if not path.parent.is_dir():
            raise InputError(f"cannot write {str(path)!r}: the folder {str(path.parent)!r} does not exist")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise InputError(f"cannot write {str(path)!r}: no permission to write in {str(path.parent)!r}")
    except OSError as error:  # a name that is too long, a parent that may not be looked into
        raise InputError(f"cannot write {str(path)!r}: {error.strerror}") from None


def check_new_folder(path: str | Path) -> None:
    """Raise InputError unless a folder is new or empty; creates nothing."""
    path = as_path(path)
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"cannot write to {str(path)!r}: expected a new or empty folder")
    except OSError as error:
        raise InputError(f"cannot write to {str(path)!r}: {error.strerror}") from None


def _default_mode(path: Path) -> int:
    """The mode of a new file, as the umask and the folder have it. Read off a file, as reading the umask means setting it."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return os.fstat(descriptor).st_mode & 0o777
    finally:
        os.close(descriptor)
        os.unlink(path)


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk. A file system that cannot is left as it is."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # a folder, on Windows
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in (errno.EIO, *_NO_ROOM):
            raise
    finally:
        os.close(descriptor)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
