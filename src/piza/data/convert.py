"""From one format of rows to another."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piza.data import formats, parquet, parquet_reader
from piza.data.box_formats import BoxFormat, doubt_of, read_values_with_boxes, require_plausible
from piza.data.sizes import OnMissing, Sizes, rows_with_sizes
from piza.data.sorec import read_values, write_values
from piza.errors import InputError
from piza.files import check_writable

NAMES = ("sorec", "coco", "refcoco", "odvg", "hf")

_READERS = {"coco": formats.read_coco, "refcoco": formats.read_refcoco, "odvg": formats.read_odvg}
_WRITERS = {"coco": formats.write_coco, "refcoco": formats.write_refcoco, "odvg": formats.write_odvg}
"""The formats that know the sizes of their images."""


@dataclass(frozen=True)
class Converted:
    """rows: how many were written. skipped: left out, because their image cannot be read. path: the file. doubt: what is
    wrong with boxes that were written as they are, in one sentence; None where they are plausible or sizes are not known."""

    rows: int
    skipped: int
    path: Path
    doubt: str | None = None


def convert(
    source: str | Path,
    out: str | Path,
    from_format: str,
    to_format: str,
    images_dir: str | Path | None = None,
    on_missing: OnMissing = "error",
    embed: bool = False,
    split: str = "train",
    boxes: BoxFormat = BoxFormat(),  # noqa: B008
) -> Converted:
    """Read rows in one of the formats `NAMES` and write them in another; there and back nothing is lost.

    coco, refcoco and odvg need the sizes of the images. They come from the heads of the files in `images_dir`, or,
    without it, from the source if it knows them. With `images_dir`, an image that cannot be read is an error, or its
    rows are left out (`on_missing` "skip"); absolute names of images in that folder become relative to it. `embed` (for
    hf) puts the images into the file; `split` is which part of a folder for `datasets` is read or written. `boxes`: how the boxes of rows in SOREC's format are written.

    Raises InputError for a source that is not in its format, an image or size that is missing, and an `out` that cannot
    be written.
    """
    for name in (from_format, to_format):
        if name not in NAMES:
            raise InputError(f"unknown format {name!r}, expected one of {', '.join(NAMES)}")
    if on_missing not in ("error", "skip"):
        raise InputError(f"on_missing must be 'error' or 'skip', got {on_missing!r}")
    if embed and to_format != "hf":
        raise InputError(f"images can be embedded in hf only, not in {to_format}")
    if embed and images_dir is None:
        raise InputError("to embed images, the folder of images is needed (--images)")
    if to_format == "hf":
        parquet.import_pyarrow()
    else:
        check_writable(out)
    if boxes.is_given and from_format != "sorec":
        raise InputError(
            f"the format {from_format!r} says how its boxes are written; --box-format is for sorec"
        )
    rows, sizes = _read(source, from_format, split, images_dir, boxes)
    kept = rows
    if images_dir is not None:
        rows = [{**row, "image": _relative(row["image"], images_dir)} for row in rows]
        kept, sizes = rows_with_sizes(rows, images_dir, on_missing)
    elif to_format in _WRITERS:
        unknown = next((row["image"] for row in rows if row["image"] not in sizes), None)
        if unknown is not None:
            raise InputError(
                f"{to_format} needs the size of the image {unknown!r}, give the folder of images (--images)"
            )
    doubt = _doubt(kept, sizes, source, from_format, boxes)
    written = _write(kept, sizes, out, to_format, split, images_dir, embed)
    return Converted(len(kept), len(rows) - len(kept), written, doubt)


def _doubt(
    rows: list[dict[str, Any]], sizes: Sizes, source: str | Path, from_format: str, boxes: BoxFormat
) -> str | None:
    if boxes.is_given:  # then reading has looked at them
        return None
    try:
        require_plausible(rows, sizes, str(source), boxes)
        doubt = doubt_of(rows, sizes, str(source), boxes)
    except InputError as error:  # what a file holds is kept, but not without a word
        doubt = str(error)
    return doubt.partition(";")[0] if doubt and from_format != "sorec" else doubt


def _relative(image: str, images_dir: str | Path) -> str:
    """A name as it is, but an absolute one of a file in the folder relative to the folder."""
    path = Path(image)
    if path.is_absolute() and path.is_relative_to(Path(images_dir).absolute()):
        return path.relative_to(Path(images_dir).absolute()).as_posix()
    return image


def _read(
    source: str | Path, name: str, split: str, images_dir: str | Path | None, boxes: BoxFormat
) -> tuple[list[dict[str, Any]], Sizes]:
    if name == "sorec":
        # What a file holds is kept, even boxes that leave their image, unless they are to be read in another way.
        return (
            read_values_with_boxes(source, images_dir, boxes) if boxes.is_given else read_values(source)
        ), {}
    if name == "hf":
        return parquet_reader.read_hf(source, split), {}
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
