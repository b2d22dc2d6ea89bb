"""Rows as a folder of Parquet that Hugging Face's `datasets` reads. Needs pyarrow, which comes with the extra `data`.

Columns: `image_path` (text) or, with pictures embedded, `image` (the Image feature: bytes and path); `bbox` (x, y,
width, height in pixels; whole numbers if all are), `ref`, `id` (numbers if all are, else text). A further column `extra`
is there only when a row holds what those columns cannot: it is JSON, and what it says goes before the other columns.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from piza.data.sorec import FIELDS, check_picture_name, find_image, require_sound, to_json
from piza.errors import InputError, reason
from piza.files import atomic_write, check_writable

GROUP_ROWS = 10_000
GROUP_BYTES = 256_000_000
"""Rows, and bytes of pictures, that are in memory at once and become one row group."""


def write_hf(
    rows: Sequence[dict[str, Any]],
    folder: str | Path,
    split: str = "train",
    images_dir: str | Path | None = None,
) -> Path:
    """Write FOLDER/data/SPLIT-00000-of-00001.parquet; its path. `rows` as `sorec.read_values` gives them.

    `images_dir`: embed the pictures, byte for byte, in every row that speaks of one (repeated bytes within a row group are stored
    once). Raises InputError when pyarrow or a picture is missing, or the folder cannot be written to.
    """
    pyarrow, parquet = _pyarrow()
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot write to {str(folder)!r}: it is a file, a folder is wanted")
    if not folder.exists():
        check_writable(folder)
    path = folder / "data" / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = _columns(rows, images_dir is not None)
    schema = _schema(pyarrow, columns)
    with atomic_write(path) as temporary:
        # A picture in a hundred rows becomes one entry of a dictionary, however large.
        options = {"dictionary_pagesize_limit": 2**31 - 1, "compression": "zstd"}
        with parquet.ParquetWriter(temporary, schema, **options) as writer:
            for group in _groups(rows, images_dir):
                entries = [_entry(row, columns, picture) for row, picture in group]
                writer.write_table(pyarrow.Table.from_pylist(entries, schema), row_group_size=len(entries))
    return path


def read_hf(path: str | Path, split: str = "train") -> list[dict[str, Any]]:
    """Rows of a Parquet file, or of the files of one split in a folder; bytes of embedded pictures are not read.

    Raises InputError when pyarrow or a column is missing, or the files are no Parquet.
    """
    pyarrow, parquet = _pyarrow()
    rows: list[dict[str, Any]] = []
    for file in _files(path, split):
        try:
            with parquet.ParquetFile(file) as opened:
                name = _picture_column(pyarrow, opened.schema_arrow, file)
                wanted = [
                    name,
                    *(c for c in ("bbox", "ref", "id", "extra") if c in opened.schema_arrow.names),
                ]
                entries = opened.read(columns=wanted).to_pylist()
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(f"{str(file)!r} cannot be read as Parquet: {reason(error)}") from None
        found = [_row(entry, name, len(rows) + number) for number, entry in enumerate(entries, start=1)]
        require_sound(found, f"{str(file)!r}, row")
        rows += found
    return rows


def extract_pictures(path: str | Path, images_dir: str | Path, split: str = "train") -> int:
    """Write the embedded pictures to `images_dir`, made if need be, byte for byte; how many.

    Raises InputError when there are none, a name leads out of the folder, or another file has its name already.
    """
    pyarrow, parquet = _pyarrow()
    done: set[str] = set()
    for file in _files(path, split):
        try:
            with parquet.ParquetFile(file) as opened:
                if _picture_column(pyarrow, opened.schema_arrow, file) != "image.path":
                    raise InputError(f"{str(file)!r} holds no pictures, only their names")
                for batch in opened.iter_batches(batch_size=8, columns=["image"]):
                    for picture in batch.column("image").to_pylist():
                        if picture["path"] not in done:
                            _write_picture(picture, Path(images_dir))
                            done.add(picture["path"])
        except pyarrow.ArrowException as error:
            raise InputError(f"{str(file)!r} cannot be read as Parquet: {reason(error)}") from None
    return len(done)


def check_pyarrow() -> None:
    """Raise InputError, which says what to install, when pyarrow is missing."""
    _pyarrow()


def _pyarrow() -> tuple[Any, Any]:
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
    """What the columns cannot hold of a row."""
    extra = {key: value for key, value in row.items() if key not in FIELDS}
    if columns["bbox"] == "float64" and any(isinstance(v, int) for v in row["bbox"]):
        extra["bbox"] = row["bbox"]
    if columns["id"] == "string" and isinstance(row.get("id"), int):
        extra["id"] = row["id"]
    return extra


def _schema(pyarrow: Any, columns: dict[str, str]) -> Any:
    """The Arrow schema, with the features `datasets` wants to find in its metadata."""
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
    """Rows with the bytes of their pictures, in portions that fit into memory."""
    group: list[tuple[dict[str, Any], bytes | None]] = []
    size, name, picture = 0, None, None
    for row in rows:
        if images_dir is not None and row["image"] != name:
            picture, name = find_image(images_dir, row["image"]).read_bytes(), row["image"]
        if group and (len(group) >= GROUP_ROWS or size + len(picture or b"") > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append((row, picture))
        size += len(picture or b"")
    if group:
        yield group


def _entry(row: dict[str, Any], columns: dict[str, str], picture: bytes | None) -> dict[str, Any]:
    identity = row.get("id")
    extra = _extra(row, columns)
    return {
        "image_path": row["image"],
        "image": {"bytes": picture, "path": row["image"]},
        "bbox": [float(v) for v in row["bbox"]] if columns["bbox"] == "float64" else row["bbox"],
        "ref": row["ref"],
        "id": str(identity) if columns["id"] == "string" and identity is not None else identity,
        "extra": to_json(extra) if extra else None,
    }


def _files(path: str | Path, split: str) -> list[Path]:
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{str(path)!r} does not exist, a folder or file of Parquet is wanted")
        return [path]
    files = sorted(path.rglob("*.parquet"))
    found = [file for file in files if file.stem == split or file.stem.startswith(f"{split}-")]
    if not found:
        others = sorted({file.stem.partition("-")[0] for file in files})
        there = f"there is {', '.join(others)}" if others else "there is no Parquet at all"
        raise InputError(f"{str(path)!r} holds no split {split!r}: {there}")
    return found


def _picture_column(pyarrow: Any, schema: Any, file: Path) -> str:
    """Where the names of the pictures are."""
    for column in ("bbox", "ref"):
        if column not in schema.names:
            raise InputError(f"{str(file)!r} has no column {column!r}")
    if "image" in schema.names:
        return "image.path" if pyarrow.types.is_struct(schema.field("image").type) else "image"
    if "image_path" in schema.names:
        return "image_path"
    raise InputError(f"{str(file)!r} has no column 'image' or 'image_path'")


def _row(entry: dict[str, Any], picture_column: str, number: int) -> dict[str, Any]:
    image = entry[picture_column.partition(".")[0]]
    if picture_column == "image.path":
        image = (image or {}).get("path")
    row = {"image": image, "bbox": entry["bbox"], "ref": entry["ref"]}
    if "id" not in entry:
        row["id"] = number
    elif entry["id"] is not None:
        row["id"] = entry["id"]
    extra = entry.get("extra")
    if extra is None:
        return row
    try:
        return {**row, **json.loads(extra)}
    except (TypeError, ValueError, RecursionError):
        raise InputError(f"row {number}: the column 'extra' must hold JSON objects") from None


def _write_picture(picture: dict[str, Any], folder: Path) -> None:
    if not picture["bytes"] or not picture["path"]:
        raise InputError("a row has no picture embedded, or no name for it")
    check_picture_name(picture["path"])
    path = folder / picture["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        if not path.is_file() or path.read_bytes() != picture["bytes"]:
            raise InputError(f"{str(path)!r} is there already and is another picture")
        return
    with atomic_write(path) as temporary:
        temporary.write_bytes(picture["bytes"])
