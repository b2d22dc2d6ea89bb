"""Experiment trackers: where the numbers of a training are sent while it runs, beside its own log."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from piza.errors import InputError, reason

TRACKERS = ("none", "tensorboard", "trackio", "wandb", "mlflow")
PROJECT = "piza"


class Tracker(NamedTuple):
    """A started tracker: `record` takes a step and named numbers, `finish` ends it."""

    record: Callable[[int, Mapping[str, float]], None]
    finish: Callable[[], None]


def start_tracker(
    name: str, folder: Path, run: str, settings: Mapping[str, Any], log: Callable[[str], None]
) -> Tracker:
    """One of accelerate's trackers, in the project or experiment "piza", its run named `run`.

    Tensorboard writes into `folder`/tensorboard and wandb into `folder`/wandb; trackio and mlflow keep runs where they are
    told to by their own settings (as MLFLOW_TRACKING_URI). A run that goes on is the same one in wandb and trackio. A tracker
    that fails later is reported to `log`, once, and left alone: training matters more.

    Raises InputError for an unknown tracker, or one that is not installed or does not start.
    """
    if name not in TRACKERS:
        raise InputError(f"there is no tracker {name!r}; known are {', '.join(TRACKERS)}")
    if name == "none":
        return Tracker(lambda step, values: None, lambda: None)
    same = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]  # when it goes on
    arguments: dict[str, tuple[str, dict[str, Any]]] = {
        "tensorboard": ("tensorboard", {"logging_dir": str(folder)}),
        "trackio": (PROJECT, {"name": run, "resume": "allow", "embed": False}),
        "wandb": (PROJECT, {"name": run, "id": same, "resume": "allow", "dir": str(folder)}),
        "mlflow": (PROJECT, {"run_name": run}),
    }
    try:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        first, options = arguments[name]
        begun = LOGGER_TYPE_TO_CLASS[name](first, **options)
        begun.start()
        begun.store_init_configuration(
            {key: value if isinstance(value, (int, float)) else str(value) for key, value in settings.items()}
        )
    except ImportError:
        raise InputError(
            f"the tracker {name!r} is not installed; install it with 'pip install {name}'"
        ) from None
    except Exception as error:  # a foreign service may fail in any way
        raise InputError(f"the tracker {name!r} cannot be started: {reason(error)}") from None
    return _careful(Tracker(lambda step, values: begun.log(dict(values), step=step), begun.finish), name, log)


def _careful(tracker: Tracker, name: str, log: Callable[[str], None]) -> Tracker:
    failed = False

    def guard(action: Callable[..., None], *arguments: Any) -> None:
        nonlocal failed
        if failed:
            return
        try:
            action(*arguments)
        except Exception as error:  # whatever a foreign service raises
            failed = True
            log(f"the tracker {name!r} failed and is not used any more: {reason(error)}")

    return Tracker(
        lambda step, values: guard(tracker.record, step, values),
        lambda: guard(tracker.finish),
    )
