"""Experiment trackers: where the numbers of a training are sent while it runs, beside its own log."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from piza.errors import InputError, reason

TRACKERS = ("none", "tensorboard", "trackio", "wandb", "mlflow")


class Tracker(NamedTuple):
    """A started tracker: `record` takes a step and named numbers, `finish` ends it."""

    record: Callable[[int, Mapping[str, float]], None]
    finish: Callable[[], None]


def start_tracker(
    name: str, folder: Path, run: str, settings: Mapping[str, Any], log: Callable[[str], None]
) -> Tracker:
    """Tensorboard writes into `folder`/tensorboard and wandb into `folder`/wandb; trackio and mlflow keep runs where they are
    told to by their own settings (as MLFLOW_TRACKING_URI). Runs are in the project or experiment "piza", named `run`; a run
    that goes on is the same one in wandb and trackio.

    A tracker that fails later is reported to `log`, once, and left alone: training matters more.

    Raises InputError for an unknown tracker, or one that is not installed or does not start.
    """
    if name not in TRACKERS:
        raise InputError(f"there is no tracker {name!r}; known are {', '.join(TRACKERS)}")
    try:
        if name == "tensorboard":
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(str(folder / "tensorboard"))

            def scalars(step: int, values: Mapping[str, float]) -> None:
                for key, value in values.items():
                    writer.add_scalar(key, value, step)

            return _careful(Tracker(scalars, writer.close), name, log)
        if name == "trackio":
            import trackio

            trackio.init(project="piza", name=run, config=dict(settings), resume="allow", embed=False)

            def record(step: int, values: Mapping[str, float]) -> None:
                trackio.log(dict(values), step=step)

            return _careful(Tracker(record, trackio.finish), name, log)
        if name == "wandb":
            return _careful(_wandb(folder, run, settings), name, log)
        if name == "mlflow":
            return _careful(_mlflow(run, settings), name, log)
    except ImportError:
        raise InputError(
            f"the tracker {name!r} is not installed; install it with 'pip install {name}'"
        ) from None
    except Exception as error:  # a foreign service may fail in any way
        raise InputError(f"the tracker {name!r} cannot be started: {reason(error)}") from None
    return Tracker(lambda step, values: None, lambda: None)


def _wandb(folder: Path, run: str, settings: Mapping[str, Any]) -> Tracker:
    import wandb

    begun = wandb.init(
        project="piza",
        name=run,
        id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],  # the same when it goes on
        resume="allow",
        dir=str(folder),
        config=dict(settings),
    )
    return Tracker(lambda step, values: begun.log(dict(values), step=step), begun.finish)


def _mlflow(run: str, settings: Mapping[str, Any]) -> Tracker:
    import mlflow

    mlflow.set_experiment("piza")
    mlflow.start_run(run_name=run)
    mlflow.log_params(dict(settings))
    return Tracker(lambda step, values: mlflow.log_metrics(dict(values), step=step), mlflow.end_run)


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
