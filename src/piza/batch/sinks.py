"""Answers about many images as a file or a folder, written as they arrive.

The name selects the format. A file appears whole or not at all; of a folder, each file does, and what an interrupted run
left in it is replaced by the next one.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from piza.batch.folders import check_folder, growing_folder
from piza.data.parquet import import_pyarrow
from piza.data.sorec import to_json
from piza.errors import InputError
from piza.exports import to_coco, to_label_studio
from piza.files import as_path, atomic_write, check_writable, shortened
from piza.image import cut
from piza.result import Result
from piza.search.locate_many import ImageResults
from piza.visualize.draw import save_image

GROUP_ROWS = 10_000
"""Rows of Parquet that are in memory at once and become one row group."""

MAX_NAME_BYTES = 200
"""Of the name of a file about an image, without what is added to it; systems take 255."""

CROP_ZOOM = 3.0
"""A crop shows this many times the width and height of the box."""


@dataclass
class Written:
    """How much was written.

    images: with answers. answers: one an image and sentence, those that found nothing included. failed: images without
    answers. failure: the error of the first of these; None if there is none.
    """

    images: int = 0
    answers: int = 0
    failed: int = 0
    failure: str | None = None


def write(results: Iterable[ImageResults], path: str | Path) -> Written:
    """Write the answers of `locate_many` as they arrive. The name of `path` selects the format:

    | name | what is written |
    |---|---|
    | .jsonl | one line per answer (`to_record`), and one per failed image |
    | .csv, .parquet | the same as a table; Parquet needs pyarrow |
    | .coco.json | COCO: images, and an annotation for each answer that found something |
    | .labelstudio.json | Label Studio: one task per answer |
    | yolo, .yolo | a folder: classes.txt and data.yaml with the sentences, and in labels/ one text file per image |
    | drawings, .drawings | a folder: a drawing of each search |
    | crops, .crops | a folder: each box that was found with its surroundings, cut from the image |

    The last three name a folder, or end its name ("monday.yolo"); files in it are named like the images, those about a film
    by timecode in a folder of its name.

    Raises:
        InputError: before the first result is taken, for a name of another format, a place that cannot be written to, a
            folder that is not empty, and for Parquet without pyarrow; later for a full disk.
    """
    writer = check_results_path(path)
    if not isinstance(results, Iterable):
        raise _no_answers(results)
    written = Written()
    writer(count(results, written), Path(path))
    return written


def check_results_path(path: str | Path) -> "Writer":
    """The writer for the format that the name of `path` selects. Raises InputError as `write` does, and writes nothing."""
    path = as_path(path)
    name = path.name.lower()
    for ending, write_into in _FOLDERS.items():
        if name == ending or name.endswith(f".{ending}"):
            check_folder(path)
            return _in_folder(write_into)
    for ending, writer in _FILES.items():
        if name.endswith(ending):
            if ending == ".parquet":
                import_pyarrow()
            check_writable(path)
            return writer
    raise InputError(
        f"cannot write answers to {str(path)!r}: expected a file that ends in one of {', '.join(_FILES)}, or a folder "
        f"named {', '.join(_FOLDERS)}"
    )


def is_results_path(path: str | Path) -> bool:
    """Whether the name of `path` selects a format of `write`."""
    name = Path(path).name.lower()
    return name.endswith(tuple(_FILES)) or name.split(".")[-1] in _FOLDERS


def to_record(name: str, result: Result) -> dict[str, Any]:
    """One answer as plain numbers and texts: image, sentence, box_xyxy (pixels of the frame), score (0 to 1), found,
    num_looks, stopped (a key of `piza.result.STOP_REASONS`), unknown_words, and error, which is None."""
    return {
        "image": name,
        "sentence": result.expression,
        "box_xyxy": [float(value) for value in result.box_xyxy],
        "score": float(result.score),
        "found": bool(result.found),
        "num_looks": int(result.num_looks),
        "stopped": result.stopped,
        "unknown_words": list(result.unknown_words),
        "error": None,
    }


def to_records(found: ImageResults) -> list[dict[str, Any]]:
    """`to_record` of each answer, and `frame` (its number) and `timecode`, both None for a photo; of an image without
    answers one record, with its error and None for all else."""
    frame = frame_fields(found)
    if found.error is None:
        return [to_record(found.name, result) | frame for result in found.results]
    empty = ("sentence", "box_xyxy", "score", "found", "num_looks", "stopped", "unknown_words")
    return [{"image": found.name, **dict.fromkeys(empty), "error": found.error} | frame]


def frame_fields(found: ImageResults) -> dict[str, Any]:
    """Where in a film the image is: `frame`, counted from 0, and `timecode`, "00:00:12.480"; both None for a photo."""
    frame = found.frame
    return {"frame": frame and frame.number, "timecode": frame and frame.timecode}


def _of_film(found: ImageResults) -> dict[str, Any]:
    """`frame_fields` of a frame of a film; nothing of a photo."""
    return frame_fields(found) if found.frame else {}


def count(results: Iterable[ImageResults], written: Written) -> Iterator[ImageResults]:
    """The results, unchanged; `written` counts them on the way."""
    for found in results:
        if not isinstance(found, ImageResults):
            raise _no_answers(found)
        written.failed += found.error is not None
        written.failure = written.failure or found.error
        written.images += found.error is None
        written.answers += len(found.results)
        yield found


def _no_answers(given: object) -> InputError:
    return InputError(f"expected the answers of locate_many to write, got {type(given).__name__}")


def _write_jsonl(results: Iterable[ImageResults], path: Path) -> None:
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for found in results:
            for record in to_records(found):
                file.write(f"{to_json(record)}\n")


def _write_csv(results: Iterable[ImageResults], path: Path) -> None:
    """The box is four columns, x1, y1, x2, y2; unknown words are joined by blanks."""
    fields = ("image", "sentence", "x1", "y1", "x2", "y2", "score", "found", "num_looks", "stopped")
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        table = csv.DictWriter(file, (*fields, "unknown_words", "error", "frame", "timecode"))
        table.writeheader()
        for found in results:
            for record in to_records(found):
                box, words = record.pop("box_xyxy"), record.pop("unknown_words")
                corners = dict(zip(("x1", "y1", "x2", "y2"), box or (), strict=False))
                table.writerow({**record, **corners, "unknown_words": " ".join(words or ())})


def _write_parquet(results: Iterable[ImageResults], path: Path) -> None:
    pyarrow, parquet = import_pyarrow()
    text, number, texts = pyarrow.string(), pyarrow.float64(), pyarrow.list_(pyarrow.string())
    schema = pyarrow.schema(
        [
            ("image", text), ("sentence", text), ("box_xyxy", pyarrow.list_(number)), ("score", number),
            ("found", pyarrow.bool_()), ("num_looks", pyarrow.int64()), ("stopped", text), ("unknown_words", texts),
            ("error", text), ("frame", pyarrow.int64()), ("timecode", text),
        ]
    )  # fmt: skip
    with (
        atomic_write(path) as temporary,
        parquet.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        group: list[dict[str, Any]] = []
        for found in results:
            group += [_encodable(record) for record in to_records(found)]
            if len(group) >= GROUP_ROWS:
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
                group.clear()
        if group:
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


def _encodable(record: dict[str, Any]) -> dict[str, Any]:
    """A file name that is not valid Unicode is written with escapes, as in the other formats."""
    return {
        key: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for key, value in record.items()
    }


def _write_coco(results: Iterable[ImageResults], path: Path) -> None:
    """A file_name is relative to the folder of images that was given, as COCO's readers expect; where that is not unique,
    it is the whole name. Images without answers are listed in info.failed; COCO's own lists have no place for them."""
    taken: set[str] = set()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for found in results:
        if found.error is not None:
            failed.append({"file_name": found.name, "error": found.error} | _of_film(found))
        elif found.results:
            width, height = found.results[0].frame_size
            name = found.inside if found.inside and found.inside not in taken else found.name
            taken.add(name)
            size = {"width": width, "height": height}
            images.append({"id": len(images) + 1, "file_name": name} | size | _of_film(found))
            for result in found.results:
                if entry := to_coco(result, len(images), annotation_id=len(annotations) + 1):
                    annotations.append(entry)
    content = {
        "info": {"description": "answers of piza", "failed": failed},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "target"}],
    }
    with atomic_write(path) as temporary:
        temporary.write_text(to_json(content), encoding="utf-8")


def _write_label_studio(results: Iterable[ImageResults], path: Path) -> None:
    """A task's image is its name as it was given; images without answers have no task."""
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("[")
        separator = "\n"
        for found in results:
            for result in found.results:
                task = to_label_studio(result, found.name)
                task["data"] |= _of_film(found)
                file.write(f"{separator}{to_json(task)}")
                separator = ",\n"
        file.write("\n]\n")


def _write_yolo(results: Iterable[ImageResults], begin: "Begin") -> None:
    """A line an answer that found something: its class, and the center and size of its box as shares of the frame.

    An image in which nothing was found has an empty file, one without answers none. The classes are the sentences. Programs
    that read data.yaml expect the images in images/, where they may be copied or linked.
    """
    names = _FileNames()
    classes: dict[str, int] = {}
    for found in results:
        lines, known = [], len(classes)
        for result in found.results:
            number = classes.setdefault(result.expression, len(classes))
            if entry := to_coco(result, 0):
                (x, y, width, height), (frame_w, frame_h) = entry["bbox"], result.frame_size
                shares = (
                    (x + width / 2) / frame_w, (y + height / 2) / frame_h, width / frame_w, height / frame_h
                )  # fmt: skip
                lines.append(" ".join([str(number), *(f"{share:.6f}" for share in shares)]))
        if len(classes) > known:
            names_of_classes = [re.sub(r"\s+", " ", sentence) for sentence in classes]
            _write_text(begin("classes.txt"), names_of_classes)
            splits = ["train: images", "val: images"]  # where other programs look for images of labels/
            lines_of_data = [*splits, f"nc: {len(classes)}", f"names: {to_json(names_of_classes)}"]
            _write_text(begin("data.yaml"), lines_of_data)
        if found.error is None:
            _write_text(begin(f"labels/{names.of(found)}.txt"), lines)


def _write_text(path: Path, lines: list[str]) -> None:
    with atomic_write(path) as temporary:
        text = "".join(f"{line}\n" for line in lines)
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _write_drawings(results: Iterable[ImageResults], begin: "Begin") -> None:
    _write_pictures(results, begin, ".png", lambda result: result.save_drawing)


def _write_crops(results: Iterable[ImageResults], begin: "Begin") -> None:
    _write_pictures(results, begin, ".png", lambda result: _crop_saver(result) if result.found else None)


def _write_pictures(
    results: Iterable[ImageResults],
    begin: "Begin",
    suffix: str,
    saver: Callable[[Result], Callable[[Path], None] | None],
) -> None:
    """One file an answer, numbered by its sentence: FOLDER/NAME-1.png, FOLDER/NAME-2.png, ..."""
    names = _FileNames()
    for found in results:
        name = names.of(found)
        for number, result in enumerate(found.results, start=1):
            save = saver(result)
            if save is not None:
                save(begin(f"{name}-{number}{suffix}"))


def _crop_saver(result: Result) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        from PIL import Image

        frame_w, frame_h = result.frame_size
        x1, y1, x2, y2 = result.box_xyxy
        margin_x, margin_y = (x2 - x1) * (CROP_ZOOM - 1) / 2, (y2 - y1) * (CROP_ZOOM - 1) / 2
        left, top = max(0, int(x1 - margin_x)), max(0, int(y1 - margin_y))
        right, bottom = min(frame_w, int(x2 + margin_x) + 1), min(frame_h, int(y2 + margin_y) + 1)
        pixels = cut(result.image, (left, top, right, bottom), (right - left, bottom - top))
        save_image(Image.fromarray(pixels), path)

    return save


class _FileNames:
    """Names of files about images, each once and always inside of the folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, found: ImageResults) -> str:
        """The name of an image in its folder, without its suffix unless another image has taken that."""
        given = (found.inside or PurePosixPath(found.name).name).replace("\\", "/")
        parts = [
            shortened(re.sub(r"[\x00-\x1f:*?\"<>|]", "_", part), MAX_NAME_BYTES) for part in given.split("/")
        ]
        whole = "/".join(part for part in parts if part not in ("..", ".", "")) or "image"
        name, number = re.sub(r"(?<=[^/])\.[^./]*$", "", whole), 1
        while name.casefold() in self._taken:
            name = whole if number == 1 else f"{whole}-{number}"
            number += 1
        self._taken.add(name.casefold())
        return name


Writer = Callable[[Iterable[ImageResults], Path], None]
Begin = Callable[[str], Path]
"""Gives the path of a further file in a folder, see `growing_folder`."""


def _in_folder(writer: Callable[[Iterable[ImageResults], Begin], None]) -> Writer:
    def write_folder(results: Iterable[ImageResults], path: Path) -> None:
        with growing_folder(path) as begin:
            writer(results, begin)

    return write_folder


_FILES: dict[str, Writer] = {
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".coco.json": _write_coco,
    ".labelstudio.json": _write_label_studio,
}
_FOLDERS = {"yolo": _write_yolo, "drawings": _write_drawings, "crops": _write_crops}
