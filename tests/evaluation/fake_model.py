"""A model that finds red objects by their pixels, for tests of what surrounds a model."""

import numpy as np

from piza.config import PizaConfig
from piza.search.protocols import Detections


class FakeModel:
    """A `ZoomModel` that answers every sentence with the extent of what is red in a window, with the score that
    `score` gives to its share of the window's area."""

    max_windows = 4

    def __init__(self, score=lambda area: 0.9):
        self.config = PizaConfig(first_pixels=64, later_pixels=64)
        self.score, self.batches, self.progress = score, [], set()
        self.sentences = []

    def encode_text(self, sentences):
        self.sentences += sentences
        return list(sentences)

    def encode_frame(self, image, detail=None):
        return image

    def first_look(self, texts, frame, progress):
        return [self._detect(frame) for _ in texts]

    def refine(self, texts, images, progress):
        assert len(texts) == len(images) == len(progress) <= self.max_windows
        self.batches.append(len(images))
        self.progress |= set(progress)
        return [self._detect(image) for image in images]

    def read_history(self, histories):
        return np.zeros(len(histories)), np.ones(len(histories))

    def _detect(self, image):
        unsure = np.array([0.0, 0.0, 1.0, 1.0]), 0.002
        y, x = np.nonzero(image[..., 0] > 127)
        if not len(x):
            return Detections(unsure[0][None], np.array([unsure[1]]))
        height, width = image.shape[:2]
        box = np.array([x.min() / width, y.min() / height, (x.max() + 1) / width, (y.max() + 1) / height])
        score = self.score(float((box[2:] - box[:2]).prod()))
        return Detections(np.stack([box, unsure[0]]), np.array([score, unsure[1]]))
