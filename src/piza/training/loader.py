"""Making batches in worker processes, beside the training."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from piza.errors import InputError, reason

B = TypeVar("B")
MakeBatch = Callable[[int, int], Any]
"""(step, process) -> a batch, or `MicroBatches`. A function of these alone, so that a resumed run sees what an uninterrupted
one would have seen."""


@dataclass
class MicroBatches(Generic[B]):
    """Batches of one step that go through the model one after the other; their losses are added up.

    numbers: of each batch, among those of the step in all processes; dropout is a function of it and the step. None: it is
    one of the process and the step.
    """

    batches: list[B]
    numbers: list[int] | None = None


class WorkerKilled(RuntimeError):
    """A process that makes batches is gone; no batch of a later step can be had."""


class StepBatches(Dataset[Any]):
    """The batches of steps `first` to `end` of one process, as a DataLoader wants them."""

    def __init__(self, make_batch: MakeBatch, first: int, end: int, process: int):
        self.make_batch, self.first, self.end, self.process = make_batch, first, end, process

    def __len__(self) -> int:
        return self.end - self.first

    def __getitem__(self, index: int) -> Any:
        """The batch of a step, or the InputError that it raised: raised in a worker it would arrive as a traceback."""
        try:
            return self.make_batch(self.first + index, self.process)
        except InputError as error:
            return error


@contextmanager
def step_batches(batches: StepBatches, workers: int) -> Iterator[Iterator[Any]]:
    """Iterate over the batches, made by `workers` processes that are a few steps ahead; 0: by this one.

    A worker that is killed is a WorkerKilled from the iterator, and only from there: DataLoader also installs a signal handler
    that may raise anywhere, as in the middle of an update of the weights, and that one is taken out again.
    """
    if not len(batches):
        yield iter(())
        return
    loader: Iterable[Any] = DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_start_worker,
        multiprocessing_context="fork" if workers else None,
    )
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD) if in_main_thread else None
    watched = _watched(iter(loader))
    if in_main_thread:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield watched
    finally:
        watched.close()  # and with it the workers, before whatever error is on its way is forgotten
        if in_main_thread:
            signal.signal(signal.SIGCHLD, before if before is not None else signal.SIG_DFL)


def _watched(iterator: Iterator[Any]) -> Generator[Any, None, None]:
    """The same items, with the many errors by which a dead worker shows as one."""
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except (
            ConnectionError,
            EOFError,
            FileNotFoundError,
        ) as error:  # its batches cannot be fetched from it
            raise WorkerKilled(f"it is gone before its batch was fetched ({type(error).__name__})") from None
        except RuntimeError as error:
            if "DataLoader worker (pid" in str(error):
                raise WorkerKilled(reason(error)) from None
            raise
        yield item


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C is meant for the training, which ends its workers itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(training: int) -> None:
    """Ends this process when the training is gone. DataLoader's own watch waits, in the end, until somebody has read all batches:
    where they are larger than a pipe, forever."""
    while os.getppid() == training:
        time.sleep(1.0)
    os._exit(1)
