"""The folder that a batch writes: parts of rows in Parquet, and `_run.json`, which says what they are the answers of.

A part holds the rows of consecutive images, and appears whole or not at all. Which rows it holds depends on the manifest and
`part_rows` alone. Its own metadata names the run, so that parts of another one are never taken for ours.
"""

import hashlib
import io
import json
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.batch.manifest import Manifest
from piza.batch.storage import Folder
from piza.data.parquet import import_pyarrow
from piza.data.sorec import show
from piza.errors import InputError, reason
from piza.files import is_temporary

RUN_FILE = "_run.json"  # with a leading underscore, by which readers of Parquet leave it out
_PART = re.compile(r"part-[0-9]{6,}\.parquet")
_KEY = b"piza"  # of the metadata of a part
_PACKAGES = ("torch", "transformers", "onnxruntime", "openvino", "numpy", "pillow")

NUM_PARTS, MIN_ROWS, MAX_ROWS = 200, 20, 5_000
"""A run has about so many parts, of at least and at most so many rows, unless it is told otherwise: a part that was not
finished is done again."""


@dataclass(frozen=True)
class PartNote:
    """What a part says of itself: how many rows it holds, and how many of them an error."""

    rows: int
    errors: int


def default_part_rows(num_rows: int) -> int:
    """How many rows a part has, of a run over so many."""
    return min(max(num_rows // NUM_PARTS, MIN_ROWS), MAX_ROWS)


def split_parts(manifest: Manifest, part_rows: int) -> list[range]:
    """The images of each part, consecutive ones with about `part_rows` rows together."""
    part_of: NDArray[np.int64] = manifest.starts[:-1] // min(part_rows, manifest.num_rows)
    firsts = np.flatnonzero(np.diff(part_of, prepend=-1)).tolist()
    return [range(begin, end) for begin, end in zip(firsts, [*firsts[1:], manifest.num_images])]


def part_name(number: int) -> str:
    """The name of a part, from 0."""
    return f"part-{number:06}.parquet"


class PartFolder:
    """The folder of one run. settings: plain values, all that must be equal for parts to belong together."""

    def __init__(self, folder: Folder, settings: dict[str, Any], text_ids: bool):
        self._folder, self._settings = folder, settings
        self._mark = hashlib.blake2b(
            json.dumps(settings, sort_keys=True).encode(), digest_size=16
        ).hexdigest()
        self._schema = _schema(text_ids)
        self._machine = machine()

    def begin(self) -> set[str]:
        """Make the folder, or go on in it; the names of the parts that are there.

        A run that wrote no part leaves nothing that could be lost, and another one may take its folder. Raises InputError when
        the folder holds parts of another run or other files, or cannot be written to.
        """
        self._folder.prepare()
        names = {name for name in self._folder.names() if not is_temporary(name)}
        if RUN_FILE not in names and names:
            raise InputError(
                f"cannot write to {self._folder.place!r}: expected a new or an empty folder, or one of an earlier run"
            )
        there = self._read_run() if RUN_FILE in names else {}
        if names - {RUN_FILE}:
            self._compare(there)
        elif there.get("run") != self._mark:
            content = {
                "run": self._mark,
                **self._settings,
                "begun": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": self._machine,
            }
            self._folder.write(RUN_FILE, f"{json.dumps(content, indent=2)}\n".encode())
        return {name for name in names if _PART.fullmatch(name)}

    def note(self, name: str) -> PartNote | None:
        """What a part says of itself; None where it is damaged, so that it has to be written again.

        Raises InputError for a part of another run, and where the folder cannot be read.
        """
        _, parquet = import_pyarrow()
        try:
            try:
                with self._folder.open(name) as file:  # of a large part behind an address, its end is enough
                    metadata = parquet.read_metadata(file)
            except Exception:  # the part's fault, or that of the way to it
                metadata = parquet.read_metadata(io.BytesIO(self._bytes(name)))
            said = json.loads(metadata.metadata[_KEY])
            mark, errors = said["run"], int(said["errors"])
        except InputError:
            raise
        except Exception:  # pyarrow raises many kinds for bytes that are no Parquet
            return None
        if mark != self._mark:
            raise InputError(f"'{self._folder.place}/{name}' is a part of another run")
        return PartNote(metadata.num_rows, errors)

    def read(self, name: str) -> list[dict[str, Any]]:
        """The records of a part. Raises InputError where it cannot be read."""
        _, parquet = import_pyarrow()
        try:
            records: list[dict[str, Any]] = parquet.read_table(io.BytesIO(self._bytes(name))).to_pylist()
        except InputError:
            raise
        except Exception as error:  # pyarrow raises many kinds
            raise InputError(f"'{self._folder.place}/{name}' is damaged: {reason(error)}") from None
        return records

    def write(self, name: str, records: Sequence[dict[str, Any]]) -> None:
        """Write a part. Raises InputError, such as for a full disk."""
        pyarrow, parquet = import_pyarrow()
        errors = sum(record["error"] is not None for record in records)
        said = {"run": self._mark, "errors": errors, "machine": self._machine}
        schema = self._schema.with_metadata({_KEY: json.dumps(said)})
        content = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(records, schema), content, compression="zstd")
        self._folder.write(name, content.getvalue())

    def _bytes(self, name: str) -> bytes:
        try:
            with self._folder.open(name) as file:
                return file.read()
        except Exception as error:  # as many kinds as there are file systems
            raise InputError(f"cannot read '{self._folder.place}/{name}': {reason(error)}") from None

    def _read_run(self) -> dict[str, Any]:
        try:
            content = json.loads(self._bytes(RUN_FILE))
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            content = None
        if not isinstance(content, dict):
            raise InputError(f"'{self._folder.place}/{RUN_FILE}' is damaged, so that no run is known by it")
        return content

    def _compare(self, other: dict[str, Any]) -> None:
        for name, value in self._settings.items():
            if other.get(name) != value:
                raise InputError(
                    f"the folder {self._folder.place!r} holds a run with other settings: its {name!r} is "
                    f"{show(other.get(name))}, here it is {show(value)}; name another folder, or give the same settings"
                )


def package_version() -> str:
    """The version of piza that is installed."""
    try:
        return version("piza")
    except PackageNotFoundError:
        return "unknown"


def machine() -> dict[str, Any]:
    """Where a run computes: system, processor, Python and the packages that answers may depend on, as far as installed."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        "packages": packages,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = (line.partition(":")[2].strip() for line in file if line.startswith("model name"))
            return next(names, platform.machine())
    except OSError:
        return platform.processor() or platform.machine()


def _schema(text_ids: bool) -> Any:
    pyarrow, _ = import_pyarrow()
    text, whole, number = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    columns = {
        "row": whole, "id": text if text_ids else whole, "image": text, "sentence": text,
        "box_xyxy": pyarrow.list_(number), "score": number, "found": pyarrow.bool_(), "num_looks": whole,
        "stopped": text, "unknown_words": pyarrow.list_(text), "error": text,
    }  # fmt: skip
    return pyarrow.schema(list(columns.items()))
