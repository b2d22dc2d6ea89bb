"""Running a model over rows and counting how often it is right."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from piza.batch.crew import GivenUp, run_tasks
from piza.batch.processes import Processes
from piza.data.sorec import Row, find_image
from piza.errors import MAX_WORKERS, InputError, check_whole
from piza.evaluation.intervals import Interval, intervals
from piza.evaluation.metrics import accuracy, mean_accuracy
from piza.evaluation.outcome import Outcome, outcome_of
from piza.image import ImageSource, decode_image
from piza.result import Result

__all__ = ["Baseline", "Evaluation", "Locator", "Outcome", "evaluate"]


class Locator(Protocol):
    """What can be evaluated: anything that answers like `Piza.locate`."""

    def locate(self, image: ImageSource, expression: Any, **search: Any) -> Any:
        """A list of results, one a sentence of `expression`; `search` are the keywords of `piza.locate`."""
        ...


Baseline: TypeAlias = Callable[..., list[Result]]
"""Another way to answer rows with a model, to compare a search with: a function (model, image, rows, **options) -> one
result a row. `rows` are all about `image`, and of them a fair baseline reads the expressions only. See
`piza.evaluation.baselines`."""

Group: TypeAlias = Sequence[tuple[int, Row]]
"""The rows about one image, each with its place among all."""


@dataclass
class Evaluation:
    """The summary of an evaluation.

    rows: how many were answered. acc50, acc75, macc: in percent, of the box of each answer, whether or not its score
    reaches a `min_score`. mean_steps: looks a sentence, every one counted. mean_ms: milliseconds a sentence, opening the
    image included (shared between its sentences), loading the model not. outcomes: one a row, in the order of the rows,
    without the images. skipped: rows left out because their image could not be opened. images: how many different ones
    were asked about. intervals: 95 % intervals of acc50, acc75 and macc, resampled by image; None for fewer than five.
    found: rows whose result has `found` True.
    """

    rows: int
    acc50: float
    acc75: float
    macc: float
    mean_steps: float
    mean_ms: float
    outcomes: list[Outcome] = field(repr=False)
    skipped: int
    images: int = 0
    intervals: dict[str, Interval] | None = None
    found: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON, without the outcomes; the intervals as [low, high] or None."""
        names = ("rows", "acc50", "acc75", "macc", "mean_steps", "mean_ms", "images", "found")
        ranges = {name: list(found) for name, found in self.intervals.items()} if self.intervals else None
        return {**{name: getattr(self, name) for name in names}, "intervals": ranges}


def evaluate(
    model: Locator | Callable[[], Locator],
    rows: Sequence[Row],
    images_dir: str | Path,
    limit: int | None = None,
    on_missing: Literal["error", "skip"] = "error",
    progress: Callable[[int, int], None] | None = None,
    write: Callable[[dict[str, Any]], None] | None = None,
    done: Sequence[Outcome] = (),
    baseline: Baseline | None = None,
    workers: int = 0,
    **options: Any,
) -> Evaluation:
    """Ask `model` every row, and compare its first answer with the row's box.

    An image is opened once, and all its sentences are asked in one call, so that all numbers but the time are the same for
    any number of workers.

    Args:
        model: what is asked; with workers, a function without arguments that loads it and that they can import.
        rows: sentences with their true boxes, in pixels of the image.
        images_dir: the folder that the rows' image names are relative to.
        limit: take the first rows only.
        on_missing: what becomes of rows whose image is missing or cannot be opened: "error", found before the first look
            where a file is missing, or "skip".
        progress: called with (rows done, rows in all) after each image.
        write: called with `Outcome.to_dict()` after each answer.
        done: outcomes of an earlier run over the same rows (`resume`). Images of which all rows are among them are not
            asked again; of other images they are ignored.
        baseline: asked instead of `model.locate`.
        workers: processes of one thread each; 0 asks in this process.
        options: keywords of `model.locate`, or of the baseline.

    Raises:
        InputError: when there are no rows, an image is missing, or a sentence cannot be asked.
    """
    check_whole("workers", workers, 0, MAX_WORKERS)
    rows = _check(rows, images_dir, limit, on_missing)
    groups: dict[str, list[tuple[int, Row]]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.image, []).append((index, row))
    if on_missing == "error":
        for image in groups:
            find_image(images_dir, image)

    known = {outcome.index: outcome for outcome in done}
    whole = [group for group in groups.values() if all(index in known for index, _ in group)]
    outcomes = [known[index] for group in whole for index, _ in group]
    todo = [group for group in groups.values() if any(index not in known for index, _ in group)]
    skipped = 0
    job = EvaluateJob(model, images_dir, on_missing, baseline, options)
    for group, found in _answers(job, todo, workers):
        if found is None:
            skipped += len(group)
        else:
            outcomes += found
            if write is not None:
                for outcome in found:
                    write(outcome.to_dict())
        if progress is not None:
            progress(len(outcomes) + skipped, len(rows))
    if not outcomes:
        raise InputError(
            f"none of the {len(rows)} rows has an image that can be opened in {str(images_dir)!r}"
        )
    return summarize(outcomes, skipped)


@dataclass(frozen=True)
class EvaluateJob:
    """Asks the rows of one image, given with their indices; answers with their outcomes, or None for an image to skip.

    The fields are the arguments of `evaluate`.
    """

    model: Any
    images_dir: str | Path
    on_missing: str
    baseline: Baseline | None
    options: dict[str, Any]

    def start(self) -> Callable[[Group], list[Outcome] | None]:
        """See `piza.batch.crew.Job`."""
        return partial(self.answer, self.model())

    def answer(self, model: Locator, group: Group) -> list[Outcome] | None:
        """The outcomes of the rows of one image. Raises InputError as `evaluate` does."""
        begin = time.perf_counter()
        rows = [row for _, row in group]
        try:
            decoded = decode_image(find_image(self.images_dir, rows[0].image))
        except InputError:
            if self.on_missing == "error":
                raise
            return None
        results = _ask(model, decoded, rows, self.baseline, self.options)
        milliseconds = 1000 * (time.perf_counter() - begin) / len(rows)
        return [
            outcome_of(index, row, result, milliseconds)
            for (index, row), result in zip(group, results, strict=True)
        ]


def _answers(
    job: EvaluateJob, groups: Sequence[Group], workers: int
) -> Iterator[tuple[Group, list[Outcome] | None]]:
    """Each group with its outcomes, as they arrive."""
    if not workers:
        for group in groups:
            yield group, job.answer(job.model, group)
        return
    for group, found in run_tasks(Processes(job), min(workers, len(groups)), groups):
        if isinstance(found, GivenUp):
            image = group[0][1].image
            raise InputError(f"two workers ended while they looked at the image {image!r}: {found.reason}")
        yield group, found


def summarize(outcomes: Sequence[Outcome], skipped: int = 0) -> Evaluation:
    """The summary of at least one outcome, in any order; `skipped` as in `Evaluation`."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.index)
    ious = [outcome.iou for outcome in ordered]
    images = [outcome.row.image for outcome in ordered]
    return Evaluation(
        rows=len(ordered),
        acc50=accuracy(ious, 0.50),
        acc75=accuracy(ious, 0.75),
        macc=mean_accuracy(ious),
        mean_steps=sum(outcome.num_looks for outcome in ordered) / len(ordered),
        mean_ms=sum(outcome.milliseconds for outcome in ordered) / len(ordered),
        outcomes=ordered,
        skipped=skipped,
        images=len(set(images)),
        intervals=intervals(ious, images),
        found=sum(outcome.found for outcome in ordered),
    )


def _check(rows: Sequence[Row], images_dir: str | Path, limit: int | None, on_missing: str) -> list[Row]:
    """The rows to ask. Raises InputError for arguments that cannot be."""
    if on_missing not in ("error", "skip"):
        raise InputError(f"on_missing must be 'error' or 'skip', got {on_missing!r}")
    if limit is not None:
        check_whole("limit", limit, 1)
    rows = list(rows)[:limit]
    if not rows:
        raise InputError("there are no rows to evaluate")
    if not Path(images_dir).is_dir():
        raise InputError(f"the folder of images {str(images_dir)!r} does not exist")
    return rows


def _ask(
    model: Any, image: ImageSource, rows: Sequence[Row], baseline: Baseline | None, options: dict[str, Any]
) -> list[Result]:
    try:
        if baseline is not None:
            return baseline(model, image, rows, **options)
        answers: list[Result] = model.locate(image, [row.expression for row in rows], **options)
        return answers
    except InputError as error:
        raise InputError(f"a sentence about the image {rows[0].image!r} cannot be asked: {error}") from None
