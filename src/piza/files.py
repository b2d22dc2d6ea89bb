"""Writing files so that nobody ever reads half a file."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from piza.errors import InputError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; when the block ends well, move it onto `path`.

    The temporary name keeps the suffix, because writers such as Pillow choose the format by it. When the block
    raises, the temporary file is removed and whatever stood at `path` before is untouched.

    Raises InputError when the folder does not exist or cannot be written to, or when `path` is a folder.
    """
    path = Path(path)
    check_writable(path)
    temporary = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Raise InputError when a file could not be created at `path`; creates nothing. Worth asking before long work."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"cannot write {str(path)!r}: it is a folder, a file name is wanted")
        if not path.parent.is_dir():
            raise InputError(f"cannot write {str(path)!r}: the folder {str(path.parent)!r} does not exist")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise InputError(f"cannot write {str(path)!r}: no permission to write in {str(path.parent)!r}")
    except OSError as error:  # a name that is too long, a parent that may not be looked into
        raise InputError(f"cannot write {str(path)!r}: {error.strerror}") from None
