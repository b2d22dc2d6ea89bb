"""The rows of a batch: which sentences to ask about which images. They are kept as columns, some tens of bytes a row, so that
millions fit into memory, and handed out image by image."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from piza.data.parquet import import_pyarrow
from piza.data.sorec import check_image_name, kind_of, show
from piza.errors import InputError, reason
from piza.files import parse_json
from piza.sources.addresses import is_address, open_on, reach, why

SUFFIXES = (".jsonl", ".csv", ".parquet")
CHUNK_ROWS = 50_000  # that are Python objects at once


@dataclass(frozen=True)
class ImageTask:
    """All rows about one image, in the order of the manifest.

    number: of the image, from 0, in the order of first appearance. rows: their places in the manifest, from 0.
    ids: as in the manifest; None where it has none.
    """

    number: int
    image: str
    rows: tuple[int, ...]
    sentences: tuple[str, ...]
    ids: tuple[int | str | None, ...]


@dataclass(eq=False)
class Manifest:
    """Rows of (image, sentence, id).

    table: an Arrow table of the columns image, sentence and id, in the order of the file.
    digest: equal for equal rows only, whatever the format of the file.
    """

    table: Any
    digest: str

    def __post_init__(self) -> None:
        codes = self.table["image"].combine_chunks().dictionary_encode().indices.to_numpy()
        grouped = not len(codes) or bool((np.diff(codes) >= 0).all())
        self._order = None if grouped else np.argsort(codes, kind="stable")
        self.starts: NDArray[np.int64] = np.append(0, np.cumsum(np.bincount(codes))).astype(np.int64)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return int(self.table.num_rows)

    @property
    def num_images(self) -> int:
        """How many different images they name."""
        return len(self.starts) - 1

    @cached_property
    def has_text_ids(self) -> bool:
        """Whether ids are texts, and not whole numbers."""
        pyarrow, _ = import_pyarrow()
        return not pyarrow.types.is_integer(self.table["id"].type)

    def task(self, number: int) -> ImageTask:
        """The rows about an image."""
        begin, end = int(self.starts[number]), int(self.starts[number + 1])
        rows = np.arange(begin, end) if self._order is None else self._order[begin:end]
        found = self.table.take(rows).to_pydict()
        return ImageTask(
            number, found["image"][0], tuple(rows.tolist()), tuple(found["sentence"]), tuple(found["id"])
        )


def read_manifest(path: str | Path) -> Manifest:
    """Read a file, here or behind an address: JSON lines, CSV with a line of names, or Parquet, as its name ends.

    Columns are image (a name relative to the folder of images), sentence, and if wanted id (a whole number or a text, each
    once); others are not read.

    Raises InputError, naming the file and the row (from 1), for a missing column, a value of another kind, a name that leads
    out of the folder of images, two rows of one id, and a file that is empty or cannot be read. Needs pyarrow.
    """
    pyarrow, _ = import_pyarrow()
    name = repr(str(path))
    suffix = next((s for s in SUFFIXES if str(path).lower().endswith(s)), None)
    if suffix is None:
        raise InputError(f"expected a manifest that ends in .jsonl, .csv or .parquet, got {name}")
    digest = hashlib.blake2b(digest_size=16)
    chunks: list[dict[str, list[Any]]] = []
    tables = []
    with _open(path, name) as file:
        for number, values in enumerate(_READERS[suffix](file, name), start=1):
            row = _checked(values, f"{name}, row {number}")
            digest.update(f"{json.dumps(row)}\n".encode())
            if not chunks:
                chunks.append({"image": [], "sentence": [], "id": []})
            for column, value in zip(chunks[0].values(), row):
                column.append(value)
            if len(chunks[0]["id"]) >= CHUNK_ROWS:
                tables.append(_table(pyarrow, chunks.pop()))
    tables += [_table(pyarrow, chunk) for chunk in chunks]
    if not tables:
        raise InputError(f"there are no rows in {name}")
    table = _joined(pyarrow, tables)
    _check_ids(table, name)
    return Manifest(table, digest.hexdigest())


def _open(path: str | Path, name: str) -> IO[bytes]:
    try:
        if is_address(str(path)):
            return open_on(*reach(str(path)))
        return open(path, "rb")
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"the manifest {name} does not exist") from None
    except Exception as error:  # as many kinds as there are file systems
        raise InputError(f"the manifest {name} cannot be read: {why(error)}") from None


def _json_lines(file: IO[bytes], name: str) -> Iterator[Any]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            yield parse_json(text, f"{name}, line {number}")
        except InputError:
            raise
        except (ValueError, RecursionError):
            raise InputError(f"{name}, line {number}: this is not JSON in UTF-8") from None


def _csv(file: IO[bytes], name: str) -> Iterator[Any]:
    def text() -> Iterator[str]:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise InputError(f"{name}, line {number}: this is not text in UTF-8") from None

    try:
        reader = csv.DictReader(text(), strict=True)
        for number, values in enumerate(reader, start=1):
            if None in values or None in values.values():
                raise InputError(
                    f"{name}, row {number}: expected {len(reader.fieldnames or ())} fields as in the line of names, got "
                    "another number"
                )
            yield {key: value for key, value in values.items() if key != "id" or value}
    except csv.Error as error:
        raise InputError(f"{name} is not CSV: {reason(error)}") from None


def _parquet(file: IO[bytes], name: str) -> Iterator[Any]:
    _, parquet = import_pyarrow()
    try:
        table = parquet.ParquetFile(file)
        columns = [column for column in ("image", "sentence", "id") if column in table.schema_arrow.names]
        if len(columns) < 2 or "sentence" not in columns:
            columns = table.schema_arrow.names  # to be named in the message
        for batch in table.iter_batches(batch_size=CHUNK_ROWS, columns=columns):
            yield from batch.to_pylist()
    except InputError:
        raise
    except Exception as error:  # pyarrow raises many kinds
        raise InputError(f"{name} cannot be read as Parquet: {reason(error)}") from None


_READERS = {".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}


def _checked(values: Any, where: str) -> tuple[str, str, int | str | None]:
    """Image, sentence and id of a row. Raises InputError for anything else."""
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected an object with image and sentence, but it is {kind_of(values)}")
    for column in ("image", "sentence"):
        if column not in values:
            others = ", ".join(map(str, values)) or "nothing"
            raise InputError(
                f"{where}: the column {column!r} is missing, expected image, sentence and perhaps id; it has {others:.200}"
            )
        value = values[column]
        if not isinstance(value, str) or not value.strip() or not _is_unicode(value):
            raise InputError(f"{where}: {column!r} must be a text that is not empty, got {_shown(value)}")
    identity = values.get("id")
    right = identity is None or (isinstance(identity, (int, str)) and not isinstance(identity, bool))
    if not right or (isinstance(identity, str) and not (identity and _is_unicode(identity))):
        raise InputError(f"{where}: 'id' must be a whole number or a text, got {_shown(identity)}")
    try:
        check_image_name(values["image"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return values["image"], values["sentence"], identity


def _shown(value: Any) -> str:
    try:
        return show(value)
    except (TypeError, ValueError):  # a type of Parquet that JSON does not have
        return f"{value!r:.60}"


def _is_unicode(text: str) -> bool:
    """Whether it can be written: JSON may escape half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _table(pyarrow: Any, columns: dict[str, list[Any]]) -> Any:
    """An Arrow table of some rows; ids are whole numbers of 64 bits if all are, else texts."""
    ids = columns["id"]
    whole = all(value is None or (isinstance(value, int) and -(2**63) <= value < 2**63) for value in ids)
    if not whole:
        ids = [None if value is None else str(value) for value in ids]
    text = pyarrow.large_string()
    return pyarrow.table(
        {
            "image": pyarrow.array(columns["image"], text),
            "sentence": pyarrow.array(columns["sentence"], text),
            "id": pyarrow.array(ids, pyarrow.int64() if whole else text),
        }
    )


def _joined(pyarrow: Any, tables: list[Any]) -> Any:
    """One table; ids are texts if those of any table are."""
    text = pyarrow.large_string()
    if any(table["id"].type == text for table in tables):
        tables = [table.set_column(2, "id", table["id"].cast(text)) for table in tables]
    return pyarrow.concat_tables(tables).combine_chunks()


def _check_ids(table: Any, name: str) -> None:
    import pyarrow.compute

    ids = table["id"].drop_null()
    if pyarrow.compute.count_distinct(ids).as_py() == len(ids):
        return
    counts = pyarrow.compute.value_counts(ids)
    repeated = next(one for one in counts if one["counts"].as_py() > 1)["values"]
    rows = pyarrow.compute.indices_nonzero(pyarrow.compute.equal(table["id"], repeated)).to_pylist()
    raise InputError(f"{name}: the rows {rows[0] + 1} and {rows[1] + 1} have one id, {repeated.as_py()!r}")
