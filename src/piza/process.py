"""What a whole process shares: its screen, on which libraries below should not write, and locks that a forked process finds free."""

import ctypes
import functools
import os
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL


class ForkableLock:
    """A lock for a `with` block, as `threading.Lock`.

    A forked process has the threads of its parent no more, and would wait forever for a lock that one of them held. There each
    of these is free; what it guards has to bear that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.Lock()


_all: "weakref.WeakSet[ForkableLock]" = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_all):
        lock._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


_lock = ForkableLock()
_inside = 0  # blocks that are running now, in all threads
_first = warnings.catch_warnings()


@contextmanager
def without_warnings() -> Iterator[None]:
    """No warnings within; afterwards the program's own filters again, whichever of several threads ends last.

    `warnings.catch_warnings` alone puts back what it found, which in two threads is what the other one had set: no warning
    would ever be seen again.
    """
    global _inside, _first
    with _lock:
        if not _inside:
            _first = warnings.catch_warnings()
            _first.__enter__()
            warnings.simplefilter("ignore")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _first.__exit__(None, None, None)


@functools.cache
def silence_libtiff() -> bool:
    """Have Pillow's libtiff say nothing about odd files on stderr; what is wrong with one is raised. Whether that could be done.

    Done for wheels of Pillow, which bring a libtiff of their own, so that no other program's is touched.
    """
    home = Path(PIL.__file__).parent
    for path in sorted([*home.parent.glob("pillow.libs/libtiff*"), *home.glob(".dylibs/libtiff*")]):
        try:
            library = ctypes.CDLL(str(path))  # loaded already: this is the same one
            for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                setter = getattr(library, name)
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
                setter(None)
            return True
        except (OSError, AttributeError):
            continue
    return False
