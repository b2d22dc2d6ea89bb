"""The interfaces of a search: `ZoomModel`, what it asks of a model, and `Looker`, through which `best_first` looks.

`Piza`, an exported model, the oracle of the baselines and a test's fake are all a `ZoomModel`. Callers do not see
whether a model lists objects first or grounds each sentence in the frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from piza.boxes import cxcywh_to_xyxy
from piza.config import PizaConfig
from piza.errors import InputError
from piza.image import ImageArray
from piza.search.hypothesis import Hypothesis, Observation
from piza.search.region_crops import Detail


@dataclass
class Detections:
    """The boxes that one look proposes for one sentence.

    boxes: (k, 4) xyxy, normalized to the window that was looked at. scores: (k,) in [0, 1], best first.
    """

    boxes: NDArray[Any]
    scores: NDArray[Any]


def ranked(logits: NDArray[Any], boxes: NDArray[Any]) -> list[Detections]:
    """The outputs of a batch of looks as `Detections`, best first.

    logits: (n, k) of each box. boxes: (n, k, 4) cxcywh, normalized to the window. Raises InputError for NaN, which a model with
    damaged weights or settings gives.
    """
    if np.isnan(logits).any() or not np.isfinite(boxes).all():
        raise InputError(
            "the model answers with NaN: its weights or settings are damaged, or too large for their number type"
        )
    with np.errstate(over="ignore"):  # of a logit far below zero, whose score is then 0
        scores = 1 / (1 + np.exp(-logits))
    order = np.argsort(-scores, axis=-1, kind="stable")
    corners = cxcywh_to_xyxy(boxes.astype(np.float64))
    return [
        Detections(box[rank], score[rank]) for box, score, rank in zip(corners, scores, order, strict=True)
    ]


class ZoomModel(Protocol):
    """What a search may ask of a model.

    Encodings are opaque: whatever a model returns for a sentence or a frame is handed back to the same model.
    """

    @property
    def config(self) -> PizaConfig:
        """The model's settings; a search reads them and never changes them."""

    @property
    def max_windows(self) -> int:
        """How many windows `refine` takes at once."""

    def encode_text(self, sentences: Sequence[str]) -> list[Any]:
        """One encoding a sentence, in order. Raises InputError for a sentence without words, or with too many."""

    def encode_frame(self, image: ImageArray, detail: Detail | None = None) -> Any:
        """What all sentences share of a first window.

        image: uint8 (height, width, 3) RGB, the window resized to the model's input. detail: the window before that.
        """

    def first_look(self, texts: Sequence[Any], frame: Any, progress: float) -> list[Detections]:
        """What a first window holds for each sentence, in order.

        texts: from `encode_text`. frame: from `encode_frame`. progress: how far along the search is, in [0, 1].
        """

    def refine(
        self, texts: Sequence[Any], images: Sequence[ImageArray], progress: Sequence[float]
    ) -> list[Detections]:
        """What each later window holds for its sentence, in order; at most `max_windows` of them.

        images: uint8 (height, width, 3) RGB windows of one size, resized to the model's input.
        """

    def read_history(self, histories: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Progress in [0, 1] and the probability of "stop", (n,) each, after n histories.

        histories: each (boxes, 4) xywh in frame pixels, the frame first.
        """

    def unknown_words(self, expression: str) -> list[str]:
        """The words of a sentence that the model was never taught; none where that is not recorded."""


class Looker(Protocol):
    """Takes looks at one image for one sentence: all that `best_first` needs."""

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) of the frame in pixels."""

    @property
    def first_windows(self) -> Sequence[NDArray[Any]]:
        """The windows to begin with, xyxy in frame pixels."""

    def look(self, paths: Sequence[Hypothesis]) -> list[Observation]:
        """Looks at the windows of some hypotheses. A look may see no box."""

    def at_end(self, path: Hypothesis, boxes: NDArray[Any]) -> list[bool]:
        """Whether each of the boxes (n, 4), seen in the window of `path`, is an answer that needs no closer look."""

    def window_of(self, box: NDArray[Any], window: NDArray[Any]) -> NDArray[Any]:
        """The window to look at after `box` was seen in `window`; all xyxy in frame pixels."""
