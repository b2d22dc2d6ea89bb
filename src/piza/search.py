"""The zoom loop: look, zoom to what was predicted, look again, until the box history says stop.

"Stop" is asked before a look, so no backbone runs only to be told that the search is over. The sentence is encoded
once, and all sentences about one picture share the features of its first look.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from piza.boxes import clip_xyxy, cxcywh_to_xyxy, xyxy_to_xywh
from piza.errors import InputError
from piza.model.piza import Piza
from piza.path import frame_window, input_size, next_window, side
from piza.picture import cut, open_picture
from piza.result import Result, Step

CANDIDATES = 10  # kept of each look, for drawings and for those who want to know what else was seen


@torch.inference_mode()
def locate(
    model: Piza,
    image,
    expression: str | Sequence[str],
    max_steps: int | None = None,
    whole_frame: bool = False,
) -> Result | list[Result]:
    """Finds the one thing each sentence describes.

    Args:
        image: a path, a PIL picture, or an array (height, width, 3) of uint8 RGB.
        expression: a sentence, or several about the same picture.
        max_steps: the most looks a sentence may take; None takes the model's own limit.
        whole_frame: answer from one look at the whole frame.

    Returns:
        A Result, or a list of them when a list of sentences was given. Boxes are xyxy in frame pixels.

    Raises:
        InputError: for a picture that cannot be read, an empty or over-long sentence, or max_steps below 1.
    """
    single = isinstance(expression, str)
    sentences = [expression] if single else list(expression)
    most = 1 if whole_frame else (model.config.max_steps if max_steps is None else max_steps)
    if most < 1:
        raise InputError(f"max_steps must be at least 1, but {most} was given.")
    if not sentences:
        return []
    started = time.perf_counter()
    picture = open_picture(image)
    texts = [model.encode_text([[sentence]]) for sentence in sentences]
    frame = frame_window((picture.shape[1], picture.shape[0]))
    size = input_size(frame, True, model.config.first_pixels, model.config.later_pixels)
    first = model.encode_pictures([cut(picture, frame, size)])
    shared = (time.perf_counter() - started) * 1000 / len(sentences)
    results = []
    for sentence, (text, pooling) in zip(sentences, texts, strict=True):
        started = time.perf_counter()
        path, stopped = _search(model, picture, text, pooling, first, size, most)
        results.append(
            Result(
                expression=sentence,
                box_xyxy=tuple(float(v) for v in path[-1].candidates_xyxy[0]),
                score=float(path[-1].candidate_scores[0]),
                path=path,
                frame_size=(picture.shape[1], picture.shape[0]),
                stopped=stopped,
                milliseconds=shared + (time.perf_counter() - started) * 1000,
                picture=picture,
            )
        )
    return results[0] if single else results


def _search(model, picture, text, pooling, first, first_size, most: int) -> tuple[list[Step], str]:
    config = model.config
    frame_size = (picture.shape[1], picture.shape[0])
    window = frame_window(frame_size)
    history = [window]
    path: list[Step] = []
    while True:
        progress, stop = (float(v[0]) for v in model.history.read([xyxy_to_xywh(np.array(history))], config.progress_step))
        if path and stop >= config.stop_at:
            return path, "stop"
        if len(path) >= most:
            return path, "max_steps"
        if path:
            narrower = next_window(history[-1], frame_size, config.path)
            if side(narrower) > 0.95 * side(window):
                return path, "no_shrink"
            window = narrower
            size = input_size(window, False, config.first_pixels, config.later_pixels)
            seen = model.encode_pictures([cut(picture, window, size)])
        else:
            size, seen = first_size, first
        grounding = model.ground(text, pooling, seen, torch.tensor([progress], device=model.device))
        boxes, scores = answers(grounding, window)
        path.append(Step(tuple(float(v) for v in window), size, progress, stop, boxes[:CANDIDATES], scores[:CANDIDATES]))
        history.append(boxes[0])


def answers(grounding, window: NDArray) -> tuple[NDArray, NDArray]:
    """The boxes of one look (batch of 1), best first: (queries, 4) xyxy in frame pixels, and their scores in [0, 1]."""
    scores = grounding.logits[-1, 0].max(-1)[0].sigmoid().cpu().numpy()
    order = np.argsort(-scores, kind="stable")
    relative = cxcywh_to_xyxy(grounding.boxes[-1, 0].cpu().double().numpy())
    size = np.tile(window[2:] - window[:2], 2)
    return clip_xyxy(np.tile(window[:2], 2) + relative * size, window)[order], scores[order]
