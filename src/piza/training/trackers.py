"""Where the numbers of a training are sent while it runs, beside its own log."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from piza.errors import InputError, reason

TRACKERS = ("none", "tensorboard", "trackio")


class Tracker(NamedTuple):
    log: Callable[[int, Mapping[str, float]], None]  # (step, named numbers)
    finish: Callable[[], None]


def start_tracker(
    name: str, folder: Path, run: str, settings: Mapping[str, Any], say: Callable[[str], None]
) -> Tracker:
    """tensorboard writes into `folder`/tensorboard; trackio keeps runs where it keeps them, in its project "piza".

    A tracker that fails later is told about with `say`, once, and left alone: training matters more.

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

            return _careful(Tracker(scalars, writer.close), name, say)
        if name == "trackio":
            import trackio

            trackio.init(project="piza", name=run, config=dict(settings), resume="allow", embed=False)

            def log(step: int, values: Mapping[str, float]) -> None:
                trackio.log(dict(values), step=step)

            return _careful(Tracker(log, trackio.finish), name, say)
    except ImportError:
        raise InputError(
            f"the tracker {name!r} is not installed; install it with 'pip install {name}'"
        ) from None
    except Exception as error:  # a foreign service may fail in any way
        raise InputError(f"the tracker {name!r} cannot be started: {reason(error)}") from None
    return Tracker(lambda step, values: None, lambda: None)


def _careful(tracker: Tracker, name: str, say: Callable[[str], None]) -> Tracker:
    failed = False

    def guard(action: Callable[..., None], *arguments: Any) -> None:
        nonlocal failed
        if failed:
            return
        try:
            action(*arguments)
        except Exception as error:  # whatever a foreign service raises
            failed = True
            say(f"the tracker {name!r} failed and is not used any more: {reason(error)}")

    return Tracker(
        lambda step, values: guard(tracker.log, step, values),
        lambda: guard(tracker.finish),
    )
