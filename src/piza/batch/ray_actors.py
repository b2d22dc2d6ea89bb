"""Workers that are actors of a Ray cluster. ray is imported only here, and only when it is asked for."""

from contextlib import suppress
from typing import Any

from piza.batch.crew import Answerer, Event, Job, how_it_failed, limit_threads
from piza.errors import InputError, reason

LOCAL = "local"
"""Instead of an address: a cluster of this machine alone, for as long as the run lasts."""


class RayActors:
    """A crew of actors, each in a process of its own somewhere in the cluster: a `Crew`.

    Actors, and not Ray Data: which images are asked about together, and what becomes of one whose worker died, must not depend
    on how many workers there are.
    """

    def __init__(self, job: Job, address: str, device: str = "cpu"):
        """Connect. device: where it is a card, each actor takes one GPU. Raises InputError where there is no such cluster."""
        self._ray = _import_ray()
        self._started_ray = not self._ray.is_initialized()
        if self._started_ray:
            options = {"include_dashboard": False} if address == LOCAL else {}
            try:
                self._ray.init(
                    None if address == LOCAL else address,
                    log_to_driver=False,
                    logging_level="error",
                    **options,
                )
            except Exception as error:  # no cluster, another version: each raises its own kind
                raise InputError(f"the Ray cluster {address!r} cannot be reached: {reason(error)}") from None
        gpus = 1 if device.startswith("cuda") else 0
        resources = self._ray.cluster_resources()
        for name, number in (("CPU", 1), ("GPU", gpus)):
            if resources.get(name, 0) < number:
                raise InputError(f"the Ray cluster {address!r} has no {name} for a worker")
        self._job = self._ray.put(job)
        environment = {"env_vars": {"OMP_NUM_THREADS": "1"}}
        make = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, runtime_env=environment)
        self._make = make(Actor)
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}  # what an actor was asked -> its number

    def start(self, worker: int) -> None:
        """See `Crew`."""
        self._drop(worker)
        self._actors[worker] = self._make.remote()
        self._pending[self._actors[worker].begin.remote(self._job)] = worker

    def give(self, worker: int, task: Any) -> None:
        """See `Crew`."""
        self._pending[self._actors[worker].answer.remote(task)] = worker

    def wait(self) -> list[Event]:
        """See `Crew`."""
        done, _ = self._ray.wait(list(self._pending), num_returns=1)
        events = []
        for reference in done:
            worker = self._pending.pop(reference)
            try:
                kind, value = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                kind, value = "died", reason(error)
            if kind == "died":
                self._drop(worker)
            events.append(Event(worker, kind, value))
        return events

    def close(self) -> None:
        """See `Crew`."""
        for worker in list(self._actors):
            self._drop(worker)
        if self._started_ray:
            self._ray.shutdown()

    def _drop(self, worker: int) -> None:
        actor = self._actors.pop(worker, None)
        if actor is not None:
            with suppress(Exception):  # it may be dead, and so may the cluster
                self._ray.kill(actor)


class Actor:
    """What runs in the cluster: the life of a worker, as `processes.serve`, one call at a time."""

    def __init__(self) -> None:
        self._answer: Answerer | None = None

    def begin(self, job: Job) -> tuple[str, Any]:
        """Start the job. Returns kind and value of an `Event`."""
        import warnings

        warnings.simplefilter("ignore")
        try:
            self._answer = job.start()
        except InputError as error:
            return "stop", str(error)
        except Exception as error:  # whatever a model raises
            return "died", how_it_failed(error)
        limit_threads()
        return "ready", None

    def answer(self, task: Any) -> tuple[str, Any]:
        """Answer a task. Returns kind and value of an `Event`."""
        assert self._answer is not None
        try:
            return "answer", self._answer(task)
        except InputError as error:
            return "stop", str(error)
        except Exception as error:  # whatever a model or a decoder raises
            return "died", how_it_failed(error)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError("--ray needs the package ray: install it with pip install 'piza[ray]'") from None
    return ray
