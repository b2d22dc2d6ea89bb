"""A forked process does not wait for threads that it has not."""

import os
import threading

import pytest
from tests.processes import in_child

from piza import process
from piza.model.text import Prompter
from piza.process import ForkableLock


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_lock_that_another_thread_held_is_free_in_a_forked_process():
    own, prompter = ForkableLock(), Prompter(lambda text, **_: {"input_ids": [1012]})
    locks = [own, prompter._lock, process._lock]
    held, end = threading.Event(), threading.Event()

    def hold():
        with own, prompter._lock, process._lock:
            held.set()
            end.wait(60)

    def use_them():
        for lock in locks:
            for _ in range(2):
                with lock:
                    pass
        prompter.token_ids("the red car")

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(60) and in_child(use_them, seconds=30) == 0
    finally:
        end.set()
        thread.join()
    use_them()  # and afterwards they are what they were here
