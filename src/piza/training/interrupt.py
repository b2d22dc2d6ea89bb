"""Stopping a training politely: Ctrl-C and a polite kill end it after the running step."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stop_signals(aloud: bool) -> Iterator[Callable[[], bool]]:
    """Within, SIGINT and SIGTERM ask for a stop after the running step; a second one stops at once, as KeyboardInterrupt.

    Yields a function that tells whether a stop was asked for. `aloud`: whether a signal is answered on stderr. Outside of the
    main thread, where signals cannot be handled, nothing is done.
    """
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if aloud:  # not with print, which may be at work just now
            os.write(2, b"\npiza: stopping after this step; once more stops at once\n")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
