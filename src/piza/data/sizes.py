"""The sizes of the images that rows are about, read from the heads of the files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias

from piza.data.sorec import find_image
from piza.errors import InputError
from piza.image import image_size

Sizes: TypeAlias = dict[str, tuple[int, int]]
"""Name of an image -> (width, height) in pixels, turned upright."""

OnMissing: TypeAlias = Literal["error", "skip"]


def read_sizes(images: Iterable[str], images_dir: str | Path) -> tuple[Sizes, dict[str, str]]:
    """The size of each image, and for those without a readable one the reason.

    Raises InputError when there is no folder `images_dir`.
    """
    if not Path(images_dir).is_dir():
        raise InputError(f"the folder of images {str(images_dir)!r} does not exist")
    sizes: Sizes = {}
    reasons: dict[str, str] = {}
    for image in dict.fromkeys(images):
        try:
            sizes[image] = image_size(find_image(images_dir, image))
        except InputError as error:
            reasons[image] = str(error)
    return sizes, reasons


def rows_with_sizes(
    rows: list[dict[str, Any]], images_dir: str | Path, on_missing: OnMissing = "error"
) -> tuple[list[dict[str, Any]], Sizes]:
    """The rows whose image can be read, and the sizes of their images.

    `rows` as `read_values` gives them. An image that cannot be read: "error" raises InputError, which names it; "skip"
    leaves its rows out. Raises InputError too when no row is left.
    """
    sizes, reasons = read_sizes((row["image"] for row in rows), images_dir)
    if reasons and on_missing == "error":
        image, why = next(iter(reasons.items()))
        raise InputError(why if image in why else f"the image {image!r} cannot be used: {why}")
    kept = [row for row in rows if row["image"] in sizes]
    if rows and not kept:
        raise InputError(f"none of the {len(rows)} rows has an image in {str(images_dir)!r}")
    return kept, sizes
