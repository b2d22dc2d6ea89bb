"""Tasks for workers that may die: each task is answered once, or given up when it ended two workers.

A `Crew` is where workers run: processes of this machine, actors of Ray, or this process itself. `run_tasks` is the same for
all of them, and so are the answers: a task is always answered by itself, in one worker.
"""

import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from piza.devices import lacks_memory
from piza.errors import InputError, reason
from piza.process import ForkableLock

MAX_DEATHS = 2
"""Workers that a task may end before it is given up."""

MAX_IN_A_ROW = 5
"""Tasks that may be given up with no answer between them: more of them are no fault of the tasks."""

Answerer = Callable[[Any], Any]
_Task = TypeVar("_Task")


_lock = ForkableLock()
_inside, _threads = 0, 1  # tasks that are under way in this process, and its threads before


class Job(Protocol):
    """What workers do. It is pickled on its way to them."""

    def start(self) -> Answerer:
        """Load what is needed; returns what answers a task. Both raise InputError for what must end the whole run."""


@dataclass(frozen=True)
class Event:
    """What a worker has to say.

    worker: its number. kind: "ready" for a task; the "answer" to its task; "stop", for a reason that ends the run; "died".
    value: the answer, or the reason.
    """

    worker: int
    kind: Literal["ready", "answer", "stop", "died"]
    value: Any = None


@dataclass(frozen=True)
class GivenUp:
    """Instead of an answer, of a task that ended its workers. reason: how the last of them ended."""

    reason: str


class Crew(Protocol):
    """Workers with numbers."""

    def start(self, worker: int) -> None:
        """Start a worker, also in the place of one that died. It says "ready", "stop" or "died" later."""

    def give(self, worker: int, task: Any) -> None:
        """Give a task to a worker that is ready or has answered. It says "answer", "stop" or "died" later."""

    def wait(self) -> list[Event]:
        """Wait until a worker has something to say."""

    def close(self) -> None:
        """End all workers."""


def run_tasks(crew: Crew, size: int, tasks: Iterable[_Task]) -> Iterator[tuple[_Task, Any]]:
    """Answer tasks by `size` workers, each one task at a time; yields tasks with their answers, as they arrive.

    The task of a worker that died is done again by another one. A task that ended `MAX_DEATHS` workers gets `GivenUp`.
    Tasks are taken when a worker is free for them. The crew is closed at the end, whatever the end.

    Raises InputError when a worker says "stop", when workers die before they are ready, and when `MAX_IN_A_ROW` tasks in a row
    are given up.
    """
    queue = _Queue(tasks)
    free: set[int] = set()
    starting: set[int] = set()
    busy: dict[int, _Task] = {}
    failed_starts = 0
    try:
        while busy or queue:
            while free and queue:
                worker = free.pop()
                busy[worker] = queue.take()
                crew.give(worker, busy[worker])
            for worker in range(size if queue else 0):
                if worker not in busy and worker not in starting:
                    starting.add(worker)
                    crew.start(worker)
            for event in crew.wait():
                began = event.worker not in starting
                starting.discard(event.worker)
                free.discard(event.worker)
                task = busy.pop(event.worker, None)
                if event.kind == "stop":
                    raise InputError(str(event.value))
                if event.kind != "died":
                    free.add(event.worker)
                if event.kind == "answer" and task is not None:
                    queue.answered(task)
                    yield task, event.value
                elif event.kind == "died" and task is not None:
                    if queue.put_back(task, event.value):
                        yield task, GivenUp(event.value)
                elif event.kind == "died" and not began:
                    failed_starts += 1
                    if failed_starts > MAX_DEATHS:
                        raise InputError(f"the workers end before they begin: {event.value}")
                elif event.kind == "ready":
                    failed_starts = 0
    finally:
        crew.close()


class _Queue(Generic[_Task]):
    """Tasks to hand out, and how many workers each of them has ended."""

    def __init__(self, tasks: Iterable[_Task]):
        self._coming = iter(tasks)
        self._again: deque[_Task] = deque()
        self._deaths: dict[int, int] = {}  # by the identity of a task, which is held until it is answered
        self._given_up_in_a_row = 0

    def __bool__(self) -> bool:
        if not self._again:
            self._again.extend(itertools.islice(self._coming, 1))
        return bool(self._again)

    def take(self) -> _Task:
        """The next task, of a queue that is not empty."""
        return self._again.popleft()

    def answered(self, task: _Task) -> None:
        """A task is done."""
        self._given_up_in_a_row = 0
        self._deaths.pop(id(task), None)

    def put_back(self, task: _Task, reason: str) -> bool:
        """A worker died of a task, or on it: it is to be done again. True if not, because it was one too many.

        Raises InputError when too many tasks in a row are given up.
        """
        deaths = self._deaths.pop(id(task), 0) + 1
        if deaths < MAX_DEATHS:
            self._deaths[id(task)] = deaths
            self._again.appendleft(task)
            return False
        self._given_up_in_a_row += 1
        if self._given_up_in_a_row >= MAX_IN_A_ROW:
            raise InputError(
                f"{MAX_IN_A_ROW} images in a row ended the workers that looked at them: {reason}"
            )
        return True


def limit_threads() -> None:
    """Let this process compute in one thread: there are as many processes as there is work for."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@contextmanager
def in_one_thread() -> Iterator[None]:
    """Within, torch computes in one thread, as in a worker: more of them change last digits."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    global _inside, _threads
    with _lock:
        if not _inside:
            _threads = torch.get_num_threads()
        _inside += 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:  # the last one that is within, of several threads
                torch.set_num_threads(_threads)


def how_it_failed(error: BaseException) -> str:
    """An error that ends a worker, in words."""
    small = type(error).__name__ == "OutOfMemoryError" or lacks_memory(error)
    return "it ran out of memory" if small else f"{type(error).__name__}: {reason(error)}"


class ThisProcess:
    """A crew of one worker that is this process; nothing protects it from a task that ends it."""

    def __init__(self, job: Job):
        self._job = job
        self._answer: Answerer | None = None
        self._event: Event | None = None

    def start(self, worker: int) -> None:
        """See `Crew`."""
        self._answer = self._answer or self._job.start()
        self._event = Event(worker, "ready")

    def give(self, worker: int, task: Any) -> None:
        """See `Crew`."""
        assert self._answer is not None
        try:
            with in_one_thread():
                self._event = Event(worker, "answer", self._answer(task))
        except InputError:
            raise
        except Exception as error:  # whatever a model or a decoder raises
            self._event = Event(worker, "died", how_it_failed(error))

    def wait(self) -> list[Event]:
        """See `Crew`."""
        assert self._event is not None
        event, self._event = self._event, None
        return [event]

    def close(self) -> None:
        """See `Crew`."""
        self._answer = None
