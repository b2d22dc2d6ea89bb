"""Asking a grounder about a sentence and its box: what it finds for the sentence, and what once the object is removed.

The second question is for ambiguity: where the object in the box is removed and the sentence still finds something,
it may fit both. With a model that lists objects, the object is taken from its list, which costs one matching; with
any other, it is painted over with its surroundings, which costs a search.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from piza.boxes import area_xyxy, clip_xyxy, cxcywh_to_xyxy, iou_xyxy
from piza.image import ImageArray, cut
from piza.search.predictor import in_frame, without_gradients
from piza.search.protocols import Detections, ranked
from piza.search.region_crops import Detail
from piza.search.zoom_path import frame_window, input_size

SAME = 0.5  # IoU from which on two boxes are of one thing
TAKEN = 0.3  # IoU with the box from which on a listed object goes with it
INSIDE = 0.7  # or such a part of the object lies in the box
# The frame is larger than for a search, times the model's own side: small things are read better, and two looks err less.
LIST_SCALES = (1.5, 2.0)
OF_OBJECTS = (
    "cells",
    "states",
    "attributes",
    "read",
    "seen",
    "regions",
)  # of `Proposals`: (batch, objects, ...)
MARGIN = 0.15  # of the box's sides, painted over as well
SMALL = 96  # pixels: larger holes are filled at a smaller size, where a blur is as good


class Grounded(NamedTuple):
    """What a grounder finds for a sentence. boxes: (k, 4) xyxy in pixels of the frame, best first. shares: (k,) the
    probability of each; the rest to 1 is that there is no such object."""

    boxes: NDArray[Any]
    shares: NDArray[Any]


class Answer(NamedTuple):
    """What a sentence leads to in one look, and what it leads to once the object in its box is removed."""

    before: Grounded
    after: Grounded


Question: TypeAlias = tuple[str, Sequence[float]]
"""A sentence, and the box that it should lead to, xyxy in pixels of the image."""


class Asker(Protocol):
    """A grounder that can be asked about sentences and their boxes."""

    @property
    def name(self) -> str:
        """Its name, for the settings of a step."""

    def ask(self, image: ImageArray, questions: Sequence[Question]) -> list[list[Answer]]:
        """The answers to each question, one for each look; the same number to each."""


@dataclass(frozen=True)
class ListAsker:
    """A model that lists the objects of an image (`PizaConfig.num_proposals`), such as `mini`.

    model: a `piza.model.piza.Piza`. name: what it is called.
    """

    model: Any
    name: str = "mini"

    def ask(self, image: ImageArray, questions: Sequence[Question]) -> list[list[Answer]]:
        """See `Asker.ask`: a look of each of `LIST_SCALES` at the image, whatever the number of questions."""
        with without_gradients():
            texts = self.model.encode_text([sentence for sentence, _ in questions])
            looks = [self._look(image, scale, texts, questions) for scale in LIST_SCALES]
        return [list(answers) for answers in zip(*looks, strict=True)]

    def _look(
        self, image: ImageArray, scale: float, texts: Sequence[Any], questions: Sequence[Question]
    ) -> list[Answer]:
        window = frame_window((image.shape[1], image.shape[0]))
        pixels = round(scale * self.model.config.first_pixels)
        small = cut(image, window, input_size(window, True, pixels, pixels))
        found = self.model.encode_frame(small, Detail(image, window))
        before = self._chosen(texts, found, window)
        listed = in_frame(Detections(_normalized(found), np.zeros(0)), window)
        answers: dict[int, Answer] = {}
        for box, places in _by_box(questions).items():
            left = _without(found, ~_goes_with(listed, np.array(box)))
            after = self._chosen([texts[place] for place in places], left, window)
            for place, gone in zip(places, after, strict=True):
                answers[place] = Answer(before[place], gone)
        return [answers[place] for place in range(len(questions))]

    def _chosen(self, texts: Sequence[Any], found: Any, window: NDArray[Any]) -> list[Grounded]:
        """Which of the listed objects each sentence means, every box by itself."""
        from piza.model.matcher import log_odds

        odds = log_odds(self.model.choose([text.sentence for text in texts], found)).cpu().numpy()
        boxes = np.broadcast_to(found.boxes[-1].float().cpu().numpy(), (*odds.shape, 4))
        return [
            Grounded(in_frame(one, window), np.asarray(one.scores, dtype=np.float64))
            for one in ranked(odds, boxes)
        ]


@dataclass(frozen=True)
class SearchAsker:
    """Anything that can be searched with: `.locate(image, sentences)` gives a `Result` a sentence. name: what it is called."""

    locator: Any
    name: str

    def ask(self, image: ImageArray, questions: Sequence[Question]) -> list[list[Answer]]:
        """See `Asker.ask`: one look, of two searches a question."""
        sentences = list(dict.fromkeys(sentence for sentence, _ in questions))
        before = dict(zip(sentences, self.locator.locate(image, sentences), strict=True))
        answers: dict[int, Answer] = {}
        for box, places in _by_box(questions).items():
            asked = [questions[place][0] for place in places]
            after = self.locator.locate(painted_over(image, box), asked)
            for place, result in zip(places, after, strict=True):
                answers[place] = Answer(_seen_by_search(before[questions[place][0]]), _seen_by_search(result))
        return [[answers[place]] for place in range(len(questions))]


def asker_of(model: Any, name: str) -> Asker:
    """The asker that suits a model: by its list of objects where it is one of torch's that lists them, else by searches."""
    from piza.model.piza import Piza

    if isinstance(model, Piza) and model.proposals is not None:
        return ListAsker(model, name)
    return SearchAsker(model, name)


def painted_over(image: ImageArray, box_xyxy: Sequence[float]) -> ImageArray:
    """A copy of an image with a box filled by what is around it."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box_xyxy
    grow_x, grow_y = MARGIN * (x2 - x1) + 1, MARGIN * (y2 - y1) + 1
    left, top = max(int(x1 - grow_x), 0), max(int(y1 - grow_y), 0)
    right, bottom = min(int(x2 + grow_x) + 1, width), min(int(y2 + grow_y) + 1, height)
    around = max(right - left, bottom - top)
    part = (
        slice(max(top - around, 0), min(bottom + around, height)),
        slice(max(left - around, 0), min(right + around, width)),
    )
    window = np.ascontiguousarray(image[part])
    mask = np.zeros(window.shape[:2], np.uint8)
    mask[top - part[0].start : bottom - part[0].start, left - part[1].start : right - part[1].start] = 255
    scale = min(1.0, SMALL / max(mask.shape))
    small = cv2.resize(window, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small_mask = cv2.resize(mask, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_NEAREST)
    filled = cv2.resize(
        cv2.inpaint(small, small_mask, 3, cv2.INPAINT_TELEA), (window.shape[1], window.shape[0])
    )
    window[mask > 0] = filled[mask > 0]
    painted = image.copy()
    painted[part] = window
    return painted


def _by_box(questions: Sequence[Question]) -> dict[tuple[float, ...], list[int]]:
    """The places of the questions about each box."""
    places: dict[tuple[float, ...], list[int]] = {}
    for place, (_, box) in enumerate(questions):
        places.setdefault(tuple(box), []).append(place)
    return places


def _goes_with(boxes: NDArray[Any], box: NDArray[Any]) -> NDArray[Any]:
    """Which of some boxes (k, 4) are of the thing in a box, or of a part of it."""
    area = np.maximum(area_xyxy(boxes), 1e-9)
    inside = area_xyxy(clip_xyxy(boxes, box)) / area
    return np.asarray((iou_xyxy(boxes, box) > TAKEN) | (inside > INSIDE))


def _normalized(found: Any) -> NDArray[Any]:
    """(k, 4) the listed boxes, xyxy, normalized to the frame."""
    return cxcywh_to_xyxy(found.boxes[-1][0].float().cpu().numpy().astype(np.float64))


def _without(found: Any, keep: NDArray[Any]) -> Any:
    """`Proposals` with some objects only; at least one, as there is nothing to match with an empty list."""
    import torch

    kept = np.flatnonzero(keep) if keep.any() else np.array([len(keep) - 1])
    places = torch.from_numpy(kept).to(found.cells.device)
    known = {field.name for field in fields(found)}
    of_objects = {name: getattr(found, name)[:, places] for name in OF_OBJECTS if name in known}
    return replace(found, boxes=found.boxes[:, :, places], **of_objects)


def _seen_by_search(result: Any) -> Grounded:
    """The answer and the rejected ones of a search, and what its last look saw besides, each thing once."""
    boxes: list[Any] = [result.box_xyxy, *(box for box, _ in result.rejected)]
    shares = [float(result.score), *(float(score) for _, score in result.rejected)]
    if result.path:
        boxes += list(result.path[-1].candidates_xyxy)
        shares += [float(score) for score in result.path[-1].candidate_scores]
    kept: list[int] = []
    for place in range(len(boxes)):
        if not any(float(iou_xyxy(np.array(boxes[place]), np.array(boxes[other]))) >= SAME for other in kept):
            kept.append(place)
    found = np.array([boxes[place] for place in kept], dtype=np.float64).reshape(-1, 4)
    share = np.array([shares[place] for place in kept])
    share = share / max(share.sum(), 1.0)
    order = np.argsort(-share, kind="stable")
    return Grounded(found[order], share[order])
