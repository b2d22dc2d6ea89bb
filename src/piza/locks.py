"""Locks that a forked process finds free."""

import os
import threading
import weakref


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
