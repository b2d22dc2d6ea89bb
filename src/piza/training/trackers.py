"""Experiment trackers: where the numbers of a training are sent while it runs, beside its own log."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from piza.errors import InputError, reason

TRACKERS = ("none", "tensorboard", "trackio")


class Tracker(NamedTuple):
    """A started tracker: `record` takes a step and named numbers, `finish` ends it."""

    record: Callable[[int, Mapping[str, float]], None]
    finish: Callable[[], None]


def start_tracker(
    name: str, folder: Path, run: str, settings: Mapping[str, Any], log: Callable[[str], None]
) -> Tracker:
    """Tensorboard writes into `folder`/tensorboard; trackio keeps runs where it keeps them, in its project "piza".

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
    except ImportError:
        raise InputError(
            f"the tracker {name!r} is not installed; install it with 'pip install {name}'"
        ) from None
    except Exception as error:  # a foreign service may fail in any way
        raise InputError(f"the tracker {name!r} cannot be started: {reason(error)}") from None
    return Tracker(lambda step, values: None, lambda: None)


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
