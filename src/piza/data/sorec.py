"""Reading rows of SOREC, and of anything else written in its format.

One JSON list a file; a row is {"image": "10849.jpg", "bbox": [x, y, width, height], "ref": "...", "id": 1}, the box in
pixels of the picture. (SOREC: Goto et al., "Referring Expression Comprehension for Small Objects", ICCV 2025.)
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from piza.errors import InputError

BOX = "[x, y, width, height] in pixels"


@dataclass(frozen=True)
class Row:
    """One question and its answer.

    image: name of the picture, relative to the folder of pictures. box_xyxy: the target, in pixels of the picture.
    expression: the sentence. id: as in the file, else the number of the row. extra: all other fields of the row.
    """

    image: str
    box_xyxy: tuple[float, float, float, float]
    expression: str
    id: int | str
    extra: dict[str, Any] = field(default_factory=dict)


def read_rows(path: str | Path) -> list[Row]:
    """Read a file in SOREC's format.

    Raises InputError, naming the file, the row (counted from 1) and the field, when something is missing or is not
    what it must be.
    """
    name = repr(str(path))
    content = _read_json(Path(path), name)
    if not isinstance(content, list):
        raise InputError(f"{name} must hold a JSON list of rows, but it holds {_kind(content)}")
    return [_row(values, f"{name}, row {number}", number) for number, values in enumerate(content, start=1)]


def find_picture(images_dir: str | Path, image: str) -> Path:
    """The path of a row's picture. Raises InputError when there is no such file, or its name leads out of the folder."""
    folder = Path(images_dir)
    if Path(image).is_absolute() or ".." in Path(image).parts:
        raise InputError(f"the picture name {image!r} leads out of the folder of pictures")
    path = folder / image
    try:
        if path.is_file():
            return path
        if not folder.is_dir():
            raise InputError(f"the folder of pictures {str(folder)!r} does not exist")
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise InputError(f"the picture {image!r} cannot be read: {error.strerror}") from None
    raise InputError(f"there is no picture {image!r} in the folder {str(folder)!r}")


def _read_json(path: Path, name: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{name} does not exist, a JSON file of rows is wanted") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a folder, a JSON file of rows is wanted") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{name} is not a text file in UTF-8, a JSON file of rows is wanted") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{name} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except (
        RecursionError,
        ValueError,
    ):  # nested without end, a number of ten thousand digits, a name with a zero byte
        raise InputError(f"{name} cannot be read as JSON, a JSON file of rows is wanted") from None


def _row(values: Any, where: str, number: int) -> Row:
    if not isinstance(values, dict):
        raise InputError(f"{where}: a row must be an object, but it is {_kind(values)}")
    for required in ("image", "bbox", "ref"):
        if required not in values:
            raise InputError(f"{where}: the field {required!r} is missing")
    for text in ("image", "ref"):
        if not isinstance(values[text], str) or not values[text].strip():
            raise InputError(f"{where}: {text!r} must be a text that is not empty, got {_show(values[text])}")
    identity = values.get("id", number)
    if isinstance(identity, bool) or not isinstance(identity, (int, str)):
        raise InputError(f"{where}: 'id' must be a whole number or a text, got {_show(identity)}")
    extra = {key: value for key, value in values.items() if key not in ("image", "bbox", "ref", "id")}
    return Row(values["image"], _box(values["bbox"], where), values["ref"], identity, extra)


def _box(bbox: Any, where: str) -> tuple[float, float, float, float]:
    numbers = isinstance(bbox, list) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in bbox
    )
    if not numbers or len(bbox) != 4:
        raise InputError(f"{where}: 'bbox' must be {BOX}, got {_show(bbox)}")
    try:
        x, y, width, height = (float(v) for v in bbox)
        finite = all(math.isfinite(v) for v in (x, y, x + width, y + height))
    except OverflowError:
        finite = False
    if not finite:
        raise InputError(f"{where}: the numbers of 'bbox' must be finite, got {_show(bbox)}")
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        raise InputError(
            f"{where}: 'bbox' must be {BOX}, with x and y of at least 0 and sides over 0, got {_show(bbox)}"
        )
    return x, y, x + width, y + height


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
