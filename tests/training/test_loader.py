"""Processes that make batches end with the training, however that ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from piza.training.loader import StepBatches, step_batches

# Batches larger than a pipe holds: the worker that makes them waits until somebody reads them.
TRAINING = """
import time
import numpy as np
from torch.multiprocessing import active_children
from piza.training.loader import MicroBatches, StepBatches, step_batches

with step_batches(StepBatches(lambda step, process: MicroBatches([np.zeros(3_000_000, np.uint8)]), 0, 100, 0), 1) as batches:
    next(batches)
    print(active_children()[0].pid, flush=True)
    time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return not state.strip().startswith("Z")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_a_killed_training(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", TRAINING], stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        worker = int(training.stdout.readline())
        time.sleep(0.5)  # until it waits
        training.send_signal(number)
        training.wait(10)
    end = time.monotonic() + 20
    while is_running(worker) and time.monotonic() < end:
        time.sleep(0.2)
    left = is_running(worker)
    if left:
        os.kill(worker, signal.SIGKILL)
    assert not left


def test_without_workers_the_same_batches_are_made_here() -> None:
    with step_batches(StepBatches(lambda step, process: (step, process, os.getpid()), 3, 6, 1), 0) as batches:
        assert [tuple(batch) for batch in batches] == [(step, 1, os.getpid()) for step in (3, 4, 5)]
