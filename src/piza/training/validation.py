"""Evaluating a model while it is trained, in all processes: each takes some of the images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from piza.config import TrainConfig
from piza.data.box_formats import BoxFormat, read_rows_with_boxes
from piza.data.sorec import Row
from piza.errors import InputError
from piza.evaluation.outcome import Outcome
from piza.evaluation.run import Locator, evaluate, summarize
from piza.model.piza import Piza
from piza.training.averaging import WeightAverage
from piza.training.distributed import gather
from piza.training.log import TrainingLog
from piza.training.samples import group_rows

VALIDATION_LOG = "validation.csv"


@dataclass
class Validation:
    """Evaluates the averaged weights now and then.

    Attributes:
        rows: on which rows.
        config: of the training.
        every: steps between evaluations.
        last_step: after it the model is evaluated in any case.
        table: where the accuracies are kept, in the first process; None in others.
        log: gets a sentence about each evaluation.
        record: gets the step and the accuracies.
        processes, process: how many share the work, and which of them this is.
    """

    rows: list[Row]
    config: TrainConfig
    every: int
    last_step: int
    table: TrainingLog | None
    log: Callable[[str], None]
    record: Callable[[int, Mapping[str, float]], None]
    processes: int = 1
    process: int = 0

    def make_up(self, step: int, average: WeightAverage) -> None:
        """As `after_step`, where a run that was killed has not come to it after the checkpoint of this step."""
        lacks = self.table is not None and step not in self.table.steps()
        if any(gather(lacks)):
            self.after_step(step, average)

    def after_step(self, step: int, average: WeightAverage) -> None:
        """Evaluate if it is time to, after `step` steps. Called in all processes.

        Raises InputError in all of them where one cannot evaluate its rows.
        """
        if step % self.every and step != self.last_step:
            return
        with average.applied() as model:
            mine = evaluate_share(cast(Piza, model), self.rows, self.config, self.processes, self.process)
        found = accuracies(gather(mine), self.config.missing)
        if self.table is None:
            return
        self.table.add({"step": step, **found})
        self.record(step, found)
        self.log(
            f"step {step:,}: Acc50 {found['acc50']:.1f}, Acc75 {found['acc75']:.1f}, mAcc {found['macc']:.1f} on "
            f"{found['rows']} validation rows, {found['looks']:.1f} looks"
        )


@dataclass
class Share:
    """What one process found: outcomes with places among all rows; and, if there are none, why."""

    outcomes: list[Outcome]
    failure: str | None = None


def evaluate_share(
    model: Locator, rows: Sequence[Row], config: TrainConfig, processes: int = 1, process: int = 0
) -> Share:
    """Evaluate the rows of one process. All rows of an image fall to the same one, as they share its first look."""
    rows = rows[: config.validate_limit]
    images = list(dict.fromkeys(row.image for row in rows))
    mine = set(images[process::processes])
    places = [place for place, row in enumerate(rows) if row.image in mine]
    if not places:  # more processes than images
        return Share([])
    folder = config.validate_images or config.images
    try:
        found = evaluate(model, [rows[place] for place in places], folder, on_missing=config.missing)
    except InputError as error:
        return Share([], str(error))
    return Share([replace(outcome, index=places[outcome.index]) for outcome in found.outcomes])


def accuracies(shares: Sequence[Share], on_missing: str) -> dict[str, float]:
    """Accuracies in percent and the mean number of looks, of all processes' outcomes together.

    Raises InputError for what a process could not evaluate, or, with "skip", where none could.
    """
    failures = [share.failure for share in shares if share.failure is not None]
    outcomes = [outcome for share in shares for outcome in share.outcomes]
    if failures and (on_missing == "error" or not outcomes):
        raise InputError(failures[0])
    found = summarize(outcomes)
    return {
        "acc50": round(found.acc50, 2),
        "acc75": round(found.acc75, 2),
        "macc": round(found.macc, 2),
        "looks": round(found.mean_steps, 2),
        "rows": found.rows,
    }


def validation_rows(config: TrainConfig) -> list[Row]:
    """The rows to validate on, checked now and not in an hour; none where none were asked for.

    Raises InputError as `read_rows_with_boxes` and `group_rows` do.
    """
    if config.validate is None:
        return []
    images = config.validate_images or config.images
    if not Path(images).is_dir():
        raise InputError(f"the folder of images {images!r} does not exist")
    boxes = BoxFormat(config.box_format, config.normalized)
    rows = read_rows_with_boxes(config.validate, images, boxes, limit=config.validate_limit)
    if not rows:
        raise InputError(f"there are no rows to validate on in {config.validate!r}")
    group_rows(rows, images, config.missing)
    return rows
