"""COCO: one JSON file with images, annotations [x, y, width, height] and categories (https://cocodataset.org)."""

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
from piza.data.sorec import kind_of, read_json
from piza.errors import InputError

_KEPT = ("id", "image_id", "category_id", "bbox", "segmentation")  # fields that are no `extra`


def read(path: Path, images_dir: Path) -> list[LabeledPhoto]:
    """The photos of a COCO file; boxes of crowds are left out, as they hold more than one object."""
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        bounded_text(path, "a COCO file", MAX_BYTES)  # raises
    content = read_json(path, "a COCO file")
    if not isinstance(content, dict):
        raise InputError(f"{str(path)!r} is no COCO file: expected an object, got {kind_of(content)}")
    images, categories, annotations = (
        _list(content, name, path) for name in ("images", "categories", "annotations")
    )
    names: dict[Any, str] = {}
    for place, category in enumerate(categories, start=1):
        where = f"{str(path)!r}, category {place}"
        identity = _id(category, where)
        names[identity] = name_of_category(category.get("name"), f"{where}, field 'name'")
    photos: dict[Any, tuple[str, int, int]] = {}
    for place, image in enumerate(images, start=1):
        where = f"{str(path)!r}, image {place}"
        identity = _id(image, where)
        if identity in photos:
            raise InputError(f"{where}: the id {identity!r} is that of another image too")
        photos[identity] = (
            name_of_image(image.get("file_name"), f"{where}, field 'file_name'"),
            whole(image.get("width"), f"{where}, field 'width'"),
            whole(image.get("height"), f"{where}, field 'height'"),
        )
    boxes: dict[Any, list[LabeledBox]] = {identity: [] for identity in photos}
    for place, annotation in enumerate(annotations, start=1):
        where = f"{str(path)!r}, annotation {place}"
        if not isinstance(annotation, dict):
            raise InputError(f"{where}: expected an object, got {kind_of(annotation)}")
        image_id, category_id = annotation.get("image_id"), annotation.get("category_id")
        if not _hashable(image_id) or image_id not in photos:
            raise InputError(f"{where}, field 'image_id': there is no image {image_id!r}")
        if not _hashable(category_id) or category_id not in names:
            raise InputError(f"{where}, field 'category_id': there is no category {category_id!r}")
        if not annotation.get("iscrowd"):
            box = _box(annotation.get("bbox"), photos[image_id][1:], f"{where}, field 'bbox'")
            extra = {key: value for key, value in annotation.items() if key not in _KEPT}
            boxes[image_id].append(LabeledBox(box, names[category_id], extra))
    return [LabeledPhoto(*photo, tuple(boxes[identity])) for identity, photo in photos.items()]


def _list(content: dict[str, Any], name: str, path: Path) -> list[Any]:
    value = content.get(name)
    if not isinstance(value, list):
        raise InputError(
            f"{str(path)!r} is no COCO file of labels: expected a list {name!r}, got {kind_of(value)}"
        )
    return value


def _hashable(value: Any) -> bool:
    return isinstance(value, (int, str))


def _id(entry: Any, where: str) -> Any:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: expected an object, got {kind_of(entry)}")
    if not _hashable(entry.get("id")):
        raise InputError(f"{where}, field 'id': expected a whole number, got {entry.get('id')!r}")
    return entry["id"]


def _box(bbox: Any, size: tuple[int, int], where: str) -> tuple[float, float, float, float]:
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise InputError(f"{where}: expected [x, y, width, height], got {str(bbox)[:60]}")
    x, y, width, height = (number(value, where) for value in bbox)
    return clipped_box((x, y, x + width, y + height), size, where)
