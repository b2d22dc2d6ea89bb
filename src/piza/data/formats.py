"""Rows in the formats of other programs: COCO, RefCOCO as MDETR writes it, and ODVG.

Each format has a reader, path -> (rows, sizes), and a writer, (rows, sizes, path). Rows are plain dicts as
`sorec.read_values` gives them, sizes (width, height) of images by name. What a format has no place for (the row's own
id, further fields) goes into fields of its own, which other programs ignore; so the way there and back loses nothing.
All readers raise InputError, which names the file, the place in it and the field as the file calls it. Two images are
never taken for one: ids that are used twice and names with two sizes are errors.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from piza.data.sizes import Sizes
from piza.data.sorec import (
    FIELDS,
    Names,
    kind_of,
    other_format,
    read_json,
    read_text,
    require_sound,
    show,
    to_json,
)
from piza.errors import InputError
from piza.files import atomic_write, parse_json

Values: TypeAlias = dict[str, Any]
RowsAndSizes: TypeAlias = tuple[list[Values], Sizes]

SENTENCE_FIELDS = ("caption", "ref")
"""Where a COCO annotation may hold its sentence, or a list of them; the first is the one written."""

MAX_COORDINATE = 2**31
"""Sizes and corners from here on are in no image; whole numbers of JSON may be too large to calculate with."""

_CORNERS = "[left, top, right, bottom] in pixels"
_REFCOCO_NAMES = Names(image="file_name", ref="caption")
_ODVG_NAMES = Names(image="filename", ref="phrase")


def write_coco(rows: Sequence[Values], sizes: Sizes, path: str | Path) -> None:
    """One annotation a row, with the sentence as its `caption`; images in the order they first appear."""
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
    """Rows of a COCO file whose annotations hold sentences, one a sentence. Categories, outlines and crowds are ignored."""
    images, annotations, sizes = _read_lists(path)
    rows: list[Values] = []
    for number, annotation in enumerate(annotations, start=1):
        where = f"{str(path)!r}, annotation {number}"
        image = _image_of(annotation, images, where)
        field = next((name for name in SENTENCE_FIELDS if name in annotation), None)
        if field is None:
            raise InputError(f"{where}: it has no sentence, the field 'caption' is missing")
        sentences = annotation[field]
        row = _row(image, annotation, sentences, number)
        found = [row]
        if isinstance(sentences, list) and sentences:
            several = len(sentences) > 1 and "id" in row
            ids = (
                [f"{row['id']}-{place}" for place in range(1, len(sentences) + 1)]
                if several
                else [row.get("id")]
            )
            found = [
                {**row, "ref": sentence, **({} if identity is None else {"id": identity})}
                for sentence, identity in zip(sentences, ids, strict=False)
            ]
        for one in found:
            require_sound([one], f"{str(path)!r}, annotation", Names(image="file_name", ref=field), number)
        rows += found
    return rows, sizes


def write_refcoco(rows: Sequence[Values], sizes: Sizes, path: str | Path) -> None:
    """As MDETR writes RefCOCO: an image entry a sentence, which is its `caption`, with one annotation.

    `original_id` numbers the images, since each of them may stand there many times; the span of `tokens_positive`, in
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
    images, annotations, sizes = _read_lists(path)
    rows = []
    for number, annotation in enumerate(annotations, start=1):
        where = f"{str(path)!r}, annotation {number}"
        image = _image_of(annotation, images, where)
        if "caption" not in image:
            raise InputError(f"{where}: its image {show(image['file_name'])} has no 'caption'")
        rows.append(_row(image, annotation, image["caption"], number))
    require_sound(rows, f"{str(path)!r}, annotation", _REFCOCO_NAMES)
    return rows, sizes


def write_odvg(rows: Sequence[Values], sizes: Sizes, path: str | Path) -> None:
    """One JSON line a row: filename, height, width, and a grounding of one region, whose phrase is the whole sentence."""
    with atomic_write(path) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            for row in rows:
                x, y, w, h = row["bbox"]
                corners = [x, y, x + w, y + h]
                own = {key: value for key, value in row.items() if key not in ("image", "bbox", "ref")}
                if not _same(
                    [x, y, corners[2] - x, corners[3] - y], row["bbox"]
                ):  # floats do not always come back from a sum
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
        for region, box in _regions(line, where):
            row = {"image": line.get("filename"), "bbox": box, "ref": region.get("phrase")}
            ours = dict(own) if isinstance(own, dict) else {"id": len(rows) + len(found) + 1}
            for field in ("image", "ref"):  # the line says these itself; a file of others may hold other ones
                ours.pop(field, None)
            found.append({**row, **ours})
        require_sound(found, f"{where}, region", _ODVG_NAMES)
        rows += found
        if found:
            _add_size(sizes, line["filename"], line, where)
    return rows, sizes


def _regions(line: Values, where: str) -> Iterator[tuple[Values, list[Any]]]:
    """The regions of a line with each of their boxes as [x, y, width, height]; numbers are exact where they are whole."""
    for region in line["grounding"]["regions"]:
        if not isinstance(region, dict) or not isinstance(region.get("bbox"), list):
            raise InputError(f"{where}: a region must be an object with a 'bbox', got {show(region)}")
        several = bool(region["bbox"]) and isinstance(region["bbox"][0], list)
        for box in region["bbox"] if several else [region["bbox"]]:
            numbers = isinstance(box, list) and all(
                isinstance(v, (int, float)) and not isinstance(v, bool) for v in box
            )
            if not numbers or len(box) != 4:
                raise InputError(f"{where}: 'bbox' must be {_CORNERS}, got {show(box)}")
            x1, y1, x2, y2 = box
            if not (0 <= x1 < x2 < MAX_COORDINATE and 0 <= y1 < y2 < MAX_COORDINATE):
                raise InputError(
                    f"{where}: 'bbox' must be {_CORNERS}, with right > left and bottom > top, got {show(box)}"
                )
            yield region, [x1, y1, x2 - x1, y2 - y1]


def _line(text: str, where: str) -> Values:
    try:
        line = parse_json(text, where)
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError(f"{where}: this is no JSON, expected a JSONL file with an object a line") from None
    if not isinstance(line, dict):
        raise InputError(f"{where}: a line must be an object, but it is {kind_of(line)}")
    grounding = line.get("grounding")
    if not isinstance(grounding, dict) or not isinstance(grounding.get("regions"), list):
        raise InputError(f"{where}: the field 'grounding' with a list of 'regions' is missing")
    return line


def _same(one: list[Any], other: list[Any]) -> bool:
    """Equal numbers, and whole numbers in the same places: 1 is not 1.0."""
    return one == other and [type(v) for v in one] == [type(v) for v in other]


def _span(sentence: str) -> list[list[int]]:
    """The whole sentence in characters, without its final dot, which grounding models take for a separator."""
    return [[0, len(sentence.rstrip(" .")) or len(sentence)]]


def _identities(rows: Sequence[Values]) -> list[int]:
    """Annotation ids: the rows' own where they can be (in COCO: different whole numbers from 1), else their numbers."""
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
    """The fields a COCO annotation has no place for: an id that is not the annotation's (null: none), further fields."""
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


def _read_lists(path: str | Path) -> tuple[dict[int | str, Values], list[Values], Sizes]:
    """The images of a COCO-like file by their id, its annotations, all of them objects, and the sizes of images by name."""
    name = repr(str(path))
    content = read_json(path, "a COCO file")
    if not isinstance(content, dict):
        raise InputError(
            f"{name} must hold a COCO object with images and annotations, but it holds {kind_of(content)}"
            f"{other_format(content)}"
        )
    for part in ("images", "annotations"):
        if not isinstance(content.get(part), list):
            raise InputError(f"{name} has no list {part!r}, expected a COCO file")
        for number, entry in enumerate(content[part], start=1):
            if not isinstance(entry, dict):
                raise InputError(
                    f"{name}, {part}, entry {number}: must be an object, but it is {kind_of(entry)}"
                )
    images: dict[int | str, Values] = {}
    sizes: Sizes = {}
    for number, image in enumerate(content["images"], start=1):
        where = f"{name}, image {number}"
        identity = image.get("id")
        if not isinstance(identity, (int, str)) or not isinstance(image.get("file_name"), str):
            raise InputError(f"{where}: expected an 'id' (a number or a text) and a 'file_name' (a text)")
        if identity in images:
            first = images[identity]["file_name"]
            raise InputError(
                f"{where}: the 'id' {show(identity)} of {show(image['file_name'])} is that of {show(first)} too"
            )
        images[identity] = image
        _add_size(sizes, image["file_name"], image, where)
    return images, content["annotations"], sizes


def _image_of(annotation: Values, images: dict[int | str, Values], where: str) -> Values:
    identity = annotation.get("image_id")
    if not isinstance(identity, (int, str)) or identity not in images:
        raise InputError(f"{where}: there is no image with the 'image_id' {show(identity)}")
    return images[identity]


def _add_size(sizes: Sizes, name: str, entry: Values, where: str) -> None:
    """Note the size that an entry gives of the image `name`, if it gives one. Raises InputError when it was another."""
    width, height = (_side(entry.get(field), field, where) for field in ("width", "height"))
    if width is None or height is None:
        return
    if sizes.setdefault(name, (width, height)) != (width, height):
        other = " x ".join(map(str, sizes[name]))
        raise InputError(
            f"{where}: {show(name)} is {width} x {height} here and {other} elsewhere, so they are two images of one name"
        )


def _side(value: Any, field: str, where: str) -> int | None:
    """A width or height in pixels; None where it is not known (null, 0 or missing). Other programs write 640.0 or "640"."""
    if value is None:
        return None
    number = value
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
        number = int(value)
    if (
        isinstance(number, bool)
        or not isinstance(number, (int, float))
        or not 0 <= number < MAX_COORDINATE
        or number != number // 1
    ):
        raise InputError(f"{where}: {field!r} must be a whole number of pixels, got {show(value)}")
    return int(number) or None
