"""A model that finds red things by their pixels, for tests of what surrounds a model."""

from types import SimpleNamespace

import numpy as np
import torch

from piza.config import PathConfig
from piza.model.grounder import Grounding


class FakeModel:
    """Answers every sentence with the extent of what is red in a window, and is as sure as `sure` says."""

    device = torch.device("cpu")
    config = SimpleNamespace(path=PathConfig(), first_pixels=64, later_pixels=64)

    def __init__(self, sure=lambda area: 0.9):
        self.sure, self.batches, self.progress = sure, [], set()
        self.texts = 0

    def encode_prompts(self, prompts):
        self.texts += 1
        return torch.zeros(1, 4, 2), torch.ones(1, 4, 1)

    def encode_images(self, pictures):
        self.batches.append(len(pictures))
        return np.stack(list(pictures))

    def ground(self, text, pooling, pictures, progress):
        assert len(text) == len(pooling) == len(pictures) == len(progress)
        self.progress |= set(progress.tolist())
        boxes, logits = torch.full((1, len(pictures), 2, 4), 0.5), torch.full((1, len(pictures), 2, 1), -6.0)
        for number, picture in enumerate(pictures):
            y, x = np.nonzero(picture[..., 0] > 127)
            if len(x):
                height, width = picture.shape[:2]
                low, high = (
                    np.array([x.min() / width, y.min() / height]),
                    np.array([(x.max() + 1) / width, (y.max() + 1) / height]),
                )
                boxes[0, number, 1] = torch.from_numpy(np.concatenate([(low + high) / 2, high - low]))
                logits[0, number, 1] = torch.logit(torch.tensor(self.sure(float((high - low).prod()))))
        empty = torch.zeros(0)
        return Grounding(logits, boxes, empty, empty)
