"""Running a model over rows and counting how often it is right."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from piza.boxes import iou_xyxy, xyxy_to_xywh
from piza.data.sorec import Row, find_picture
from piza.errors import InputError
from piza.evaluation.metrics import accuracy, mean_accuracy
from piza.files import check_writable
from piza.picture import PictureSource, open_picture
from piza.result import Result


class Locator(Protocol):
    """What can be evaluated: anything that answers like `Piza.locate`."""

    def locate(
        self, image: PictureSource, expression: Any, *, whole_frame: bool = False, greedy: bool = False
    ) -> Any: ...


@dataclass
class Outcome:
    """What became of one row.

    index: place in the rows that were given, from 0. box_xyxy, windows: in pixels of the frame. looks: all that were
    taken, also those that led elsewhere than to the answer, as in `Result`. milliseconds: as in `Evaluation`. The
    picture of the result is not kept: thousands would not fit into memory.
    """

    index: int
    row: Row
    box_xyxy: tuple[float, ...]
    score: float
    iou: float
    windows: list[tuple[float, float, float, float]]
    looks: int
    stopped: str
    milliseconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for one line of a predictions file; `bbox` is the target, as in SOREC's files."""
        return {
            "index": self.index,
            "id": self.row.id,
            "image": self.row.image,
            "ref": self.row.expression,
            "bbox": xyxy_to_xywh(self.row.box_xyxy).tolist(),
            "box_xyxy": [float(v) for v in self.box_xyxy],
            "score": float(self.score),
            "iou": self.iou,
            "steps": self.looks,
            "stopped": self.stopped,
            "milliseconds": round(self.milliseconds, 3),
            "windows": [[float(v) for v in window] for window in self.windows],
        }


@dataclass
class Evaluation:
    """The sum of it.

    rows: how many were answered. acc50, acc75, macc: in percent. mean_steps: looks a sentence, every one counted. mean_ms: milliseconds
    a sentence, opening the picture included (shared between its sentences), loading the model not. outcomes: one a row, in
    the order of the rows, without the pictures. skipped: rows left out because their picture could not be opened.
    """

    rows: int
    acc50: float
    acc75: float
    macc: float
    mean_steps: float
    mean_ms: float
    outcomes: list[Outcome] = field(repr=False)
    skipped: int

    def to_dict(self) -> dict[str, float]:
        """The six numbers, without the outcomes."""
        names = ("rows", "acc50", "acc75", "macc", "mean_steps", "mean_ms")
        return {name: getattr(self, name) for name in names}


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
) -> Evaluation:
    """Ask `model` every row, and compare its first answer with the row's box.

    A picture is opened once, and all its sentences are asked in one call. `limit` takes the first rows only.
    `greedy` follows the best window only. `on_missing` says what becomes of rows whose picture is missing or cannot be opened: "error", found before the
    first look where a file is missing, or "skip". `progress` is called with (rows done, rows in all) after
    each picture, `write` with `Outcome.to_dict()` after each answer.

    Raises InputError when there are no rows, a picture is missing, or a sentence cannot be asked.
    """
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
            find_picture(images_dir, image)

    outcomes: list[Outcome] = []
    skipped = 0
    for image, indices in pictures.items():
        begin = time.perf_counter()
        try:
            picture = open_picture(find_picture(images_dir, image))
        except InputError:
            if on_missing == "error":
                raise
            skipped += len(indices)
        else:
            try:
                results = model.locate(
                    picture, [rows[i].expression for i in indices], whole_frame=whole_frame, greedy=greedy
                )
            except InputError as error:
                raise InputError(f"a sentence about the picture {image!r} cannot be asked: {error}") from None
            milliseconds = 1000 * (time.perf_counter() - begin) / len(indices)
            for index, result in zip(indices, results, strict=True):
                outcomes.append(_outcome(index, rows[index], result, milliseconds))
                if write is not None:
                    write(outcomes[-1].to_dict())
        if progress is not None:
            progress(len(outcomes) + skipped, len(rows))
    if not outcomes:
        raise InputError(
            f"none of the {len(rows)} rows has a picture that can be opened in {str(images_dir)!r}"
        )
    return _summary(sorted(outcomes, key=lambda outcome: outcome.index), skipped)


@contextmanager
def predictions_file(path: str | Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that writes one JSON line; the lines stand in `path` + ".part" until the block ends well.

    Every line is handed to the system at once, and after an interruption the .part file stays: nothing is lost.
    Raises InputError when `path` cannot be written.
    """
    path = Path(path)
    check_writable(path)
    part = path.with_name(f"{path.name}.part")
    check_writable(part)
    with part.open("w", encoding="utf-8", buffering=1) as file:
        yield lambda line: print(json.dumps(line), file=file)
    part.replace(path)


def _outcome(index: int, row: Row, result: Result, milliseconds: float) -> Outcome:
    iou = float(iou_xyxy(row.box_xyxy, result.box_xyxy))
    return Outcome(
        index=index,
        row=row,
        box_xyxy=result.box_xyxy,
        score=result.score,
        iou=iou,
        windows=result.windows,
        looks=result.looks,
        stopped=result.stopped,
        milliseconds=milliseconds,
    )


def _summary(outcomes: list[Outcome], skipped: int) -> Evaluation:
    ious = [outcome.iou for outcome in outcomes]
    return Evaluation(
        rows=len(outcomes),
        acc50=accuracy(ious, 0.50),
        acc75=accuracy(ious, 0.75),
        macc=mean_accuracy(ious),
        mean_steps=sum(outcome.looks for outcome in outcomes) / len(outcomes),
        mean_ms=sum(outcome.milliseconds for outcome in outcomes) / len(outcomes),
        outcomes=outcomes,
        skipped=skipped,
    )
