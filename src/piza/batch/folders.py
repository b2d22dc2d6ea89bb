"""A folder of many files that is known to be unfinished until all are there, so that the same command can begin anew."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from piza.errors import InputError
from piza.files import check_writable, is_temporary, one_writer, sweep_temporary

UNFINISHED = ".piza-unfinished"
"""In the folder while it is written: the files that were begun, one JSON text a line, relative to the folder."""


def check_folder(path: Path) -> None:
    """Raise InputError unless the folder is new or empty, or holds only what an interrupted run wrote; changes nothing."""
    try:
        if path.is_dir():
            begun = _begun(path)
            if any(entry not in begun for entry in _files(path)):
                raise InputError(f"cannot write answers to {str(path)!r}: expected a new or an empty folder")
        elif path.exists():
            raise InputError(f"cannot write answers to {str(path)!r}: expected a folder, got a file")
        else:
            check_writable(path)
    except OSError as error:
        raise InputError(f"cannot write answers to {str(path)!r}: {error.strerror}") from None


@contextmanager
def growing_folder(path: Path) -> Iterator[Callable[[str], Path]]:
    """Make the folder, and yield a function that gives the path of a further file in it, by its relative name.

    What an interrupted run left is removed first. When the block raises or the process is killed, the files stay, and the
    next run may take the folder. Raises InputError as `check_folder`, and where another process writes there now.
    """
    check_folder(path)
    new = not path.exists()
    path.mkdir(exist_ok=True)
    with one_writer(path):
        check_folder(path)  # nobody has finished one there meanwhile
        yield from _growing(path, new)


def _growing(path: Path, new: bool) -> Iterator[Callable[[str], Path]]:
    marker = path / UNFINISHED
    for name in _begun(path):
        (path / name).unlink(missing_ok=True)
    for inner in (path, *(entry for entry in path.rglob("*") if entry.is_dir())):
        sweep_temporary(inner)
    with marker.open("w", encoding="utf-8") as file:

        def begin(name: str) -> Path:
            file.write(json.dumps(name) + "\n")
            file.flush()
            place = path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            return place

        try:
            yield begin
        except BaseException:
            if not _begun(path):
                marker.unlink()
                if new:
                    path.rmdir()
            raise
    marker.unlink()


def _files(folder: Path) -> Iterator[str]:
    """What is in the folder besides the marker, empty folders and unfinished files."""
    for entry in folder.rglob("*"):
        if entry.is_symlink() or not entry.is_dir():
            name = entry.relative_to(folder).as_posix()
            if name != UNFINISHED and not is_temporary(entry):
                yield name


def _begun(folder: Path) -> set[str]:
    """The files that an interrupted run began; only names inside of the folder count."""
    try:
        lines = (folder / UNFINISHED).read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError):
        return set()
    found = set()
    for line in lines:
        try:
            name = json.loads(line)
        except ValueError:
            continue
        if isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts:
            found.add(name)
    return found
