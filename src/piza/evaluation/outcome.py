"""The answer to an evaluated row, and the file of predictions: one JSON line a row."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import RawIOBase
from pathlib import Path
from typing import Any

from piza.boxes import iou_xyxy, xywh_to_xyxy, xyxy_to_xywh
from piza.data.sorec import Row, read_text
from piza.errors import InputError
from piza.files import atomic_write, check_writable, lock, parse_json
from piza.hub import hash_files
from piza.result import Result

Box = tuple[float, ...]


@dataclass
class Outcome:
    """The answer to one row.

    index: place in the rows that were given, from 0. row: the question. box_xyxy, windows, boxes: in pixels of the frame.
    windows: those on the way to the answer; boxes: the best box seen in each of them. score: 0 to 1. iou: of the answer
    with the row's box. frame_size: (width, height) in pixels. looks: all that were taken, also those that led elsewhere
    than to the answer, as in `Result`. stopped, found: as in `Result`. milliseconds: as in `Evaluation`.
    The image is not kept: thousands would not fit into memory.
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
    found: bool = True

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
            "found": self.found,
            "milliseconds": self.milliseconds,
            "windows": [[float(v) for v in window] for window in self.windows],
            "boxes": [[float(v) for v in box] for box in self.boxes],
            "frame_size": [int(v) for v in self.frame_size],
        }


def outcome_of(index: int, row: Row, result: Result, milliseconds: float) -> Outcome:
    """The outcome of a row that `result` answers; milliseconds are rounded to three digits, as a file keeps them."""
    best = [
        step.candidates_xyxy[0] if len(step.candidates_xyxy) else step.window_xyxy for step in result.path
    ]
    return Outcome(
        index=index,
        row=row,
        box_xyxy=tuple(float(v) for v in result.box_xyxy),
        score=float(result.score),
        iou=float(iou_xyxy(row.box_xyxy, result.box_xyxy)),
        windows=[tuple(float(v) for v in window) for window in result.windows],
        boxes=[tuple(float(v) for v in box) for box in best],
        frame_size=result.frame_size,
        num_looks=result.num_looks,
        stopped=result.stopped,
        milliseconds=round(milliseconds, 3),
        found=bool(result.found),
    )


@contextmanager
def predictions_file(
    path: str | Path, run: str = "", done: Sequence[Outcome] = (), rows: int | None = None
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that writes one JSON line; the lines stand in `path` + ".part" until the block ends well.

    Every line is handed to the system at once, and after an interruption the .part file stays, so that `resume` can read
    it. run: a mark of the run, kept in every line as "run" unless empty. done: outcomes of an earlier run that was
    stopped, which stand before the new lines. rows: when the block ends well, lines with an index of `rows` or more are
    dropped, and the others stand in order of their index; None keeps all as they were written.

    Raises InputError when `path` cannot be written, or another process is writing it.
    """
    path = Path(path)
    check_writable(path)
    part = _part(path)
    check_writable(part)

    def text(line: dict[str, Any]) -> str:
        return json.dumps({**line, "run": run} if run else line) + "\n"

    with _naming(part):
        if part.exists():
            with part.open("rb") as old:  # which another run may be writing
                lock(old.fileno(), part)
    _rewrite(part, (text(outcome.to_dict()) for outcome in done))  # until then an old .part stays as it is
    with part.open("ab", buffering=0) as file:
        lock(file.fileno(), part)
        yield lambda line: _write(file, text(line).encode(), part)
    if rows is not None:
        lines = part.read_text(encoding="utf-8").split("\n")
        found = sorted((json.loads(line)["index"], line) for line in lines if line)
        _rewrite(part, (f"{line}\n" for index, line in found if index < rows))
    part.replace(path)


def resume(path: str | Path, rows: Sequence[Row], run: str) -> list[Outcome]:
    """The outcomes that an earlier run left in `path` + ".part"; none where there is no such file.

    A last line that was cut short is dropped, and so are the outcomes of an image that was not finished: its sentences
    are asked together, and the answers of a part of them could differ in the last digits. `rows` are those of this run,
    and the outcomes hold them.

    Raises InputError when the file is damaged elsewhere, or was written by another run: another `run` mark, or lines
    about other rows.
    """
    part = _part(Path(path))
    if not part.exists():
        return []
    name = repr(str(part))
    lines = read_text(part, "a file of predictions").split("\n")[
        :-1
    ]  # what follows the last line end was cut short
    outcomes = []
    for number, line in enumerate(lines, start=1):
        outcome, mark = _parse(line, f"{name}, line {number}")
        same = mark == run and 0 <= outcome.index < len(rows) and _same_row(outcome.row, rows[outcome.index])
        if not same:
            raise InputError(
                f"{name} holds predictions of another run (another model, other options or other rows); "
                "delete it or name another file"
            )
        outcomes.append(replace(outcome, row=rows[outcome.index]))
    known = {outcome.index for outcome in outcomes}
    unfinished = {row.image for index, row in enumerate(rows) if index not in known}
    return [outcome for outcome in outcomes if outcome.row.image not in unfinished]


def run_mark(folder: str | Path, **settings: Any) -> str:
    """A mark that tells runs apart: equal only for equal files of the model in `folder` and equal settings (plain values)."""
    content = json.dumps([hash_files(Path(folder)), settings], sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _rewrite(path: Path, lines: Iterable[str]) -> None:
    with _naming(path), atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(lines)


def _write(file: RawIOBase, data: bytes, path: Path) -> None:
    """Hand a line to the system, all of it or with an error that names the file."""
    with _naming(path):
        while data:
            data = data[file.write(data) or 0 :]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in an error of the system that names none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _same_row(one: Row, other: Row) -> bool:
    boxes = all(abs(a - b) < 1e-6 * max(1.0, abs(b)) for a, b in zip(one.box_xyxy, other.box_xyxy))
    return boxes and (one.image, one.expression, one.id) == (other.image, other.expression, other.id)


def read_predictions(path: str | Path) -> list[Outcome]:
    """The outcomes of a predictions file, in the order of the rows.

    Raises InputError, naming the file, the line (from 1) and the field, for what is not such a file.
    """
    name = repr(str(path))
    # Not splitlines(), which would cut at letters of other scripts.
    lines = read_text(path, "a file of predictions").split("\n")
    outcomes = [
        _parse(line, f"{name}, line {number}")[0]
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not outcomes:
        raise InputError(f"there are no predictions in {name}")
    index, count = Counter(outcome.index for outcome in outcomes).most_common(1)[0]
    if count > 1:
        raise InputError(
            f"{name} holds {count} predictions of the row with the index {index}, expected one a row"
        )
    return sorted(outcomes, key=lambda outcome: outcome.index)


def _parse(line: str, where: str) -> tuple[Outcome, str]:
    """An outcome and the mark of its run, "" if it has none."""
    try:
        values = parse_json(line, where)
        width, height = values["frame_size"]
        outcome = Outcome(
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
            found=bool(values.get("found", True)),
        )
        return outcome, str(values.get("run", ""))
    except KeyError as error:
        raise InputError(f"{where}: the field {error} is missing") from None
    except (ValueError, TypeError, OverflowError, RecursionError, AttributeError):
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
