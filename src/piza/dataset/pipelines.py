"""Proposals by models of transformers: zero-shot detectors, and segmenters of everything (SAM, SAM 2).

torchvision is not needed for detectors, nor for SAM. transformers' own mask generation ends in torchvision's suppression of
duplicates; here only its steps before that are taken, which give boxes and scores, as duplicates are merged later anyway. The
processors of SAM 2 and SAM 3 are written for torchvision alone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from piza.dataset.candidates import Box, Candidate, Detector, box_of
from piza.errors import InputError, reason
from piza.hub import find_model
from piza.image import ImageArray

MAX_LABELS = 1000
POINTS = 32  # a side of the grid of points at which a segmenter is asked what is there
MASK_SIDE = (
    1024  # pixels; SAM sees no more of an image, and its masks are made as large as the image, 192 at a time
)


def zero_shot_detector(model: Any, labels: Sequence[str], device: str = "cpu") -> Detector:
    """A zero-shot detector by transformers' pipeline, asked for things by name.

    model: a folder or hub name, or a pipeline (or any function that answers as one). labels: what to look for, such as
    ["traffic sign", "person"]. Raises InputError where there is no such model, for no labels and, when called, for an image
    that the model cannot be shown.
    """
    labels = [label.strip() for label in labels if label.strip()]
    if not 0 < len(labels) <= MAX_LABELS:
        raise InputError(
            "a zero-shot detector needs the names of what to look for, such as 'traffic sign,person'"
        )
    pipe = _pipeline("zero-shot-object-detection", model, device)

    def look(image: ImageArray) -> list[Candidate]:
        try:
            answers = pipe(_pillow(image), candidate_labels=labels)
        except Exception as error:  # too many labels, a package that is missing: each raises its own kind
            raise _failed(model, error) from error
        found = []
        for answer in answers:
            corners = [answer["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")]
            found.append(
                Candidate(box_of(_inside(corners, image)), str(answer["label"]), float(answer["score"]))
            )
        return found

    return look


def mask_segmenter(model: Any, device: str = "cpu") -> Detector:
    """A segmenter of everything by transformers' mask generation: the boxes of its masks, without categories.

    model: a folder or hub name, or a pipeline (or any function that answers as one). Raises InputError where there is no such
    model and, when called, for an image that it cannot be shown.
    """
    pipe = _pipeline("mask-generation", model, device)

    def look(image: ImageArray) -> list[Candidate]:
        scale = max(1.0, max(image.shape[:2]) / MASK_SIDE)
        shown = image
        if scale > 1:
            size = (max(1, round(image.shape[1] / scale)), max(1, round(image.shape[0] / scale)))
            shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        back = np.tile([image.shape[1] / shown.shape[1], image.shape[0] / shown.shape[0]], 2)
        try:
            found = list(_mask_boxes(pipe, shown))
        except Exception as error:  # a package that is missing, too little memory
            raise _failed(model, error) from error
        return [
            Candidate(box_of(_inside(np.array(corners) * back, image)), "", score) for corners, score in found
        ]

    return look


def _mask_boxes(pipe: Any, image: ImageArray) -> Iterator[tuple[Box, float]]:
    """Boxes of masks, xyxy in pixels of the image, and their scores."""
    from transformers import Pipeline

    if isinstance(pipe, Pipeline):
        steps: Any = pipe  # their parameters are declared as dictionaries
        for points in steps.preprocess(_pillow(image), points_per_crop=POINTS):
            part = steps.forward(points)
            for (left, top, right, bottom), score in zip(
                part["boxes"].tolist(), part["iou_scores"].tolist(), strict=True
            ):
                if right > 0 and bottom > 0:  # else the mask is empty; sides are those of the last pixels
                    yield (left, top, right + 1, bottom + 1), score
        return
    answer = pipe(_pillow(image))
    for mask, score in zip(answer["masks"], answer["scores"], strict=True):
        mask = np.asarray(mask).astype(bool)
        if mask.any():
            rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
            yield box_of((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)), float(score)


def _pipeline(task: str, model: Any, device: str) -> Any:
    """A pipeline of transformers, of a folder or hub name; anything that can be called is taken as it is."""
    if callable(model):
        return model
    folder: Path = find_model(model)
    from transformers import pipeline

    make: Any = pipeline
    try:
        return make(
            task,
            model=str(folder),
            device=device,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:  # damaged files, a package that is missing: each raises its own kind
        raise InputError(f"{folder} is no model for {task} that can be read: {reason(error)}") from None


def _failed(model: Any, error: Exception) -> Exception:
    """What to raise where a look failed: one sentence about a model by name; the error itself of a caller's function."""
    return error if callable(model) else InputError(f"{model} cannot be shown an image: {reason(error)}")


def _pillow(image: ImageArray) -> Any:
    from PIL import Image

    return Image.fromarray(image)


def _inside(corners: Sequence[Any], image: ImageArray) -> list[float]:
    sides = (image.shape[1], image.shape[0]) * 2
    return [min(max(float(value), 0.0), float(side)) for value, side in zip(corners, sides, strict=True)]
