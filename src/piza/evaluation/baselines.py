"""Rivals: other ways to find a small thing with the same grounder, to compare a search with.

All answer with `piza.result.Result`; `looks` counts every tile looked at. The one look at the whole frame is
`piza.search.predictor.locate(whole_frame=True)`.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from piza.boxes import clip_xyxy, cxcywh_to_xyxy
from piza.config import PathConfig, PizaConfig
from piza.errors import InputError
from piza.evaluation.tiles import TileDetections, best_merged, best_single, ends_at_inner_border, tile_windows
from piza.image import ImageArray, ImageReference, ImageSource, cut, open_image
from piza.model.grounder import Grounding
from piza.model.piza import Piza
from piza.result import Result, Step
from piza.search.predictor import locate
from piza.search.protocols import Detections, ZoomModel
from piza.search.zoom_path import frame_window, input_size, plan_windows, side

SLIDING_OVERLAP = 0.5
TILES_OVERLAP = 0.2  # SAHI's
KEPT = 10  # boxes kept of each tile
PIXELS_AT_ONCE = 16 * 224 * 224  # of the model's input, in one batch of tiles
SURE = 30.0  # a logit whose sigmoid is 1 in float32


def sliding_window(
    model: Piza,
    image: ImageSource,
    expressions: Sequence[str],
    tile: int | None = None,
    overlap: float = SLIDING_OVERLAP,
) -> list[Result]:
    """A window slides over the frame by (1 - overlap) of its side; the best single box of all looks is the answer.

    tile: side of the window in frame pixels; None takes the model's `later_pixels`, so that a pixel of the frame is a
    pixel of the input. A box that ends at an inner border of its window counts half, because it may be a part of a thing
    (`tiles.best_single`); with the default overlap, every thing up to half a window is whole in some window.

    Raises InputError as `tiles.tile_windows` and `piza.search.predictor.locate` do.
    """
    return _over_tiles(model, image, expressions, tile, overlap, best_single)


def tile_grid(
    model: Piza,
    image: ImageSource,
    expressions: Sequence[str],
    tile: int | None = None,
    overlap: float = TILES_OVERLAP,
) -> list[Result]:
    """A grid of slightly overlapping tiles; their boxes are merged, and the best of all is the answer.

    tile: as in `sliding_window`. If the best box ends at an inner border of its tile, it is united with what other tiles
    saw of the same thing (`tiles.best_merged`). Raises InputError as `sliding_window` does.
    """
    return _over_tiles(model, image, expressions, tile, overlap, best_merged)


def oracle_first_window(
    model: Piza,
    image: ImageSource,
    expressions: Sequence[str],
    targets: Sequence[Sequence[float]],
    greedy: bool = False,
) -> list[Result]:
    """An upper bound, not a method: the first look is told the window that `path.plan_windows` plans for the true target
    (or the target, where looks answer with things), with certainty, and the search goes on as usual.

    targets: one xyxy box a sentence, in frame pixels. The look at the frame is taken, then overruled, so looks and
    milliseconds are those of a search whose first look is never wrong.
    """
    picture = open_image(image)
    frame_size = (picture.shape[1], picture.shape[0])
    answers = []
    for target in targets:
        inside = clip_xyxy(target, frame_window(frame_size))
        objects = model.config.path.answers == "object"
        answer = inside if objects else plan_windows(inside, frame_size, model.config.path)[1]
        answers.append(answer / np.tile(frame_size, 2))
    search = replace(model.config.search, num_first_windows=1)
    return cast(
        list[Result], locate(OracleModel(model, answers), picture, list(expressions), search, greedy=greedy)
    )


def last_progress(window: NDArray, frame_size: tuple[int, int], config: PathConfig) -> float:
    """The progress of a last look at a window of this size, as it is taught: n / (n + 1) after n looks.

    A zooming model answers with the next window until it is told that the look is the last one; told this, it answers
    with the thing itself. Models that do not zoom do not hear it.
    """
    ratio = max(side(frame_window(frame_size)) / side(window), 1.0)
    jumps = max(1, math.ceil(math.log(ratio) / math.log(config.max_zoom)))
    return jumps / (jumps + 1)


@torch.inference_mode()
def _over_tiles(
    model: Piza,
    image: ImageSource,
    expressions: Sequence[str],
    tile: int | None,
    overlap: float,
    choose: Callable[[TileDetections, NDArray], tuple[NDArray, int]],
) -> list[Result]:
    """Tiles are encoded once, in batches, and every sentence is asked of each batch."""
    if isinstance(expressions, str):
        raise InputError("a list of sentences is wanted, got one sentence")
    if not expressions:
        return []
    started = time.perf_counter()
    picture = open_image(image)
    frame_size = (picture.shape[1], picture.shape[0])
    windows = tile_windows(frame_size, model.config.later_pixels if tile is None else tile, overlap)
    size = input_size(windows[0], False, model.config.first_pixels, model.config.later_pixels)
    progress = last_progress(windows[0], frame_size, model.config.path)
    texts = [model.encode_prompts([[sentence]]) for sentence in expressions]
    micro_batch = max(1, PIXELS_AT_ONCE // (size[0] * size[1]))
    looks: list[list[tuple[NDArray, NDArray]]] = [[] for _ in expressions]
    own = np.zeros(len(expressions))  # seconds of grounding, which sentences do not share
    for start in range(0, len(windows), micro_batch):
        batch = windows[start : start + micro_batch]
        features = model.encode_images([cut(picture, window, size) for window in batch])
        asked = torch.full((len(batch),), progress, device=model.device)
        same = [0] * len(batch)
        for number, (text, pooling) in enumerate(texts):
            begin = time.perf_counter()
            looks[number] += _best_of_each(model.ground(text[same], pooling[same], features, asked), batch)
            own[number] += time.perf_counter() - begin
    shared = (time.perf_counter() - started - own.sum()) / len(expressions)

    results = []
    for sentence, seen_in, seconds in zip(expressions, looks, own, strict=True):
        begin = time.perf_counter()
        seen = TileDetections(
            boxes=np.concatenate([boxes for boxes, _ in seen_in]),
            scores=np.concatenate([scores for _, scores in seen_in]),
            tile=np.repeat(np.arange(len(windows)), [len(boxes) for boxes, _ in seen_in]),
            cut=np.concatenate(
                [ends_at_inner_border(boxes, w, frame_size) for (boxes, _), w in zip(seen_in, windows)]
            ),
        )
        box, best = choose(seen, windows)
        index = int(seen.tile[best])
        x0, y0, x1, y1 = (float(v) for v in windows[index])
        results.append(
            Result(
                expression=sentence,
                box_xyxy=tuple(float(v) for v in box),
                score=float(seen.scores[best]),
                path=[Step((x0, y0, x1, y1), size, progress, 1.0, *seen_in[index])],
                frame_size=frame_size,
                stopped="tiles",
                milliseconds=1000 * (shared + seconds + time.perf_counter() - begin),
                source=ImageReference(image),
                num_looks=len(windows),
            )
        )
    return results


def _best_of_each(grounding: Grounding, windows: NDArray) -> list[tuple[NDArray, NDArray]]:
    """For each window of a batch (n, 4): its `KEPT` best boxes, xyxy in frame pixels, best first, and their scores."""
    scores = grounding.logits[-1].max(-1)[0].sigmoid()
    scores, order = scores.topk(min(KEPT, scores.shape[1]), dim=1)
    boxes = torch.gather(grounding.boxes[-1], 1, order[..., None].expand(-1, -1, 4))
    relative = cxcywh_to_xyxy(boxes.cpu().double().numpy())
    return [
        (clip_xyxy(np.tile(w[:2], 2) + box * np.tile(w[2:] - w[:2], 2), w), score)
        for w, box, score in zip(windows, relative, scores.cpu().numpy(), strict=True)
    ]


class OracleModel:
    """A `ZoomModel` whose first look is told the answer; all else is the model's own.

    boxes: (4,) xyxy, normalized to the frame, of each sentence in the order in which they will be encoded.
    """

    def __init__(self, model: ZoomModel, boxes: Sequence[NDArray]):
        self._model = model
        self._boxes = iter(boxes)

    @property
    def config(self) -> PizaConfig:
        """The model's."""
        return self._model.config

    @property
    def max_windows(self) -> int:
        """The model's."""
        return self._model.max_windows

    def encode_text(self, sentences: Sequence[str]) -> list[tuple[Any, NDArray]]:
        """The model's encodings, each with the box to answer."""
        return [(text, next(self._boxes)) for text in self._model.encode_text(sentences)]

    def encode_frame(self, image: ImageArray) -> Any:
        """The model's."""
        return self._model.encode_frame(image)

    def first_look(self, texts: Sequence[Any], frame: Any, progress: float) -> list[Detections]:
        """The look is taken, so that its time is counted, and overruled."""
        self._model.first_look([text for text, _ in texts], frame, progress)
        return [Detections(box[None], np.ones(1)) for _, box in texts]

    def refine(
        self, texts: Sequence[Any], images: Sequence[ImageArray], progress: Sequence[float]
    ) -> list[Detections]:
        """The model's."""
        return self._model.refine([text for text, _ in texts], images, progress)

    def read_history(self, histories: Sequence[NDArray]) -> tuple[NDArray, NDArray]:
        """The model's."""
        return self._model.read_history(histories)
