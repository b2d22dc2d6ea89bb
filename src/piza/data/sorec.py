"""Reading rows of SOREC, and of other data sets in its format.

One JSON list a file; a row is {"image": "10849.jpg", "bbox": [x, y, width, height], "ref": "...", "id": 1}, the box in
pixels of the image. (SOREC: Goto et al., "Referring Expression Comprehension for Small Objects", ICCV 2025.)
"""

import gc
import io
import json
import math
import os
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from piza.errors import InputError
from piza.files import atomic_write, parse_json

FIELDS = ("image", "bbox", "ref", "id")
CATEGORY = "category"  # a field that rows made here have besides; SOREC's layout of parts needs it
BOX = "[x, y, width, height] in pixels"

MAX_BYTES = 2**30
"""Of a text file of rows or predictions: several times the largest that are published."""


@dataclass(frozen=True)
class Row:
    """One question and its answer.

    image: name of the image, relative to the folder of images. box_xyxy: the target, in pixels of the image.
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


class Names(NamedTuple):
    """What a format calls the fields of a row, and what its boxes are, so that messages speak of the file's own fields."""

    image: str = "image"
    bbox: str = "bbox"
    ref: str = "ref"
    id: str = "id"
    box: str = BOX


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
        raise InputError(
            f"{str(path)!r} must hold a JSON list of rows, but it holds {kind_of(content)}{other_format(content)}"
        )
    if hint := other_format(content):
        raise InputError(f"{str(path)!r} must hold a JSON list of rows{hint}")
    return content


def other_format(content: Any) -> str:
    """Words to end a message with, where the content of a JSON file looks like another program's format, else ""."""
    if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
        return "; it looks like COCO (piza data convert --from coco)"
    first = content[0] if isinstance(content, list) and content else None
    if isinstance(first, dict) and "data" in first and {"annotations", "predictions"} & first.keys():
        return "; it looks like Label Studio's tasks, which it can export as COCO (piza data convert --from coco)"
    return ""


def require_sound(rows: Iterable[Any], what: str, names: Names | None = None, first: int = 1) -> None:
    """Raise InputError about the first row that has a fault.

    `what` and its number, from `first`, say which it is; `names` are those of its fields in the file."""
    for number, values in enumerate(rows, start=first):
        faults = row_faults(values, names)
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
    """The path of a row's image.

    A file of exactly this name comes first. Where there is none, the same name with slashes for backslashes (as Windows
    writes it) and with its accents composed or decomposed (as macOS writes them) is looked for.

    Raises InputError when there is no such file, or its name leads out of the folder.
    """
    folder = Path(images_dir)
    check_image_name(image)
    try:
        for name in dict.fromkeys(_spellings(image)):
            if (folder / name).is_file():
                return folder / name
        if not folder.is_dir():
            raise InputError(f"the folder of images {str(folder)!r} does not exist")
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise InputError(f"the image {image!r} cannot be read: {error.strerror}") from None
    raise InputError(f"there is no image {quote(image)} in the folder {str(folder)!r}")


def check_image_name(image: str) -> None:
    """Raise InputError when the name of an image leads out of the folder of images, or is no file name."""
    if "\0" in image:
        raise InputError(f"the image name {image!r} holds a zero byte")
    windows = PureWindowsPath(image)  # in which a backslash parts names, as it will here
    elsewhere = bool(windows.root) or (os.name == "nt" and bool(windows.drive))
    if elsewhere or ".." in windows.parts:
        raise InputError(
            f"the image name {quote(image)} leads out of the folder of images; expected a name relative to it"
        )


def canonical_name(image: str) -> str:
    """One spelling of an image's name: two rows with the same one speak of the same file on some system."""
    name = unicodedata.normalize("NFC", image.replace("\\", "/"))
    return str(PurePosixPath(name))


def quote(text: str) -> str:
    """A name in quotes, with single backslashes as they stand in it."""
    return repr(text).replace("\\\\", "\\")


def _spellings(image: str) -> Iterator[str]:
    for name in (image, image.replace("\\", "/")):
        yield name
        if not name.isascii():
            yield unicodedata.normalize("NFC", name)
            yield unicodedata.normalize("NFD", name)


def read_json(path: str | Path, expected: str = "a JSON file of rows") -> Any:
    """The content of a JSON file. Raises InputError, which says what is `expected`, when it cannot be read."""
    name = repr(str(path))
    text = read_text(path, expected)
    try:
        with without_collector():
            return parse_json(text, name)
    except InputError:
        raise
    except json.JSONDecodeError as error:
        _refuse_lines(name, text, expected)
        raise InputError(
            f"{name} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except (RecursionError, ValueError):  # nested without end, a number of ten thousand digits
        raise InputError(f"{name} cannot be read as JSON, expected {expected}") from None


def _refuse_lines(name: str, text: str, expected: str) -> None:
    """Raises InputError for JSON lines in the place of JSON."""
    first, _, rest = text.partition("\n")
    try:
        line = json.loads(first)
    except (ValueError, RecursionError):
        return
    if isinstance(line, dict) and rest.strip():
        step = f" of the step {line['step']!r:.40}" if isinstance(line.get("step"), str) else ""
        raise InputError(f"{name} is a file of JSON lines{step}, expected {expected}")


def read_text(path: str | Path, expected: str) -> str:
    """The text of a file in UTF-8. Raises InputError, which says what is `expected`, when it cannot be read."""
    name = repr(str(path))
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = (
            "" if len(data) > MAX_BYTES else io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()
        )
    except FileNotFoundError:
        raise InputError(f"{name} does not exist, expected {expected}") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a folder, expected {expected}") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{name} is not a text file in UTF-8, expected {expected}") from None
    except ValueError:  # a name with a zero byte
        raise InputError(f"{name} cannot be read, expected {expected}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{name} is too large: expected {expected} of at most {MAX_BYTES / 1e9:.1f} GB")
    return text


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


def row_faults(values: Any, names: Names | None = None) -> list[Fault]:
    """All that keeps one row of a file from being used; nothing for a sound row. Further fields are no fault.

    `names`: what the file calls the fields, where it is in another format.
    """
    names = names or Names()
    if not isinstance(values, dict):
        return [Fault("row", "no object", f"a row must be an object, but it is {kind_of(values)}")]
    faults = [missing(getattr(names, field)) for field in ("image", "bbox", "ref") if field not in values]
    for name, key in ((names.image, "image"), (names.ref, "ref")):
        if key not in values:
            continue
        value = values[key]
        if not isinstance(value, str) or not value.strip():
            message = f"{name!r} must be a text that is not empty, got {show(value)}"
            faults.append(Fault(name, "wrong value", message))
        elif not _is_unicode(value):
            faults.append(Fault(name, "wrong value", f"{name!r} holds half a character: {show(value)}"))
    identity = values.get("id", 0)
    if isinstance(identity, bool) or not isinstance(identity, (int, str)):
        message = f"{names.id!r} must be a whole number or a text, got {show(identity)}"
        faults.append(Fault(names.id, "wrong value", message))
    elif isinstance(identity, str) and not _is_unicode(identity):
        faults.append(
            Fault(names.id, "wrong value", f"{names.id!r} holds half a character: {show(identity)}")
        )
    if "bbox" in values:
        faults += _box_faults(values["bbox"], names)
    return faults


def missing(field: str) -> Fault:
    """The fault of a row without a field."""
    """The fault of a row without a field."""
    return Fault(field, "missing field", f"the field {field!r} is missing")


def _box_faults(bbox: Any, names: Names) -> list[Fault]:
    name = names.bbox
    numbers = isinstance(bbox, list) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in bbox
    )
    if not numbers or len(bbox) != 4:
        return [Fault(name, "wrong value", f"{name!r} must be {names.box}, got {show(bbox)}")]
    try:
        x, y, width, height = (float(v) for v in bbox)
        finite = math.isfinite(x + width) and math.isfinite(y + height)
    except OverflowError:
        finite = False
    if not finite:
        return [Fault(name, "wrong value", f"the numbers of {name!r} must be finite, got {show(bbox)}")]
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        rule = "with x and y of at least 0 and sides over 0"
        return [Fault(name, "impossible box", f"{name!r} must be {names.box}, {rule}, got {show(bbox)}")]
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
    """The kind of a value of a JSON file, with its article."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def show(value: Any) -> str:
    """A value of a JSON file as it stands there, cut short."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
