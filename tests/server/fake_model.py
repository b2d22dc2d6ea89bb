"""A model that answers at once, for tests of the server."""

import threading
from types import SimpleNamespace

import numpy as np

from piza.config import SearchConfig
from piza.image import ImageReference
from piza.result import Result, Step
from piza.search.zoom_path import frame_window, square_window


class FakeModel:
    """Finds everything in the middle of the image, in two looks. `wait`, when set to an event, holds it up."""

    def __init__(self):
        self.config = SimpleNamespace(search=SearchConfig(budget=5, accept_threshold=0.7))
        self.calls, self.wait, self.fails = [], None, None
        self.began = threading.Event()

    def locate(self, image, sentences, **options):
        self.calls.append({"sentences": list(sentences), **options})
        self.began.set()
        if self.wait is not None:
            assert self.wait.wait(60)
        if self.fails is not None:
            raise self.fails
        return [answer(image, sentence) for sentence in sentences]


def answer(image, sentence: str) -> Result:
    height, width = image.shape[:2]
    x, y = width / 2, height / 2
    box = (x - 4, y - 5, x + 6, y + 5)
    looks = [
        (frame_window((width, height)), (96, 64), 0.0, 0.01),
        (square_window((x, y), height / 3, (width, height)), (64, 64), 0.55, 0.9),
    ]
    path = [
        Step(
            tuple(float(v) for v in window),
            size,
            progress,
            stop,
            np.array([box, (1, 2, 9, 8)]),
            np.array([0.8, 0.1]),
        )
        for window, size, progress, stop in looks
    ]
    return Result(
        sentence, box, 0.83, path, (width, height), "stop", 12.5, ImageReference(image), num_looks=3,
        rejected=[((1.0, 2.0, 9.0, 8.0), 0.07)], detours=[(0.0, 0.0, 30.0, 30.0)],
        unknown_words=["zorgle"] if "zorgle" in sentence else [],
    )  # fmt: skip
