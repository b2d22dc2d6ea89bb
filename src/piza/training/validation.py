"""Evaluating a model while it is trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from piza.config import TrainConfig
from piza.data.box_formats import BoxFormat, read_rows_with_boxes
from piza.data.sorec import Row
from piza.errors import InputError
from piza.model.piza import Piza
from piza.training.averaging import WeightAverage
from piza.training.log import TrainingLog
from piza.training.samples import group_rows

VALIDATION_LOG = "validation.csv"


@dataclass
class Validation:
    """Evaluates the averaged weights now and then.

    Attributes:
        model: what is evaluated.
        rows: on which rows.
        config: of the training.
        every: steps between evaluations.
        last_step: after it the model is evaluated in any case.
        table: where the accuracies are kept.
        log: gets a sentence about each evaluation.
        record: gets the step and the accuracies.
    """

    model: Piza
    rows: list[Row]
    config: TrainConfig
    every: int
    last_step: int
    table: TrainingLog
    log: Callable[[str], None]
    record: Callable[[int, Mapping[str, float]], None]

    def after_step(self, step: int, average: WeightAverage) -> None:
        """Evaluate if it is time to, after `step` steps."""
        if step % self.every and step != self.last_step:
            return
        with average.applied():
            found = accuracies(self.model, self.rows, self.config)
        self.table.add({"step": step, **found})
        self.record(step, found)
        self.log(
            f"step {step:,}: Acc50 {found['acc50']:.1f}, Acc75 {found['acc75']:.1f}, mAcc {found['macc']:.1f} on "
            f"{found['rows']} validation rows, {found['looks']:.1f} looks"
        )


def accuracies(model: Piza, rows: list[Row], config: TrainConfig) -> dict[str, float]:
    """Accuracies in percent and the mean number of looks on validation rows."""
    from piza.evaluation.run import evaluate

    images = config.validate_images or config.images
    found = evaluate(model, rows, images, limit=config.validate_limit, on_missing=config.missing)
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
