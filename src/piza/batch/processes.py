"""Workers that are processes of this machine."""

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from piza.batch.crew import Event, Job, how_it_failed, limit_threads
from piza.errors import InputError

SECONDS_TO_END = 2.0
NO_GUARD = 93
"""The exit code of a worker that would start workers: a program is run once more in each, to find what it defines."""


class Processes:
    """A crew of processes, started anew (spawn) with one thread each: a `Crew`.

    A process ends by itself when this one is gone.
    """

    def __init__(self, job: Job):
        self._job = job
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, tuple[Any, Connection]] = {}

    def start(self, worker: int) -> None:
        """See `Crew`."""
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise SystemExit(NO_GUARD)
        self._drop(worker)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self._job), daemon=True)
        with _one_thread():
            process.start()
        theirs.close()  # so that its end is seen here
        self._workers[worker] = process, ours

    def give(self, worker: int, task: Any) -> None:
        """See `Crew`."""
        with suppress(OSError):  # it has died, as `wait` will see
            self._workers[worker][1].send(task)

    def wait(self) -> list[Event]:
        """See `Crew`."""
        numbers = {connection: worker for worker, (_, connection) in self._workers.items()}
        events = []
        for connection in wait(list(numbers)):
            worker = numbers[connection]  # type: ignore[index]  # wait gives back what it was given
            try:
                kind, value = self._workers[worker][1].recv()
            except (EOFError, OSError):
                kind, value = self._how_it_ended(worker)
            events.append(Event(worker, kind, value))
            if kind == "died":
                self._drop(worker)
        return events

    def close(self) -> None:
        """See `Crew`."""
        for process, _ in self._workers.values():
            process.terminate()
        for worker in list(self._workers):
            self._drop(worker)

    def _drop(self, worker: int) -> None:
        """Forget a worker that has ended or is about to."""
        if worker not in self._workers:
            return
        process, connection = self._workers.pop(worker)
        connection.close()
        process.join(SECONDS_TO_END)
        if process.is_alive():
            process.kill()
            process.join()

    def _how_it_ended(self, worker: int) -> tuple[Literal["died", "stop"], str]:
        process = self._workers[worker][0]
        process.join(SECONDS_TO_END)
        code = process.exitcode
        if code is not None and code < 0:
            hint = ", as when memory runs out" if -code == signal.SIGKILL else ""
            return "died", f"it was ended by {signal.Signals(-code).name}{hint}"
        if code == NO_GUARD:
            return (
                "stop",
                "workers run your program once more: put its own work under if __name__ == '__main__':",
            )
        return "died", f"it ended with code {code}"


def serve(connection: Connection, job: Job) -> None:
    """The life of a worker: start the job, then answer tasks until there is nobody to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the one that started us ends us
    warnings.simplefilter("ignore")
    try:
        try:
            answer = job.start()
            limit_threads()
            connection.send(("ready", None))
            while True:
                task = connection.recv()
                connection.send(("answer", answer(task)))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
        except InputError as error:
            connection.send(("stop", str(error)))
        except (
            Exception
        ) as error:  # whatever a model or a decoder raises: this process may not be sound any more
            connection.send(("died", how_it_failed(error)))
    except OSError:  # nobody is there to hear it
        return
    finally:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # libraries that talk while Python ends


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that are started meanwhile compute in one thread, whichever library they import first."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
