"""What is kept of an evaluated row, and the file of predictions: one JSON line a row."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piza.boxes import iou_xyxy, xywh_to_xyxy, xyxy_to_xywh
from piza.data.sorec import Row, read_text
from piza.errors import InputError
from piza.files import check_writable
from piza.result import Result

Box = tuple[float, ...]


@dataclass
class Outcome:
    """What became of one row.

    index: place in the rows that were given, from 0. box_xyxy, windows, boxes: in pixels of the frame. windows: those on
    the way to the answer; boxes: the best box seen in each of them. frame_size: (width, height) in pixels. looks: all
    that were taken, also those that led elsewhere than to the answer, as in `Result`. milliseconds: as in `Evaluation`.
    The picture of the result is not kept: thousands would not fit into memory.
    """

    index: int
    row: Row
    box_xyxy: Box
    score: float
    iou: float
    windows: list[Box]
    boxes: list[Box]
    frame_size: tuple[int, int]
    num_looks: int
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
            "steps": self.num_looks,
            "stopped": self.stopped,
            "milliseconds": round(self.milliseconds, 3),
            "windows": [[float(v) for v in window] for window in self.windows],
            "boxes": [[float(v) for v in box] for box in self.boxes],
            "frame_size": [int(v) for v in self.frame_size],
        }


def outcome_of(index: int, row: Row, result: Result, milliseconds: float) -> Outcome:
    """The outcome of a row that `result` answers."""
    best = [
        step.candidates_xyxy[0] if len(step.candidates_xyxy) else step.window_xyxy for step in result.path
    ]
    return Outcome(
        index=index,
        row=row,
        box_xyxy=result.box_xyxy,
        score=result.score,
        iou=float(iou_xyxy(row.box_xyxy, result.box_xyxy)),
        windows=list(result.windows),
        boxes=[tuple(float(v) for v in box) for box in best],
        frame_size=result.frame_size,
        num_looks=result.num_looks,
        stopped=result.stopped,
        milliseconds=milliseconds,
    )


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


def read_predictions(path: str | Path) -> list[Outcome]:
    """The outcomes of a predictions file, in the order of the rows.

    Raises InputError, naming the file, the line (from 1) and the field, for what is not such a file.
    """
    name = repr(str(path))
    lines = read_text(path, "a file of predictions").split(
        "\n"
    )  # splitlines() would cut at letters of other scripts
    outcomes = [
        _outcome(line, f"{name}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()
    ]
    if not outcomes:
        raise InputError(f"there are no predictions in {name}")
    return sorted(outcomes, key=lambda outcome: outcome.index)


def _outcome(line: str, where: str) -> Outcome:
    try:
        values = json.loads(line)
        width, height = values["frame_size"]
        return Outcome(
            index=int(values["index"]),
            row=Row(
                _text(values["image"]), _box(xywh_to_xyxy(values["bbox"])), _text(values["ref"]), values["id"]
            ),
            box_xyxy=_box(values["box_xyxy"]),
            score=_number(values["score"]),
            iou=_number(values["iou"]),
            windows=_windows(values["windows"]),
            boxes=[_box(box) for box in values["boxes"]],
            frame_size=(int(width), int(height)),
            num_looks=int(values["steps"]),
            stopped=_text(values["stopped"]),
            milliseconds=_number(values["milliseconds"]),
        )
    except KeyError as error:
        raise InputError(f"{where}: the field {error} is missing") from None
    except (ValueError, TypeError, OverflowError):
        raise InputError(f"{where}: this is not a line of a predictions file") from None


def _box(values: Any) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (_number(v) for v in values)
    return x0, y0, x1, y1


def _windows(values: Any) -> list[Box]:
    if not values:
        raise ValueError("no look was taken")
    return [_box(window) for window in values]


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no number")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
