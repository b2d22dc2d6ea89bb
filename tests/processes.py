"""Processes that a test starts: none goes on for ever, and none gets back into the suite."""

import os
import signal
import threading
import time
import traceback
from contextlib import contextmanager


@contextmanager
def killed_after(process, seconds):
    """Within, a process that takes so long is killed, so that reading from it comes to an end."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def first_line(process, seconds=120.0):
    """The first line on the stderr of a process; one that says nothing for so long is killed, and the test fails."""
    with killed_after(process, seconds):
        line = process.stderr.readline()
    assert line, f"the process said nothing: exit code {process.wait(10)}, or killed after {seconds} s"
    return line


def in_child(work, seconds=60.0):
    """Runs `work()` in a forked copy of this process and returns the signal that killed it, or its exit code.

    0: it returned; 1: it raised, which is printed. Whatever it does, the copy ends here and runs no other test; one that
    takes longer is killed, and the test fails.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"the child was killed after {seconds} s")
        time.sleep(0.01)
    code = os.waitstatus_to_exitcode(ended[1])
    return signal.Signals(-code) if code < 0 else code
