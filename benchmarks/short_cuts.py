"""What short cuts cost in accuracy: ways of shrinking, and sizes of later looks, on rows in SOREC's format.

    python benchmarks/short_cuts.py rows.json photos/ [--limit 200] [--only "as it is,later 192"] [--model mini]

"as it is": what piza does. "one step": windows shrunk by Pillow's filter alone. "reduced decoding": the first look's JPEG is
decoded at a half, a quarter or an eighth, as far as it stays twice as large as the look. "later N": later looks with an
input of N x N pixels. "grown at most F": later looks that enlarge no window by more than this. Nothing here is asserted anywhere.
"""

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import piza
import piza.search.predictor
from piza import image
from piza.data.sorec import read_rows
from piza.evaluation import run as evaluation

LATER = (128, 160, 192, 256)
GROWN = (1.0, 1.5, 2.0)
LEAST = 96  # pixels: no input becomes smaller


@contextmanager
def way(name: str, model: Any) -> Iterator[None]:
    """piza, changed as the name of a way says."""
    kind, _, number = name.rpartition(" ")
    before = model.config.later_pixels
    patches = []
    if name == "one step":
        patches = [patch.object(image, "REDUCING_GAP", None)]
    elif name == "reduced decoding":
        patches = [patch.object(piza.search.predictor, "cut", _reduced)]
    elif kind == "later":
        model.config.later_pixels = int(number)
    elif kind == "grown at most":
        patches = [patch.object(piza.search.predictor, "input_size", _grown(float(number)))]
    elif name != "as it is":
        raise SystemExit(f"there is no way {name!r}; see --help")
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()
        model.config.later_pixels = before


def _reduced(given: Any, window: NDArray, size: tuple[int, int]) -> NDArray:
    height, width = given.shape[:2]
    if not isinstance(given, image.DecodedImage) or tuple(window) != (0, 0, width, height):
        return image.cut(given, window, size)
    with Image.open(given.image.filename) as opened:
        opened.draft("RGB", (2 * size[0], 2 * size[1]))
        return np.array(opened.resize(size, Image.Resampling.BILINEAR, reducing_gap=image.REDUCING_GAP))


def _grown(most: float) -> Any:
    inner = piza.search.predictor.input_size

    def size(window: NDArray, first: bool, first_pixels: int, later_pixels: int) -> tuple[int, int]:
        own = math.sqrt((window[2] - window[0]) * (window[3] - window[1]))
        return inner(window, first, first_pixels, round(min(later_pixels, max(LEAST, most * own))))

    return size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows")
    parser.add_argument("images")
    parser.add_argument("--limit", type=int, default=200)
    names = ["as it is", "one step", "reduced decoding", *(f"later {n}" for n in LATER)]
    parser.add_argument("--only", default=",".join([*names, *(f"grown at most {n}" for n in GROWN)]))
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    rows, model = read_rows(args.rows), piza.load(args.model)
    print("| way | rows | Acc50 | Acc75 | mAcc | looks | ms a sentence |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in args.only.split(","):
        with way(name, model):
            found = evaluation.evaluate(model, rows, args.images, limit=args.limit)
        cells = [found.acc50, found.acc75, found.macc, found.mean_steps]
        print(f"| {name} | {found.rows} | " + " | ".join(f"{v:.1f}" for v in cells), end="", flush=True)
        print(f" | {found.mean_ms:.0f} |", flush=True)


if __name__ == "__main__":
    main()
