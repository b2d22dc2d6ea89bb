"""Rows in the formats of other programs: COCO, RefCOCO as MDETR writes it, and ODVG.

Each format has a reader, path -> (rows, sizes), and a writer, (rows, sizes, path). Rows are plain dicts as
`sorec.read_values` gives them, sizes (width, height) of pictures by name. What a format has no place for (the row's own
id, further fields) goes into fields of its own, which other programs pass over; so the way there and back loses nothing.
All readers raise InputError, which names the file, the place in it and the field.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from piza.data.sizes import Sizes
from piza.data.sorec import FIELDS, kind_of, read_json, read_text, require_sound, show, to_json
from piza.errors import InputError
from piza.files import atomic_write

Values: TypeAlias = dict[str, Any]
RowsAndSizes: TypeAlias = tuple[list[Values], Sizes]

SENTENCE_FIELDS = ("caption", "ref")
"""Where a COCO annotation may hold its sentence; the first is the one written."""


def write_coco(rows: Sequence[Values], sizes: Sizes, path: str | Path) -> None:
    """One annotation a row, with the sentence as its `caption`; pictures in the order they first appear."""
    images = {image: number for number, image in enumerate(dict.fromkeys(r["image"] for r in rows), start=1)}
    _write_json(
        path,
        [_coco_image(number, image, sizes[image]) for image, number in images.items()],
        [
            {
                **_annotation(identity, row, images[row["image"]]),
                "caption": row["ref"],
                **_rest(row, identity),
            }
            for identity, row in zip(_identities(rows), rows)
        ],
    )


def read_coco(path: str | Path) -> RowsAndSizes:
    """Rows of a COCO file whose annotations hold sentences. Categories, outlines and crowds are passed over."""
    images, annotations = _read_lists(path)
    rows = []
    for number, annotation in enumerate(annotations, start=1):
        where = f"{str(path)!r}, annotation {number}"
        found = [annotation[name] for name in SENTENCE_FIELDS if name in annotation]
        if not found:
            raise InputError(f"{where}: the field 'caption' with the sentence is missing")
        rows.append(_row(_image_of(annotation, images, where), annotation, found[0], number))
    require_sound(rows, f"{str(path)!r}, annotation")
    return rows, _sizes(images.values())


def write_refcoco(rows: Sequence[Values], sizes: Sizes, path: str | Path) -> None:
    """As MDETR writes RefCOCO: an image entry a sentence, which is its `caption`, with one annotation.

    `original_id` numbers the pictures, since each of them may stand there many times; the span of `tokens_positive`, in
    characters, is the whole sentence but for its final dot.
    """
    originals = {
        image: number for number, image in enumerate(dict.fromkeys(r["image"] for r in rows), start=1)
    }
    images, annotations = [], []
    for number, (identity, row) in enumerate(zip(_identities(rows), rows), start=1):
        span = _span(row["ref"])
        images.append(
            {
                **_coco_image(number, row["image"], sizes[row["image"]]),
                "original_id": originals[row["image"]],
                "caption": row["ref"],
                "dataset_name": "sorec",
                "tokens_negative": [[0, len(row["ref"])]],
            }
        )
        annotation = {**_annotation(identity, row, number), "tokens_positive": span}
        annotations.append({**annotation, **_rest(row, identity)})
    _write_json(path, images, annotations)


def read_refcoco(path: str | Path) -> RowsAndSizes:
    """One row an annotation, the sentence the `caption` of its image."""
    images, annotations = _read_lists(path)
    rows = []
    for number, annotation in enumerate(annotations, start=1):
        where = f"{str(path)!r}, annotation {number}"
        image = _image_of(annotation, images, where)
        if "caption" not in image:
            raise InputError(f"{where}: its image {show(image['file_name'])} has no 'caption'")
        rows.append(_row(image, annotation, image["caption"], number))
    require_sound(rows, f"{str(path)!r}, annotation")
    return rows, _sizes(images.values())


def write_odvg(rows: Sequence[Values], sizes: Sizes, path: str | Path) -> None:
    """One JSON line a row: filename, height, width, and a grounding of one region, whose phrase is the whole sentence."""
    with atomic_write(path) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            for row in rows:
                x, y, w, h = row["bbox"]
                corners = [x, y, x + w, y + h]
                own = {key: value for key, value in row.items() if key not in ("image", "bbox", "ref")}
                if not _same(_to_xywh(corners), row["bbox"]):  # floats do not always come back from a sum
                    own["bbox"] = row["bbox"]
                width, height = sizes[row["image"]]
                region = {"bbox": corners, "phrase": row["ref"], "tokens_positive": _span(row["ref"])}
                line = {
                    "filename": row["image"],
                    "height": height,
                    "width": width,
                    "grounding": {"caption": row["ref"], "regions": [region]},
                    "row": own,
                }
                file.write(f"{to_json(line)}\n")


def read_odvg(path: str | Path) -> RowsAndSizes:
    """One row a box, the sentence the `phrase` of its region. Files of others may hold several regions a line."""
    rows: list[Values] = []
    sizes: Sizes = {}
    # Not splitlines: a sentence may hold other line ends, such as U+2028, unescaped.
    for number, text in enumerate(read_text(path, "a JSONL file").split("\n"), start=1):
        if not text.strip():
            continue
        where = f"{str(path)!r}, line {number}"
        line = _line(text, where)
        own = line.get("row")
        found: list[Values] = []
        for region in line["grounding"]["regions"]:
            if not isinstance(region, dict) or not isinstance(region.get("bbox"), list):
                raise InputError(f"{where}: a region must be an object with a 'bbox', got {show(region)}")
            several = bool(region["bbox"]) and isinstance(region["bbox"][0], list)
            for box in region["bbox"] if several else [region["bbox"]]:
                if not isinstance(box, list):
                    raise InputError(f"{where}: 'bbox' must be [left, top, right, bottom], got {show(box)}")
                row = {"image": line.get("filename"), "bbox": _to_xywh(box), "ref": region.get("phrase")}
                ours = own if isinstance(own, dict) else {"id": len(rows) + len(found) + 1}
                found.append({**row, **ours})
        require_sound(found, f"{where}, region")
        rows += found
        if found:
            sizes |= _sizes([{**line, "file_name": line["filename"]}])
    return rows, sizes


def _line(text: str, where: str) -> Values:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{where}: this is no JSON, a JSONL file with an object a line is wanted") from None
    if not isinstance(line, dict):
        raise InputError(f"{where}: a line must be an object, but it is {kind_of(line)}")
    grounding = line.get("grounding")
    if not isinstance(grounding, dict) or not isinstance(grounding.get("regions"), list):
        raise InputError(f"{where}: the field 'grounding' with a list of 'regions' is missing")
    return line


def _to_xywh(corners: list[Any]) -> list[Any]:
    """Corners -> position and sides, exact for whole numbers; what is no box is left for the check of rows."""
    if len(corners) != 4 or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in corners):
        return corners
    x1, y1, x2, y2 = corners
    return [x1, y1, x2 - x1, y2 - y1]


def _same(one: list[Any], other: list[Any]) -> bool:
    """Equal numbers, and whole numbers in the same places: 1 is not 1.0."""
    return one == other and [type(v) for v in one] == [type(v) for v in other]


def _span(sentence: str) -> list[list[int]]:
    """The whole sentence in characters, without its final dot, which grounding models take for a separator."""
    return [[0, len(sentence.rstrip(" .")) or len(sentence)]]


def _identities(rows: Sequence[Values]) -> list[int]:
    """Annotation ids: the rows' own where they can be (COCO wants different whole numbers from 1), else their numbers."""
    own = [row.get("id") for row in rows]
    fit = [value for value in own if isinstance(value, int) and value >= 1]
    return fit if len(set(fit)) == len(rows) else list(range(1, len(rows) + 1))


def _coco_image(number: int, name: str, size_wh: tuple[int, int]) -> Values:
    return {"id": number, "file_name": name, "width": size_wh[0], "height": size_wh[1]}


def _annotation(identity: int, row: Values, image_id: int) -> Values:
    area = row["bbox"][2] * row["bbox"][3]
    return {
        "id": identity,
        "image_id": image_id,
        "category_id": 1,
        "bbox": row["bbox"],
        "area": area,
        "iscrowd": 0,
    }


def _rest(row: Values, identity: int) -> Values:
    """What a COCO annotation has no place for: an id that is not the annotation's (null: none), further fields."""
    rest: Values = {} if row.get("id") == identity else {"row_id": row.get("id")}
    extra = {key: value for key, value in row.items() if key not in FIELDS}
    return {**rest, "extra": extra} if extra else rest


def _row(image: Values, annotation: Values, sentence: Any, number: int) -> Values:
    row = {"image": image["file_name"], "bbox": annotation.get("bbox"), "ref": sentence}
    identity = annotation["row_id"] if "row_id" in annotation else annotation.get("id", number)
    if identity is not None:
        row["id"] = identity
    extra = annotation.get("extra")
    return {**extra, **row} if isinstance(extra, dict) else row


def _write_json(path: str | Path, images: list[Values], annotations: list[Values]) -> None:
    categories = [{"id": 1, "name": "object", "supercategory": "object"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    with atomic_write(path) as temporary:
        temporary.write_text(to_json(content) + "\n", encoding="utf-8")


def _read_lists(path: str | Path) -> tuple[dict[int | str, Values], list[Values]]:
    """The images of a COCO-like file by their id, and its annotations, all of them objects."""
    name = repr(str(path))
    content = read_json(path, "a COCO file")
    if not isinstance(content, dict):
        raise InputError(
            f"{name} must hold a COCO object with images and annotations, but it holds {kind_of(content)}"
        )
    for part in ("images", "annotations"):
        if not isinstance(content.get(part), list):
            raise InputError(f"{name} has no list {part!r}, a COCO file is wanted")
        for number, entry in enumerate(content[part], start=1):
            if not isinstance(entry, dict):
                raise InputError(
                    f"{name}, {part}, entry {number}: must be an object, but it is {kind_of(entry)}"
                )
    images: dict[int | str, Values] = {}
    for number, image in enumerate(content["images"], start=1):
        if not isinstance(image.get("id"), (int, str)) or not isinstance(image.get("file_name"), str):
            raise InputError(f"{name}, image {number}: the fields 'id' and 'file_name' are wanted")
        images[image["id"]] = image
    return images, content["annotations"]


def _image_of(annotation: Values, images: dict[int | str, Values], where: str) -> Values:
    identity = annotation.get("image_id")
    if not isinstance(identity, (int, str)) or identity not in images:
        raise InputError(f"{where}: there is no image with the 'image_id' {show(identity)}")
    return images[identity]


def _sizes(images: Iterable[Values]) -> Sizes:
    """The sizes that the entries of images give, where they do."""
    sizes: Sizes = {}
    for image in images:
        width, height = image.get("width"), image.get("height")
        if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
            sizes[image["file_name"]] = (width, height)
    return sizes
