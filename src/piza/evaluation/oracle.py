"""The oracle: a search whose first look is told the answer. An upper bound, not a method."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.boxes import clip_xyxy
from piza.config import PizaConfig
from piza.data.sorec import Row
from piza.image import ImageArray, ImageSource, decode_image
from piza.result import Result
from piza.search.predictor import locate
from piza.search.protocols import Detections, ZoomModel
from piza.search.region_crops import Detail
from piza.search.zoom_path import frame_window, plan_windows


def oracle_first_window(
    model: ZoomModel,
    image: ImageSource,
    rows: Sequence[Row],
    *,
    budget: int | None = None,
    accept_threshold: float | None = None,
    max_looks: int | None = None,
    min_score: float | None = None,
    greedy: bool = False,
) -> list[Result]:
    """A search whose first look answers, with certainty, the window that `zoom_path.plan_windows` plans for the row's box
    (or the box itself, where looks answer with objects); the search then goes on as usual.

    The look at the frame is taken, then overruled, so looks and milliseconds are those of a search whose first look is
    never wrong. The keywords are those of `piza.search.predictor.locate`, which also says what it raises.
    """
    decoded = decode_image(image)
    frame_size = (decoded.shape[1], decoded.shape[0])
    answers = []
    for row in rows:
        target = clip_xyxy(row.box_xyxy, frame_window(frame_size))
        objects = model.config.path.answers == "object"
        answer = target if objects else plan_windows(target, frame_size, model.config.path)[1]
        answers.append(answer / np.tile(frame_size, 2))
    results = locate(
        OracleModel(model, answers),
        decoded,
        [row.expression for row in rows],
        replace(model.config.search, num_first_windows=1),
        budget=budget,
        accept_threshold=accept_threshold,
        max_looks=max_looks,
        min_score=min_score,
        greedy=greedy,
    )
    assert isinstance(results, list)  # of a list of sentences
    return results


class OracleModel:
    """A `ZoomModel` whose first look is told the answer; all else is the model's own.

    boxes: (4,) xyxy, normalized to the frame, of each sentence in the order in which they will be encoded.
    """

    def __init__(self, model: ZoomModel, boxes: Sequence[NDArray[Any]]):
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

    def encode_text(self, sentences: Sequence[str]) -> list[Any]:
        """The model's encodings, each with the box to answer."""
        return [(text, next(self._boxes)) for text in self._model.encode_text(sentences)]

    def encode_frame(self, image: ImageArray, detail: Detail | None = None) -> Any:
        """The model's."""
        return self._model.encode_frame(image, detail)

    def first_look(self, texts: Sequence[Any], frame: Any, progress: float) -> list[Detections]:
        """The look is taken, so that its time is counted, and overruled."""
        self._model.first_look([text for text, _ in texts], frame, progress)
        return [Detections(box[None], np.ones(1)) for _, box in texts]

    def refine(
        self, texts: Sequence[Any], images: Sequence[ImageArray], progress: Sequence[float]
    ) -> list[Detections]:
        """The model's."""
        return self._model.refine([text for text, _ in texts], images, progress)

    def read_history(self, histories: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The model's."""
        return self._model.read_history(histories)

    def unknown_words(self, expression: str) -> list[str]:
        """The model's."""
        return self._model.unknown_words(expression)
