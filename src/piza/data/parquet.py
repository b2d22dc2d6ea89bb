"""Rows as a folder of Parquet that Hugging Face's `datasets` reads (`parquet_reader` reads it back). Needs pyarrow, which
comes with the extra `data`.

Columns: `image_path` (text) or, with images embedded, `image` (the Image feature: bytes and path); `bbox` (x, y,
width, height in pixels; whole numbers if all are), `ref`, `id` (numbers if all are, else text). A further column `extra`
is there only when a row holds what those columns cannot: it is JSON, and its values replace those of the other columns.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from piza.data.sorec import FIELDS, find_image, to_json
from piza.errors import InputError
from piza.files import atomic_write, check_writable

GROUP_ROWS = 10_000
GROUP_BYTES = 256_000_000
"""Rows, and bytes of images, that are in memory at once and become one row group."""


def write_hf(
    rows: Sequence[dict[str, Any]],
    folder: str | Path,
    split: str = "train",
    images_dir: str | Path | None = None,
    like: Sequence[dict[str, Any]] | None = None,
) -> Path:
    """Write FOLDER/data/SPLIT-00000-of-00001.parquet; its path. `rows` as `sorec.read_values` gives them.

    `like`: all rows of the folder, whose parts must have the same columns; None: these. `images_dir`: embed the images, byte for byte, in every row (repeated bytes within a row group are stored once). Raises
    InputError when pyarrow or an image is missing, or the folder cannot be written to.
    """
    pyarrow, parquet = import_pyarrow()
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot write to {str(folder)!r}: expected a folder, got a file")
    if not folder.exists():
        check_writable(folder)
    path = folder / "data" / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = _columns(rows if like is None else like, images_dir is not None)
    schema = _schema(pyarrow, columns)
    with atomic_write(path) as temporary:
        # An image in a hundred rows becomes one entry of a dictionary, however large.
        options = {"dictionary_pagesize_limit": 2**31 - 1, "compression": "zstd"}
        with parquet.ParquetWriter(temporary, schema, **options) as writer:
            for group in _groups(rows, images_dir):
                entries = [_entry(row, columns, data) for row, data in group]
                writer.write_table(pyarrow.Table.from_pylist(entries, schema), row_group_size=len(entries))
    return path


def import_pyarrow() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`. Raises InputError, which says what to install, when they are missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError("Parquet needs pyarrow, install it with: pip install 'piza[data]'") from None
    return pyarrow, pyarrow.parquet


def _columns(rows: Sequence[dict[str, Any]], embed: bool) -> dict[str, str]:
    """Name of each column -> its kind."""
    boxes_whole = all(_is_int64(v) for row in rows for v in row["bbox"])
    ids_whole = all(_is_int64(row.get("id", 0)) for row in rows)
    columns = {
        **({"image": "image"} if embed else {"image_path": "string"}),
        "bbox": "int64" if boxes_whole else "float64",
        "ref": "string",
        "id": "int64" if ids_whole else "string",
    }
    if any(_extra(row, columns) for row in rows):
        columns["extra"] = "string"
    return columns


def _is_int64(value: Any) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _extra(row: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    """The fields and values of a row that the columns cannot hold."""
    extra = {key: value for key, value in row.items() if key not in FIELDS}
    if columns["bbox"] == "float64" and any(isinstance(v, int) for v in row["bbox"]):
        extra["bbox"] = row["bbox"]
    if columns["id"] == "string" and isinstance(row.get("id"), int):
        extra["id"] = row["id"]
    return extra


def _schema(pyarrow: Any, columns: dict[str, str]) -> Any:
    """The Arrow schema, with the features that `datasets` expects in its metadata."""
    types = {"string": pyarrow.string(), "int64": pyarrow.int64(), "float64": pyarrow.float64()}
    fields: list[tuple[str, Any]] = []
    features: dict[str, Any] = {}
    for name, kind in columns.items():
        if kind == "image":
            kept = [("bytes", pyarrow.binary()), ("path", pyarrow.string())]
            fields.append((name, pyarrow.struct(kept)))
            features[name] = {"_type": "Image"}
        elif name == "bbox":
            fields.append((name, pyarrow.list_(types[kind], 4)))
            # "Sequence" is read by old and new versions, its later name "List" by new ones only.
            features[name] = {"feature": {"dtype": kind, "_type": "Value"}, "length": 4, "_type": "Sequence"}
        else:
            fields.append((name, types[kind]))
            features[name] = {"dtype": kind, "_type": "Value"}
    return pyarrow.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _groups(
    rows: Sequence[dict[str, Any]], images_dir: str | Path | None
) -> Iterator[list[tuple[dict[str, Any], bytes | None]]]:
    """Rows with the bytes of their images, in portions that fit into memory."""
    group: list[tuple[dict[str, Any], bytes | None]] = []
    size, name, data = 0, None, None
    for row in rows:
        if images_dir is not None and row["image"] != name:
            data, name = find_image(images_dir, row["image"]).read_bytes(), row["image"]
        if group and (len(group) >= GROUP_ROWS or size + len(data or b"") > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append((row, data))
        size += len(data or b"")
    if group:
        yield group


def _entry(row: dict[str, Any], columns: dict[str, str], data: bytes | None) -> dict[str, Any]:
    identity = row.get("id")
    extra = _extra(row, columns)
    return {
        "image_path": row["image"],
        "image": {"bytes": data, "path": row["image"]},
        "bbox": [float(v) for v in row["bbox"]] if columns["bbox"] == "float64" else row["bbox"],
        "ref": row["ref"],
        "id": str(identity) if columns["id"] == "string" and identity is not None else identity,
        "extra": to_json(extra) if extra else None,
    }
