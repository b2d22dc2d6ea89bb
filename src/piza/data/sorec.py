"""Reading rows of SOREC, and of anything else written in its format.

One JSON list a file; a row is {"image": "10849.jpg", "bbox": [x, y, width, height], "ref": "...", "id": 1}, the box in
pixels of the picture. (SOREC: Goto et al., "Referring Expression Comprehension for Small Objects", ICCV 2025.)
"""

import gc
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from piza.errors import InputError
from piza.files import atomic_write

FIELDS = ("image", "bbox", "ref", "id")
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


class Fault(NamedTuple):
    """What is wrong with one field of a row: `kind` in a few words, for counting, and `message` in full."""

    field: str
    kind: str
    message: str


def read_rows(path: str | Path) -> list[Row]:
    """Read a file in SOREC's format.

    Raises InputError, naming the file, the row (counted from 1) and the field, when something is missing or is not
    what it must be.
    """
    with without_collector():
        return [to_row(values, number) for number, values in enumerate(read_values(path), start=1)]


def read_values(path: str | Path) -> list[dict[str, Any]]:
    """The rows just as the file holds them, numbers untouched (a `Row` has corners, and floats). Raises as `read_rows`."""
    with without_collector():
        content = read_list(path)
        require_sound(content, f"{str(path)!r}, row")
    return content


def read_list(path: str | Path) -> list[Any]:
    """The list a file holds, its rows unchecked. Raises InputError when it is no JSON file or no list."""
    content = read_json(path)
    if not isinstance(content, list):
        raise InputError(f"{str(path)!r} must hold a JSON list of rows, but it holds {kind_of(content)}")
    return content


def require_sound(rows: Iterable[Any], what: str) -> None:
    """Raise InputError about the first row that has a fault; `what` and its number, from 1, say which it is."""
    for number, values in enumerate(rows, start=1):
        faults = row_faults(values)
        if faults:
            raise InputError(f"{what} {number}: {faults[0].message}")


def to_row(values: dict[str, Any], number: int) -> Row:
    """A row without faults as a `Row`; `number` is its id if it has none."""
    x, y, width, height = (float(v) for v in values["bbox"])
    extra = {key: value for key, value in values.items() if key not in FIELDS}
    box_xyxy = (x, y, x + width, y + height)
    return Row(values["image"], box_xyxy, values["ref"], values.get("id", number), extra)


def write_values(rows: Iterable[dict[str, Any]], path: str | Path) -> None:
    """Write rows, as `read_values` gives them, one a line. Raises InputError when no file can be written at `path`."""
    lines = ",\n".join(to_json(row) for row in rows)
    with atomic_write(path) as temporary:
        temporary.write_text(f"[\n{lines}\n]\n" if lines else "[]\n", encoding="utf-8")


def to_json(value: Any) -> str:
    """JSON on one line that can always be written as UTF-8; letters of all scripts stay letters where they can."""
    text = json.dumps(value, ensure_ascii=False)
    return text if _is_unicode(text) else json.dumps(value)


def find_image(images_dir: str | Path, image: str) -> Path:
    """The path of a row's picture. Raises InputError when there is no such file, or its name leads out of the folder."""
    folder = Path(images_dir)
    check_picture_name(image)
    path = folder / image
    try:
        if path.is_file():
            return path
        if not folder.is_dir():
            raise InputError(f"the folder of pictures {str(folder)!r} does not exist")
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise InputError(f"the picture {image!r} cannot be read: {error.strerror}") from None
    raise InputError(f"there is no picture {image!r} in the folder {str(folder)!r}")


def check_picture_name(image: str) -> None:
    """Raise InputError when the name of a picture leads out of the folder of pictures."""
    if Path(image).is_absolute() or ".." in Path(image).parts:
        raise InputError(f"the picture name {image!r} leads out of the folder of pictures")


def read_json(path: str | Path, wanted: str = "a JSON file of rows") -> Any:
    """What a JSON file holds. Raises InputError, which says what is `wanted`, when it cannot be read."""
    name = repr(str(path))
    text = read_text(path, wanted)
    try:
        with without_collector():
            return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{name} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except (RecursionError, ValueError):  # nested without end, a number of ten thousand digits
        raise InputError(f"{name} cannot be read as JSON, {wanted} is wanted") from None


def read_text(path: str | Path, wanted: str) -> str:
    """The text of a file in UTF-8. Raises InputError, which says what is `wanted`, when it cannot be read."""
    name = repr(str(path))
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{name} does not exist, {wanted} is wanted") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a folder, {wanted} is wanted") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{name} is not a text file in UTF-8, {wanted} is wanted") from None
    except ValueError:  # a name with a zero byte
        raise InputError(f"{name} cannot be read, {wanted} is wanted") from None


@contextmanager
def without_collector() -> Iterator[None]:
    """Pause the garbage collector: rows hold no cycles, and walking them again and again takes most of the reading."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def row_faults(values: Any) -> list[Fault]:
    """All that keeps one row of a file from being used; nothing for a sound row. Further fields are no fault."""
    if not isinstance(values, dict):
        return [Fault("row", "no object", f"a row must be an object, but it is {kind_of(values)}")]
    faults = [missing(field) for field in ("image", "bbox", "ref") if field not in values]
    for text in ("image", "ref"):
        if text not in values:
            continue
        value = values[text]
        if not isinstance(value, str) or not value.strip():
            message = f"{text!r} must be a text that is not empty, got {show(value)}"
            faults.append(Fault(text, "wrong value", message))
        elif not _is_unicode(value):
            faults.append(Fault(text, "wrong value", f"{text!r} holds half a character: {show(value)}"))
    identity = values.get("id", 0)
    if isinstance(identity, bool) or not isinstance(identity, (int, str)):
        message = f"'id' must be a whole number or a text, got {show(identity)}"
        faults.append(Fault("id", "wrong value", message))
    elif isinstance(identity, str) and not _is_unicode(identity):
        faults.append(Fault("id", "wrong value", f"'id' holds half a character: {show(identity)}"))
    if "bbox" in values:
        faults += _box_faults(values["bbox"])
    return faults


def missing(field: str) -> Fault:
    return Fault(field, "missing field", f"the field {field!r} is missing")


def _box_faults(bbox: Any) -> list[Fault]:
    numbers = isinstance(bbox, list) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in bbox
    )
    if not numbers or len(bbox) != 4:
        return [Fault("bbox", "wrong value", f"'bbox' must be {BOX}, got {show(bbox)}")]
    try:
        x, y, width, height = (float(v) for v in bbox)
        finite = math.isfinite(x + width) and math.isfinite(y + height)
    except OverflowError:
        finite = False
    if not finite:
        return [Fault("bbox", "wrong value", f"the numbers of 'bbox' must be finite, got {show(bbox)}")]
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        rule = "with x and y of at least 0 and sides over 0"
        return [Fault("bbox", "impossible box", f"'bbox' must be {BOX}, {rule}, got {show(bbox)}")]
    return []


def _is_unicode(text: str) -> bool:
    """Whether it can be written at all: JSON may escape half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def kind_of(value: Any) -> str:
    """What a value of a JSON file is, with its article."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def show(value: Any) -> str:
    """A value of a JSON file as it stands there, cut short."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
