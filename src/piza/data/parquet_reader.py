"""Rows from Parquet: one file, or a folder as Hugging Face's `datasets` has it. Needs pyarrow (the extra `data`).

The columns are those that `parquet` writes. Files of others may have lists of sentences in `ref`, which become a row
each, and images embedded without a name, which are named by a hash of their bytes. Compression lets a small file hold a
great deal, so what is read is bounded: see `MAX_ROWS`, `MAX_BYTES` and `MAX_IMAGE_BYTES`.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from piza.data.parquet import import_pyarrow
from piza.data.sorec import FIELDS, Names, canonical_name, check_image_name, quote, require_sound
from piza.errors import InputError, reason
from piza.files import atomic_write, parse_json

MAX_ROWS = 10_000_000
"""Of one file."""

MAX_BYTES = 2**29
"""Of all columns but the embedded images, uncompressed, of all files that are read together."""

MAX_IMAGE_BYTES = 2**30
"""Of the embedded images of one row group, uncompressed and counting repeated ones once; a batch of rows takes no more."""

VALUE_BYTES = 32
"""Of a number of a list, as a Python value."""

BATCH = 4096
"""Rows that become Python values at once."""


def read_hf(path: str | Path, split: str = "train") -> list[dict[str, Any]]:
    """Rows of a Parquet file, or of the files of one split in a folder.

    Embedded images are read to tell them apart by their bytes, and not kept.

    Raises InputError when pyarrow or a column is missing, the files are no Parquet or hold more than is read, a row has a
    fault, or two different images have one name.
    """
    rows: list[dict[str, Any]] = []
    hashes: dict[str, bytes] = {}
    room = MAX_BYTES
    for file in _files(path, split):
        with _opened(file) as opened:
            columns = _checked_columns(opened, file)
            entries, used = _entries(opened, columns, file, room)
            room -= used
            if columns["image"].endswith(".bytes"):
                for entry, (name, data) in zip(entries, _images(opened, file), strict=True):
                    entry["image"] = name
                    _same_image(hashes, name, data)
        for number, entry in enumerate(entries, start=1):
            found = _rows(entry, len(rows) + 1, f"{str(file)!r}, row {number}")
            require_sound(
                found, f"{str(file)!r}, row", Names(image=columns["image"].partition(".")[0]), number
            )
            rows += found
    return rows


def extract_images(path: str | Path, images_dir: str | Path, split: str = "train") -> int:
    """Write the embedded images to `images_dir`, made if need be, byte for byte; how many different ones.

    Raises InputError when there are none, a name leads out of the folder, another file has its name already, or two
    different images have one name.
    """
    hashes: dict[str, bytes] = {}
    for file in _files(path, split):
        with _opened(file) as opened:
            if not _checked_columns(opened, file)["image"].endswith(".bytes"):
                raise InputError(f"{str(file)!r} holds no images, only their names")
            for name, data in _images(opened, file):
                if _same_image(hashes, name, data):
                    continue
                if not data:
                    raise InputError(f"{str(file)!r} has a row without an embedded image, that of {name!r}")
                _write_image(name, data, Path(images_dir))
    return len(hashes)


def _files(path: str | Path, split: str) -> list[Path]:
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{str(path)!r} does not exist, expected a folder or file of Parquet")
        return [path]
    files = sorted(path.rglob("*.parquet"))
    found = [file for file in files if file.stem == split or file.stem.startswith(f"{split}-")]
    if not found:
        others = sorted({file.stem.partition("-")[0] for file in files})
        there = f"there is {', '.join(others)}" if others else "there is no Parquet at all"
        raise InputError(f"{str(path)!r} holds no split {split!r}: {there}")
    return found


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A Parquet file; whatever its library complains about becomes one sentence.

    Texts stay dictionaries in memory, so that a repeated one is there once.
    """
    pyarrow, parquet = import_pyarrow()
    try:
        with parquet.ParquetFile(file) as opened:
            count, schema = opened.metadata.num_rows, opened.metadata.schema
            leaves = [schema.column(number) for number in range(len(schema))]
        if count > MAX_ROWS:
            raise InputError(f"{str(file)!r} holds {count:,} rows, at most {MAX_ROWS:,} are read")
        texts = [
            leaf.path
            for leaf in leaves
            if leaf.physical_type == "BYTE_ARRAY" and not leaf.path.endswith(".bytes")
        ]
        with parquet.ParquetFile(file, read_dictionary=texts) as opened:
            yield opened
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{str(file)!r} cannot be read as Parquet: it takes too much memory") from None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, pyarrow.ArrowException) as error:
        raise InputError(f"{str(file)!r} cannot be read as Parquet: {reason(error)}") from None


def _checked_columns(opened: Any, file: Path) -> dict[str, str]:
    """The path in the file of each column that is read: "image", "bbox", "ref" and, where they are there, "id", "extra"."""
    import pyarrow.types as kinds

    schema = opened.schema_arrow
    there = f"; its columns are {', '.join(schema.names[:20])}"
    twice = next(
        (name for name in ("image", "image_path", *FIELDS, "extra") if schema.names.count(name) > 1), None
    )
    if twice is not None:
        raise InputError(f"{str(file)!r} has several columns {twice!r}")
    for name in ("bbox", "ref"):
        if name not in schema.names:
            raise InputError(f"{str(file)!r} has no column {name!r}{there}")
    image = "image" if "image" in schema.names else "image_path"
    if image not in schema.names:
        raise InputError(f"{str(file)!r} has no column 'image' or 'image_path'{there}")
    columns = {"image": image, "bbox": "bbox", "ref": "ref"}
    columns |= {name: name for name in ("id", "extra") if name in schema.names}

    def text(kind: Any) -> bool:
        kind = kind.value_type if kinds.is_dictionary(kind) else kind
        return bool(kinds.is_string(kind) or kinds.is_large_string(kind))

    def several(kind: Any, of: Callable[[Any], bool]) -> bool:
        lists = kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)
        return lists and of(kind.value_type)

    def number(kind: Any) -> bool:
        return bool(kinds.is_integer(kind) or kinds.is_floating(kind))

    kind = {name: schema.field(path).type for name, path in columns.items()}
    if kinds.is_struct(kind["image"]):
        fields = {field.name for field in kind["image"]}
        if not fields & {"bytes", "path"}:
            raise InputError(f"{str(file)!r}: the column {image!r} has neither 'bytes' nor 'path'")
        columns["image"] = f"{image}.bytes" if "bytes" in fields else f"{image}.path"
    elif not text(kind["image"]):
        raise InputError(
            f"{str(file)!r}: the column {image!r} must hold names or images, but it is {kind['image']}"
        )
    expected = {
        "bbox": ("lists of four numbers", several(kind["bbox"], number)),
        "ref": ("texts", text(kind["ref"]) or several(kind["ref"], text)),
        "id": (
            "whole numbers or texts",
            "id" not in kind or kinds.is_integer(kind["id"]) or text(kind["id"]),
        ),
        "extra": ("texts", "extra" not in kind or text(kind["extra"])),
    }
    for name, (what, right) in expected.items():
        if not right:
            found = str(kind[name]).partition(", indices=")[0].removeprefix("dictionary<values=")
            raise InputError(f"{str(file)!r}: the column {name!r} must hold {what}, but it is {found}")
    return columns


def _entries(opened: Any, columns: dict[str, str], file: Path, room: int) -> tuple[list[dict[str, Any]], int]:
    """The values of each row but for embedded images, and how many bytes they are. Raises InputError for over `room`."""
    too_much = InputError(
        f"{str(file)!r} expands to over {MAX_BYTES // 2**20} MB of boxes and texts, which is more than is read"
    )
    read = {name: path for name, path in columns.items() if not path.endswith(".bytes")}
    if _stored_bytes(opened.metadata, set(read.values())) > room:
        raise too_much
    entries: list[dict[str, Any]] = []
    used = 0
    for batch in opened.iter_batches(batch_size=BATCH, columns=list(read.values())):
        used += sum(_expanded_bytes(column) for column in batch.columns)
        if used > room:
            raise too_much
        values = {name: batch.column(path.partition(".")[0]).to_pylist() for name, path in read.items()}
        if read.get("image", "").endswith(".path"):
            values["image"] = [(image or {}).get("path") for image in values["image"]]
        entries += [dict(zip(values, row)) for row in zip(*values.values())]
    return entries, used


def _stored_bytes(metadata: Any, columns: set[str]) -> int:
    """What the columns take in memory before texts are repeated, by the file's own account."""
    total = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        for number in range(group.num_columns):
            chunk = group.column(number)
            path = chunk.path_in_schema
            if path in columns or path.partition(".")[0] in columns:
                # Equal values of a list are a few bits each in the file.
                total += max(chunk.total_uncompressed_size, VALUE_BYTES * chunk.num_values)
    return total


def _expanded_bytes(column: Any) -> int:
    """Bytes of an Arrow array's values when each of them stands by itself."""
    import pyarrow.compute as compute
    import pyarrow.types as kinds

    if kinds.is_dictionary(column.type):
        lengths = compute.binary_length(column.dictionary).take(column.indices)
        return int(compute.sum(lengths).as_py() or 0)
    if kinds.is_struct(column.type):
        return sum(_expanded_bytes(part) for part in column.flatten())
    if kinds.is_list(column.type) or kinds.is_large_list(column.type):
        return _expanded_bytes(column.flatten())
    return int(column.nbytes)


def _images(opened: Any, file: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the embedded image of each row; an image without a name is named by a hash of its bytes."""
    names = opened.schema_arrow.names
    column = "image" if "image" in names else "image_path"
    for index in range(opened.metadata.num_row_groups):
        group = opened.metadata.row_group(index)
        chunks = [group.column(at) for at in range(group.num_columns)]
        size = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.partition(".")[0] == column)
        if size > MAX_IMAGE_BYTES:
            raise InputError(
                f"{str(file)!r} has a row group with {size:,} bytes of images, at most {MAX_IMAGE_BYTES:,} are read"
            )
        # Any row may hold the largest image, of which the file needs to have one only.
        rows = max(1, min(64, MAX_IMAGE_BYTES // max(size, 1)))
        for batch in opened.iter_batches(batch_size=rows, row_groups=[index], columns=[column]):
            for image in batch.column(column).to_pylist():
                data = (image or {}).get("bytes") or b""
                name = (image or {}).get("path") or (_name_of(data) if data else "")
                yield name, data


def _name_of(data: bytes) -> str:
    """A name for an image without one: the same bytes get the same name."""
    beginnings = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}
    beginnings |= {b"II*\0": ".tif", b"MM\0*": ".tif"}
    suffix = next((suffix for start, suffix in beginnings.items() if data.startswith(start)), "")
    return hashlib.blake2b(data, digest_size=12).hexdigest() + suffix


def _same_image(hashes: dict[str, bytes], name: str, data: bytes) -> bool:
    """Whether an image was met before. Raises InputError for another image of the same name, in any spelling."""
    digest = hashlib.blake2b(data, digest_size=16).digest()
    key = canonical_name(name)
    if key not in hashes:
        hashes[key] = digest
        return False
    if hashes[key] != digest:
        raise InputError(f"two different images are embedded under one name, {quote(name)}")
    return True


def _rows(entry: dict[str, Any], number: int, where: str) -> list[dict[str, Any]]:
    """The row of an entry, or one for each of its sentences; `number` is the id of the first if it has none."""
    row = {"image": entry["image"], "bbox": entry["bbox"], "ref": entry["ref"]}
    if "id" not in entry:
        row["id"] = number
    elif entry["id"] is not None:
        row["id"] = entry["id"]
    if entry.get("extra") is not None:
        try:
            extra = parse_json(entry["extra"], f"{where}: the column 'extra'")
        except InputError:
            raise
        except (ValueError, RecursionError):
            extra = None
        if not isinstance(extra, dict):
            raise InputError(f"{where}: the column 'extra' must hold JSON objects")
        row |= extra
    sentences = row["ref"]
    if not isinstance(sentences, list) or not sentences:
        return [row]
    if len(sentences) == 1 or "id" not in row:
        return [{**row, "ref": sentence} for sentence in sentences]
    return [
        {**row, "ref": sentence, "id": f"{row['id']}-{place}"} for place, sentence in enumerate(sentences, 1)
    ]


def _write_image(name: str, data: bytes, folder: Path) -> None:
    check_image_name(name)
    path = folder / name.replace("\\", "/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        if not path.is_file() or path.read_bytes() != data:
            raise InputError(f"{str(path)!r} exists already and is another image")
        return
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
