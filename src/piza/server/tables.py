"""All answers of a search in one file: JSON, CSV or COCO."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from piza.exports import to_coco
from piza.result import Result

COLUMNS = (
    "sentence", "found", "score", "x1", "y1", "x2", "y2", "width", "height", "num_looks", "stopped", "milliseconds",
)  # fmt: skip


def to_json(name: str, results: Sequence[Result]) -> str:
    """The list that `piza locate --json` prints."""
    return json.dumps([result.to_dict() for result in results], indent=2)


def to_csv(name: str, results: Sequence[Result]) -> str:
    """A row a sentence, under a header (RFC 4180). Boxes are in pixels of the image."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for result in results:
        x1, y1, x2, y2 = (float(value) for value in result.box_xyxy)
        # A spreadsheet would take a sentence that begins like a formula for one.
        sentence = f"'{result.expression}" if result.expression[:1] in "=+-@" else result.expression
        writer.writerow(
            [sentence, result.found, float(result.score), x1, y1, x2, y2, x2 - x1, y2 - y1, result.num_looks]
            + [result.stopped, float(result.milliseconds)]
        )
    return file.getvalue()


def to_coco_file(name: str, results: Sequence[Result]) -> str:
    """A COCO file of one image; sentences where nothing was found have no annotation."""
    width, height = results[0].frame_size
    entries = [to_coco(result, 1, 1, number) for number, result in enumerate(results, start=1)]
    content: dict[str, Any] = {
        "images": [{"id": 1, "file_name": name, "width": int(width), "height": int(height)}],
        "categories": [{"id": 1, "name": "target"}],
        "annotations": [entry for entry in entries if entry],
    }
    return json.dumps(content, indent=2)


TABLES: dict[str, tuple[str, Callable[[str, Sequence[Result]], str]]] = {
    "answers.json": ("application/json", to_json),
    "answers.csv": ("text/csv; charset=utf-8", to_csv),
    "answers.coco.json": ("application/json", to_coco_file),
}
"""File name -> media type, and what writes it."""
