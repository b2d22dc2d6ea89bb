"""Running a model over rows and counting how often it is right."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from piza.data.sorec import Row, find_image
from piza.errors import InputError
from piza.evaluation.intervals import Interval, intervals
from piza.evaluation.metrics import accuracy, mean_accuracy
from piza.evaluation.outcome import Outcome, outcome_of, predictions_file
from piza.image import DecodedImage, ImageArray, ImageSource, decode_image
from piza.result import Result

__all__ = ["Baseline", "Evaluation", "Locator", "Outcome", "check_baseline", "evaluate", "predictions_file"]

Baseline = Literal["sliding", "tiles", "oracle"]
"""What may be asked instead of the search: see `piza.evaluation.baselines`."""


class Locator(Protocol):
    """What can be evaluated: anything that answers like `Piza.locate`."""

    def locate(
        self, image: ImageSource, expression: Any, *, whole_frame: bool = False, greedy: bool = False
    ) -> Any: ...


@dataclass
class Evaluation:
    """The sum of it.

    rows: how many were answered. acc50, acc75, macc: in percent. mean_steps: looks a sentence, every one counted. mean_ms:
    milliseconds a sentence, opening the picture included (shared between its sentences), loading the model not.
    outcomes: one a row, in the order of the rows, without the pictures. skipped: rows left out because their picture
    could not be opened. pictures: how many different ones were asked about. intervals: 95 % intervals of acc50, acc75 and
    macc, resampled by picture; None for fewer than five.
    """

    rows: int
    acc50: float
    acc75: float
    macc: float
    mean_steps: float
    mean_ms: float
    outcomes: list[Outcome] = field(repr=False)
    skipped: int
    pictures: int = 0
    intervals: dict[str, Interval] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The six numbers, the number of pictures and the intervals as [low, high] or None, without the outcomes."""
        names = ("rows", "acc50", "acc75", "macc", "mean_steps", "mean_ms", "pictures")
        ranges = {name: list(found) for name, found in self.intervals.items()} if self.intervals else None
        return {**{name: getattr(self, name) for name in names}, "intervals": ranges}


def evaluate(
    model: Locator,
    rows: Sequence[Row],
    images_dir: str | Path,
    whole_frame: bool = False,
    greedy: bool = False,
    limit: int | None = None,
    on_missing: Literal["error", "skip"] = "error",
    progress: Callable[[int, int], None] | None = None,
    write: Callable[[dict[str, Any]], None] | None = None,
    baseline: Baseline | None = None,
    tile: int | None = None,
    overlap: float | None = None,
) -> Evaluation:
    """Ask `model` every row, and compare its first answer with the row's box.

    A picture is opened once, and all its sentences are asked in one call. `limit` takes the first rows only.
    `greedy` follows the best window only. `on_missing` says what becomes of rows whose picture is missing or cannot be
    opened: "error", found before the first look where a file is missing, or "skip". `progress` is called with (rows done,
    rows in all) after each picture, `write` with `Outcome.to_dict()` after each answer. `baseline` asks another method than
    the search; "sliding" and "tiles" look at tiles of `tile` pixels that `overlap` by this share of a side.

    Raises InputError when there are no rows, a picture is missing, a sentence cannot be asked, or options exclude each
    other.
    """
    check_baseline(baseline, tile, overlap, whole_frame, greedy)
    if on_missing not in ("error", "skip"):
        raise InputError(f"on_missing must be 'error' or 'skip', got {on_missing!r}")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    rows = list(rows)[:limit]
    if not rows:
        raise InputError("there are no rows to evaluate")
    if not Path(images_dir).is_dir():
        raise InputError(f"the folder of pictures {str(images_dir)!r} does not exist")
    pictures: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        pictures.setdefault(row.image, []).append(index)
    if on_missing == "error":
        for image in pictures:
            find_image(images_dir, image)

    outcomes: list[Outcome] = []
    skipped = 0
    for image, indices in pictures.items():
        begin = time.perf_counter()
        try:
            picture = decode_image(find_image(images_dir, image))
        except InputError:
            if on_missing == "error":
                raise
            skipped += len(indices)
        else:
            try:
                asked = [rows[i] for i in indices]
                results = (
                    model.locate(
                        picture, [row.expression for row in asked], whole_frame=whole_frame, greedy=greedy
                    )
                    if baseline is None
                    else _ask_baseline(model, baseline, picture, asked, tile, overlap, greedy)
                )
            except InputError as error:
                raise InputError(f"a sentence about the picture {image!r} cannot be asked: {error}") from None
            milliseconds = 1000 * (time.perf_counter() - begin) / len(indices)
            for index, result in zip(indices, results, strict=True):
                outcomes.append(outcome_of(index, rows[index], result, milliseconds))
                if write is not None:
                    write(outcomes[-1].to_dict())
        if progress is not None:
            progress(len(outcomes) + skipped, len(rows))
    if not outcomes:
        raise InputError(
            f"none of the {len(rows)} rows has a picture that can be opened in {str(images_dir)!r}"
        )
    return _summary(sorted(outcomes, key=lambda outcome: outcome.index), skipped)


def check_baseline(
    baseline: str | None, tile: int | None, overlap: float | None, whole_frame: bool, greedy: bool
) -> None:
    """Raise InputError for a rival that is not known and for options that exclude each other or have no effect."""
    if baseline is not None and baseline not in get_args(Baseline):
        raise InputError(f"there is no baseline {baseline!r}; known are {', '.join(get_args(Baseline))}")
    tiled = baseline in ("sliding", "tiles")
    if baseline is not None and whole_frame:
        raise InputError(
            f"the baseline {baseline!r} and the whole frame exclude each other: one method at a time"
        )
    if tiled and greedy:
        raise InputError(f"the baseline {baseline!r} does not search, so it cannot be greedy")
    if not tiled and (tile is not None or overlap is not None):
        raise InputError("a tile and an overlap are of the baselines 'sliding' and 'tiles' only")
    if overlap is not None and not 0 <= overlap < 1:
        raise InputError(f"the overlap of tiles must be at least 0 and below 1, got {overlap:g}")


def _ask_baseline(
    model: Any,
    baseline: str,
    picture: ImageArray | DecodedImage,
    rows: Sequence[Row],
    tile: int | None,
    overlap: float | None,
    greedy: bool,
) -> list[Result]:
    from piza.evaluation import baselines  # imports torch, which this module can do without

    sentences = [row.expression for row in rows]
    if baseline == "oracle":
        return baselines.oracle_first_window(
            model, picture, sentences, [row.box_xyxy for row in rows], greedy
        )
    if baseline == "sliding":
        share = baselines.SLIDING_OVERLAP if overlap is None else overlap
        return baselines.sliding_window(model, picture, sentences, tile, share)
    share = baselines.TILES_OVERLAP if overlap is None else overlap
    return baselines.tile_grid(model, picture, sentences, tile, share)


def _summary(outcomes: list[Outcome], skipped: int) -> Evaluation:
    ious = [outcome.iou for outcome in outcomes]
    pictures = [outcome.row.image for outcome in outcomes]
    return Evaluation(
        rows=len(outcomes),
        acc50=accuracy(ious, 0.50),
        acc75=accuracy(ious, 0.75),
        macc=mean_accuracy(ious),
        mean_steps=sum(outcome.num_looks for outcome in outcomes) / len(outcomes),
        mean_ms=sum(outcome.milliseconds for outcome in outcomes) / len(outcomes),
        outcomes=outcomes,
        skipped=skipped,
        pictures=len(set(pictures)),
        intervals=intervals(ious, pictures),
    )
