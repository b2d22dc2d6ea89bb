"""From one format of rows to another."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piza.data import formats, parquet
from piza.data.sizes import OnMissing, Sizes, rows_with_sizes
from piza.data.sorec import read_values, write_values
from piza.errors import InputError
from piza.files import check_writable

NAMES = ("sorec", "coco", "refcoco", "odvg", "hf")

_READERS = {"coco": formats.read_coco, "refcoco": formats.read_refcoco, "odvg": formats.read_odvg}
_WRITERS = {"coco": formats.write_coco, "refcoco": formats.write_refcoco, "odvg": formats.write_odvg}
"""The formats that know the sizes of their pictures."""


@dataclass(frozen=True)
class Converted:
    """rows: how many were written. skipped: left out, because their picture cannot be read. path: what was written."""

    rows: int
    skipped: int
    path: Path


def convert(
    source: str | Path,
    out: str | Path,
    from_format: str,
    to_format: str,
    images_dir: str | Path | None = None,
    on_missing: OnMissing = "error",
    embed: bool = False,
    split: str = "train",
) -> Converted:
    """Read rows in one of the formats `NAMES` and write them in another; there and back nothing is lost.

    coco, refcoco and odvg need the sizes of the pictures. They come from the heads of the files in `images_dir`, or,
    without it, from the source if it knows them. With `images_dir`, a picture that cannot be read is an error, or its
    rows are left out (`on_missing` "skip"). `embed` (for hf) puts the pictures into the file; `split` is which part of
    a folder for `datasets` is read or written.

    Raises InputError for a source that is not in its format, a picture or size that is missing, and an `out` that cannot
    be written.
    """
    for name in (from_format, to_format):
        if name not in NAMES:
            raise InputError(f"unknown format {name!r}, one of {', '.join(NAMES)} is wanted")
    if on_missing not in ("error", "skip"):
        raise InputError(f"on_missing must be 'error' or 'skip', got {on_missing!r}")
    if embed and to_format != "hf":
        raise InputError(f"pictures can be embedded in hf only, not in {to_format}")
    if embed and images_dir is None:
        raise InputError("to embed pictures, the folder of pictures is needed (--images)")
    if to_format == "hf":
        parquet.check_pyarrow()
    else:
        check_writable(out)
    rows, sizes = _read(source, from_format, split)
    kept = rows
    if images_dir is not None:
        kept, sizes = rows_with_sizes(rows, images_dir, on_missing)
    elif to_format in _WRITERS:
        unknown = next((row["image"] for row in rows if row["image"] not in sizes), None)
        if unknown is not None:
            raise InputError(
                f"{to_format} needs the size of the picture {unknown!r}, give the folder of pictures (--images)"
            )
    return Converted(
        len(kept), len(rows) - len(kept), _write(kept, sizes, out, to_format, split, images_dir, embed)
    )


def _read(source: str | Path, name: str, split: str) -> tuple[list[dict[str, Any]], Sizes]:
    if name == "sorec":
        return read_values(source), {}
    if name == "hf":
        return parquet.read_hf(source, split), {}
    return _READERS[name](source)


def _write(
    rows: list[dict[str, Any]],
    sizes: Sizes,
    out: str | Path,
    name: str,
    split: str,
    images_dir: str | Path | None,
    embed: bool,
) -> Path:
    if name == "hf":
        return parquet.write_hf(rows, out, split, images_dir if embed else None)
    if name == "sorec":
        write_values(rows, out)
    else:
        _WRITERS[name](rows, sizes, out)
    return Path(out)
