"""A bounded queue with one worker thread: searches with one model run one at a time, in the order they came."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from piza.server.errors import BusyError

T = TypeVar("T")
IsCancelled = Callable[[], bool]


class _Job:
    def __init__(self, work: Callable[[IsCancelled], Any]) -> None:
        self.work: Callable[[IsCancelled], Any] | None = work
        self.future: Future[Any] = Future()
        self.cancelled = threading.Event()


class WorkQueue:
    """Runs work in one daemon thread, first come, first served.

    size: how many may wait besides the one that runs.
    """

    def __init__(self, size: int, name: str = "piza") -> None:
        self.size = size
        self._jobs: deque[_Job] = deque()
        self._running: _Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        # A daemon, so that a search in progress cannot keep the process from ending.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._started = False

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        with self._changed:
            return len(self._jobs)

    @property
    def running(self) -> bool:
        """Whether work is being done now."""
        with self._changed:
            return self._running is not None

    async def run(self, work: Callable[[IsCancelled], T]) -> T:
        """Wait for a turn, do the work in the thread, return what it returns.

        When the caller is cancelled (the client left, its time is up), work that waits is dropped at once; work in
        progress cannot be interrupted and is told through its argument, which it should ask now and then.
        Raises BusyError when `size` others wait, and whatever the work raises.
        """
        job = self._add(work)
        try:
            result: T = await asyncio.wrap_future(job.future)
            return result
        except asyncio.CancelledError:
            self._drop(job)
            raise
        finally:
            del job  # an error would lead back to itself, through this function and the job's future

    def cancel_all(self) -> None:
        """Drop what waits, tell what runs to give up, and take nothing more."""
        with self._changed:
            self._closed = True
            jobs = [*self._jobs, *([self._running] if self._running else [])]
            self._changed.notify_all()
        for job in jobs:
            self._drop(job)
            job.future.cancel()

    def _add(self, work: Callable[[IsCancelled], Any]) -> _Job:
        job = _Job(work)
        with self._changed:
            if self._closed:
                raise BusyError("the server is shutting down")
            if len(self._jobs) + (self._running is not None) > self.size:
                waiting = "one waits" if self.size == 1 else f"{self.size} wait"
                raise BusyError(f"the server is busy: one search runs and {waiting}; try again in a moment")
            if not self._started:
                self._thread.start()
                self._started = True
            self._jobs.append(job)
            self._changed.notify_all()
        return job

    def _drop(self, job: _Job) -> None:
        job.cancelled.set()
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                job.work = None  # and with it the image that it holds

    def _next(self) -> _Job | None:
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._jobs or self._closed)
            if self._closed:
                return None
            self._running = self._jobs.popleft()
            return self._running

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            self._do(job)
            del job  # with its result or error: nothing is kept until the next one comes

    def _do(self, job: _Job) -> None:
        work, job.work = job.work, None
        if work is None or not job.future.set_running_or_notify_cancel():
            return
        try:
            result = work(job.cancelled.is_set)
        except BaseException as error:
            self._finish(job, error=error)
        else:
            self._finish(job, result=result)
        finally:
            del job

    def _finish(self, job: _Job, result: Any = None, error: BaseException | None = None) -> None:
        with self._changed:
            self._running = None  # before the caller hears of it, so that it may come back at once
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)
