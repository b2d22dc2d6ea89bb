"""Baselines: other ways to answer with the same model, to compare a search with.

A baseline is a `piza.evaluation.run.Baseline`: a function of a model, an image and rows about it that returns a
`piza.result.Result` a row; its further keywords are its options. To add one, write the function and name it in
`BASELINES`. One look at the whole frame is no baseline but an option of the search (`locate(whole_frame=True)`).
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.config import PathConfig
from piza.data.sorec import Row
from piza.errors import InputError
from piza.evaluation.oracle import oracle_first_window
from piza.evaluation.run import Baseline
from piza.evaluation.tiles import TileDetections, best_merged, best_single, ends_at_inner_border, tile_windows
from piza.image import ImageReference, ImageSource, cut, decode_image
from piza.result import Result, Step
from piza.search.predictor import as_floats, in_frame, without_gradients
from piza.search.protocols import ZoomModel
from piza.search.zoom_path import frame_window, input_size, side

SLIDING_OVERLAP = 0.5
TILES_OVERLAP = 0.2  # SAHI's
CANDIDATES = 10  # boxes kept of each tile
MAX_BATCH_PIXELS = 16 * 224 * 224  # of the model's input, in one batch of tiles


def sliding_window(
    model: ZoomModel,
    image: ImageSource,
    rows: Sequence[Row],
    *,
    tile: int | None = None,
    overlap: float = SLIDING_OVERLAP,
) -> list[Result]:
    """A window slides over the frame by (1 - overlap) of its side; the best single box of all windows is the answer.

    tile: side of the window in frame pixels; None takes the model's `later_pixels`, so that a pixel of the frame is a
    pixel of the input. A box that ends at an inner border of its window counts half, because it may be of a part of an
    object (`tiles.best_single`); with the default overlap, every object up to half a window is whole in some window.

    Raises InputError as `tiles.tile_windows` and `piza.search.predictor.locate` do.
    """
    return _over_tiles(model, image, rows, tile, overlap, best_single)


def tile_grid(
    model: ZoomModel,
    image: ImageSource,
    rows: Sequence[Row],
    *,
    tile: int | None = None,
    overlap: float = TILES_OVERLAP,
) -> list[Result]:
    """A grid of slightly overlapping tiles; their boxes are merged, and the best of all is the answer.

    tile: as in `sliding_window`. If the best box ends at an inner border of its tile, it is united with the boxes of
    other tiles on the same object (`tiles.best_merged`). Raises InputError as `sliding_window` does.
    """
    return _over_tiles(model, image, rows, tile, overlap, best_merged)


BASELINES: dict[str, Baseline] = {
    "sliding": sliding_window,
    "tiles": tile_grid,
    "oracle": oracle_first_window,
}
"""Every baseline by the name that `piza evaluate --baseline` knows it by."""


def check_options(name: str, options: Iterable[str]) -> None:
    """Raise InputError for a baseline that is not known and for the name of an option that it does not take."""
    if name not in BASELINES:
        raise InputError(f"there is no baseline {name!r}; known are {', '.join(BASELINES)}")
    known = signature(BASELINES[name]).parameters
    for option in options:
        if option not in known:
            raise InputError(f"the baseline {name!r} does not take --{option.replace('_', '-')}")


def last_progress(window: NDArray[Any], frame_size: tuple[int, int], config: PathConfig) -> float:
    """The progress of a last look at a window of this size, as it is taught: n / (n + 1) after n looks.

    A zooming model answers with the next window until it is told that the look is the last one; then it answers with the
    object itself. Models that do not zoom ignore it.
    """
    ratio = max(side(frame_window(frame_size)) / side(window), 1.0)
    jumps = max(1, math.ceil(math.log(ratio) / math.log(config.max_zoom)))
    return jumps / (jumps + 1)


def _over_tiles(
    model: ZoomModel,
    image: ImageSource,
    rows: Sequence[Row],
    tile: int | None,
    overlap: float,
    choose: Callable[[TileDetections, NDArray[Any]], tuple[NDArray[Any], int]],
) -> list[Result]:
    """Every sentence is asked of every tile, and `choose` picks its answer."""
    if not rows:
        return []
    started = time.perf_counter()
    decoded = decode_image(image)
    frame_size = (decoded.shape[1], decoded.shape[0])
    windows = tile_windows(frame_size, model.config.later_pixels if tile is None else tile, overlap)
    size = input_size(windows[0], False, model.config.first_pixels, model.config.later_pixels)
    progress = last_progress(windows[0], frame_size, model.config.path)
    batch_size = max(1, min(model.max_windows, MAX_BATCH_PIXELS // (size[0] * size[1])))
    seen: list[list[tuple[NDArray[Any], NDArray[Any]]]] = [[] for _ in rows]
    with without_gradients():
        texts = model.encode_text([row.expression for row in rows])
        # Tile by tile, so that the sentences that share one are asked together.
        pairs = [(place, number) for place in range(len(windows)) for number in range(len(rows))]
        for start in range(0, len(pairs), batch_size):
            batch = pairs[start : start + batch_size]
            cuts = {place: cut(decoded, windows[place], size) for place in dict(batch)}
            found = model.refine(
                [texts[number] for _, number in batch],
                [cuts[place] for place, _ in batch],
                [progress] * len(batch),
            )
            for (place, number), detections in zip(batch, found, strict=True):
                boxes = in_frame(detections, windows[place])[:CANDIDATES]
                seen[number].append((boxes, detections.scores[:CANDIDATES]))
    joined = [_joined(of_one, windows, frame_size) for of_one in seen]
    if any(not len(one.scores) for one in joined):
        raise InputError("the model proposes no box in any tile, so there is no answer to compare")
    chosen = [choose(one, windows) for one in joined]
    milliseconds = 1000 * (time.perf_counter() - started) / len(rows)

    results = []
    for row, of_one, one, (box, best) in zip(rows, seen, joined, chosen, strict=True):
        index = int(one.tile[best])
        results.append(
            Result(
                expression=row.expression,
                box_xyxy=as_floats(box),
                score=float(one.scores[best]),
                path=[Step(as_floats(windows[index]), size, progress, 1.0, *of_one[index])],
                frame_size=frame_size,
                stopped="tiles",
                milliseconds=milliseconds,
                source=ImageReference(image),
                num_looks=len(windows),
            )
        )
    return results


def _joined(
    seen: Sequence[tuple[NDArray[Any], NDArray[Any]]], windows: NDArray[Any], frame_size: tuple[int, int]
) -> TileDetections:
    """The boxes and scores of each tile, in order, as one set of detections."""
    return TileDetections(
        boxes=np.concatenate([boxes for boxes, _ in seen]),
        scores=np.concatenate([scores for _, scores in seen]),
        tile=np.repeat(np.arange(len(windows)), [len(boxes) for boxes, _ in seen]),
        cut=np.concatenate(
            [ends_at_inner_border(boxes, window, frame_size) for (boxes, _), window in zip(seen, windows)]
        ),
    )
