"""Holding the graphs of an export to the model that they were made of."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.errors import InputError
from piza.model.nanodet_proposals import NanoDetProposals
from piza.model.piza import Piza
from piza.runtimes.exported import ExportedModel, load_exported
from piza.runtimes.graphs import TRACED_SENTENCE, TRACED_SIZE, noise
from piza.search.protocols import Detections
from piza.search.zoom_path import input_size

# Widths and heights; all have cells for the 900 queries of the base models.
SIZES = (TRACED_SIZE, (448, 640), (128, 384), (224, 224))
SENTENCES = (TRACED_SENTENCE, "sign", "a man, and a dog that is left of him")
SAME_BOX = 1e-4  # of the window: far below what moves an answer
SAME_LOGIT = 1e-2
SAME_HISTORY = 1e-3  # of progress and of the probability of "stop"
SHARE = 0.9  # of the boxes of a look; cells that score alike may change places, and with them their queries

Look = Callable[[Any, NDArray[np.uint8], str, float], Detections]


def compare(model: Piza, folder: Path) -> None:
    """Raises InputError unless the graphs in a folder give the model's answers, at sizes that were not traced."""
    exported = load_exported(folder, "onnx")
    _compare_histories(model, exported)
    sizes = sorted({*SIZES, *_own_sizes(model)})
    looks: list[Look] = [_later_look] * len(sizes)
    looks += [_first_look] * len(sizes) if model.config.num_proposals else []
    for number, (look, size) in enumerate(zip(looks, sizes * 2, strict=False)):
        given = noise(size), SENTENCES[number % len(SENTENCES)], 0.5 * (number % 3)
        with full_precision(model):
            expected = look(model, *given)
        try:
            same = _alike(look(exported, *given), expected)
        except Exception:  # the engine's own kinds, for sizes that do not fit each other
            same = False
        if not same:
            kind = model.detector.config.backbone_config.model_type
            raise InputError(
                f"the graphs of this model do not give its answers at {size[0]} x {size[1]} pixels, so it was not "
                f"exported; backbones that are known to work are convolutional ones and Swin, and this is a {kind!r}"
            )


@contextmanager
def full_precision(model: Piza) -> Iterator[None]:
    """The model without bfloat16, for the length of a `with` block: graphs compute in float32."""
    proposals = model.proposals
    if not isinstance(proposals, NanoDetProposals):
        yield
        return
    before, proposals.half_precision = proposals.half_precision, False
    try:
        yield
    finally:
        proposals.half_precision = before


def _alike(got: Detections, expected: Detections) -> bool:
    """Whether most boxes of a look are in another one, with their scores."""
    if len(got.boxes) != len(expected.boxes):
        return False
    distances = np.abs(got.boxes[:, None] - expected.boxes).max(-1)
    logits = np.abs(_logit(got.scores)[:, None] - _logit(expected.scores))
    # Several queries may answer with one box, and scores of their own.
    same = ((distances < SAME_BOX) & (logits < SAME_LOGIT)).any(1)
    return bool(same.mean() >= SHARE)


def _logit(scores: NDArray[Any]) -> NDArray[Any]:
    clipped = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


def _later_look(model: Any, window: NDArray[np.uint8], sentence: str, progress: float) -> Detections:
    found: Detections = model.refine(model.encode_text([sentence]), [window], [progress])[0]
    return found


def _first_look(model: Any, window: NDArray[np.uint8], sentence: str, progress: float) -> Detections:
    found: Detections = model.first_look(model.encode_text([sentence]), model.encode_frame(window), progress)[
        0
    ]
    return found


def _compare_histories(model: Piza, exported: ExportedModel) -> None:
    frame = [0.0, 0.0, 800.0, 600.0]
    inner = [[300.0, 200.0, 150.0, 150.0], [350.0, 250.0, 20.0, 30.0], [355.0, 255.0, 4.0, 4.0]]
    histories = [np.array([frame, *inner[:length]]) for length in (0, 1, 2, 3)]
    # Unrounded, as rounding would hide or enlarge a difference.
    pairs = zip(exported.history.read(histories, None), model.history.read(histories, None), strict=True)
    if any(np.abs(got - expected.numpy()).max() > SAME_HISTORY for got, expected in pairs):
        raise InputError(
            "the graph of this model's box history does not give its answers; it was not exported"
        )


def _own_sizes(model: Piza) -> list[tuple[int, int]]:
    """The inputs that the model will be asked about: frames of usual shapes, a square window."""
    pixels = model.config.first_pixels, model.config.later_pixels
    frame = np.array([0.0, 0.0, 1600.0, 1200.0])
    return [input_size(frame, True, *pixels), input_size(frame[[0, 1, 3, 3]], False, *pixels)]
