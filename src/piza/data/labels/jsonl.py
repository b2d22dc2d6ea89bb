"""JSON lines: one photo a line, {"image", "width", "height", "boxes": [{"xyxy", "label", "extra"}], "extra"}."""

from pathlib import Path
from typing import Any

from piza.data.labels.base import (
    MAX_BYTES,
    LabeledBox,
    LabeledPhoto,
    bounded_text,
    clipped_box,
    name_of_category,
    name_of_image,
    number,
    whole,
)
from piza.data.sorec import kind_of
from piza.errors import InputError
from piza.files import parse_json


def read(path: Path, images_dir: Path) -> list[LabeledPhoto]:
    """The photos of a file, a line each."""
    photos = []
    text = bounded_text(path, "a file of JSON lines", MAX_BYTES)
    for count, line in enumerate(text.split("\n"), start=1):
        where = f"{str(path)!r}, line {count}"
        if not line.strip():
            continue
        try:
            content = parse_json(line, where)
        except InputError:
            raise
        except (ValueError, RecursionError):
            raise InputError(f"{where}: expected one JSON object, got {line.strip()[:40]!r}") from None
        if not isinstance(content, dict):
            raise InputError(f"{where}: expected one JSON object, got {kind_of(content)}")
        photos.append(_photo(content, where))
    return photos


def _photo(content: dict[str, Any], where: str) -> LabeledPhoto:
    image = name_of_image(content.get("image"), f"{where}, field 'image'")
    size = tuple(whole(content.get(side), f"{where}, field {side!r}") for side in ("width", "height"))
    listed = content.get("boxes")
    if not isinstance(listed, list):
        raise InputError(f"{where}, field 'boxes': expected a list, got {kind_of(listed)}")
    boxes = []
    for place, box in enumerate(listed, start=1):
        at = f"{where}, box {place}"
        xyxy = box.get("xyxy") if isinstance(box, dict) else None
        if not isinstance(xyxy, list) or len(xyxy) != 4:
            raise InputError(f"{at}, field 'xyxy': expected [left, top, right, bottom], got {str(xyxy)[:60]}")
        corners = [number(value, f"{at}, field 'xyxy'") for value in xyxy]
        extra = _object(box.get("extra"), f"{at}, field 'extra'")
        category = name_of_category(box.get("label"), f"{at}, field 'label'")
        boxes.append(LabeledBox(clipped_box(corners, (size[0], size[1]), at), category, extra))
    extra = _object(content.get("extra"), f"{where}, field 'extra'")
    return LabeledPhoto(image, size[0], size[1], tuple(boxes), extra)


def _object(value: Any, where: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, got {kind_of(value)}")
    return value or {}
