"""The batches of `mini`'s first look: frames for its list of objects, and lists for its matcher."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piza.data.frames import Frame
from piza.training.from_scratch.frames.scene_caches import SceneCaches, part_in_shape
from piza.training.from_scratch.frames.sign_photos import SignPhotos
from piza.training.listing import ListedFrame, ListedFrames, listed_frame

NUM_PROPOSALS = 64  # objects listed of an image
NUM_SENTENCES, NUM_SCENES = 24, 3  # of a batch of known objects
NO_SENTENCE = -100  # the target of padding
# Input sizes, width x height, of frames or of parts of them in these shapes; and how often each is drawn.
SIZES = {(768, 448): 0.75, (672, 512): 0.15, (576, 576): 0.1}


def list_caches(work: Path) -> list[Path]:
    """The caches of scenes at half their size, of which all objects are known."""
    return sorted(path.parent for path in work.glob("half*/frames.npy"))


@dataclass
class KnownObjectsBatch:
    """What the matcher gets of some frames, and what it should answer, in the shapes of `ExpressionMatcher.read`.

    Attributes:
        ids, mask: (frames, sentences, tokens).
        features: (frames, k, width) of objects.
        boxes: (frames, k, 4) cxcywh, normalized to the frame.
        aspect: height over width of the frames.
        target: (frames, sentences) the object that is meant, NO_SENTENCE where there is no sentence.
        relevance: (frames, sentences, k, 3).
    """

    ids: Tensor
    mask: Tensor
    features: Tensor
    boxes: Tensor
    aspect: float
    target: Tensor
    relevance: Tensor


class KnownObjects:
    """Drawn scenes as lists of objects, as a proposal network might have seen them: a little less, and a few that are none.

    Args:
        work: holds the caches.
        seed: of everything that is drawn.
        prompter: sentences as token ids and masks.
        words: the output index of each attribute word.
        states: the width of a proposal's states, which are not known here and left zero.
    """

    def __init__(
        self, work: Path, seed: int, prompter: Callable[..., Any], words: dict[str, int], states: int
    ):
        self.scenes = SceneCaches(*list_caches(work))
        self.seed, self.prompter, self.words, self.states = seed, prompter, words, states

    def __call__(self, step: int, process: int) -> KnownObjectsBatch:
        """The batch of a step."""
        rng = np.random.default_rng([self.seed, step, process])
        frames: list[Frame] = []
        while len(frames) < NUM_SCENES:
            frame = self.scenes.draw(rng)
            frames += [frame] if len(frame.objects) <= NUM_PROPOSALS else []
        asked = [rng.permutation(len(frame.rows))[:NUM_SENTENCES] for frame in frames]
        longest = max(map(len, asked))
        prompts = [
            [frame.rows[rows[k]][0] if k < len(rows) else "nothing"]
            for frame, rows in zip(frames, asked, strict=True)
            for k in range(longest)
        ]
        ids, mask, _ = self.prompter(prompts)
        ids, mask = (tensor.view(len(frames), longest, -1) for tensor in (ids, mask.bool()))
        seen = [self.observed(frame, rng) for frame in frames]
        target, relevance = self._answers(frames, asked, longest)
        features, boxes = (torch.from_numpy(np.stack(values)) for values in zip(*seen, strict=True))
        aspect = frames[0].size[1] / frames[0].size[0]
        return KnownObjectsBatch(ids, mask, features, boxes, aspect, target, relevance)

    def _answers(
        self, frames: list[Frame], asked: list[NDArray[np.int64]], longest: int
    ) -> tuple[Tensor, Tensor]:
        target = torch.full((len(frames), longest), NO_SENTENCE)
        relevance = torch.full((len(frames), longest, NUM_PROPOSALS, 3), 0.5)
        for row, (frame, rows) in enumerate(zip(frames, asked, strict=True)):
            target[row, : len(rows)] = torch.tensor([frame.rows[k][2] for k in rows])
            known = torch.tensor(np.array([frame.relevance[k] for k in rows]))
            relevance[row, : len(rows)] = 0
            relevance[row, : len(rows), : known.shape[1]] = known.float()
        return target, relevance

    def observed(
        self, frame: Frame, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The objects of a frame as they might be listed.

        Returns (NUM_PROPOSALS, width) features as `Proposals.features` has them, with zeros for the states, and
        (NUM_PROPOSALS, 4) boxes, cxcywh normalized to the frame.
        """
        real, noise = len(frame.objects), rng.uniform()
        attributes = np.zeros((NUM_PROPOSALS, len(self.words)), np.float32)
        for number, words in enumerate(frame.attributes):
            attributes[number, [self.words[word] for word in words if word in self.words]] = 1
        boxes = np.empty((NUM_PROPOSALS, 4))
        objects = frame.objects / np.tile(frame.size, 2)
        boxes[:real] = np.hstack([(objects[:, :2] + objects[:, 2:]) / 2, objects[:, 2:] - objects[:, :2]])
        for number in range(real, NUM_PROPOSALS):  # half are seen twice, half are no objects
            like = int(rng.integers(real))
            attributes[number] = attributes[like] * (rng.random(attributes.shape[1]) < 0.5)
            boxes[number] = boxes[like] + 0.02 * np.array([rng.normal(), rng.normal(), 0, 0])
            if rng.random() < 0.5:
                boxes[number] = *rng.random(2), 0.02, 0.03
        attributes *= 1 - 0.5 * noise * rng.random((NUM_PROPOSALS, 1)) * rng.random(attributes.shape)
        for _ in range(4):
            wrong = rng.integers(attributes.shape[1], size=NUM_PROPOSALS)
            attributes[np.arange(NUM_PROPOSALS), wrong] += 0.4 * noise * rng.random(NUM_PROPOSALS)
        boxes[:, :2] += 0.1 * noise * rng.normal(size=(NUM_PROPOSALS, 2)) * boxes[:, 2:]
        boxes[:, 2:] *= np.exp(0.1 * noise * rng.normal(size=(NUM_PROPOSALS, 2)))
        score = 0.3 * rng.random(NUM_PROPOSALS)
        score[:real] = 1 - 0.6 * noise * rng.random(real)
        states = np.zeros((NUM_PROPOSALS, self.states))
        features = np.hstack([states, attributes.clip(0, 1), score[:, None]])
        return features.astype(np.float32), boxes.astype(np.float32)


class FirstLooks:
    """Whole scenes and parts of them, and photos of signs, with their objects and sentences.

    `num_frames` of each batch have at most `max_sentences` each.
    """

    def __init__(self, work: Path, seed: int, words: dict[str, int], num_frames: int, max_sentences: int):
        self.scenes, self.signs = SceneCaches(*list_caches(work)), SignPhotos(work / "signs")
        self.seed, self.words = seed, words
        self.num_frames, self.max_sentences = num_frames, max_sentences

    def __call__(self, step: int, process: int) -> ListedFrames:
        """The batch of a step."""
        rng = np.random.default_rng([self.seed, step, process])
        sizes = list(SIZES)
        chosen = np.random.default_rng([self.seed, step]).choice(len(sizes), p=list(SIZES.values()))
        size = sizes[int(chosen)]
        listed_frames: list[ListedFrame] = []
        while len(listed_frames) < self.num_frames:
            frame = (self.signs if rng.random() < 0.25 else self.scenes).draw(rng)
            if size != sizes[0] or rng.random() < 0.3:
                frame = part_in_shape(frame, size, rng)
            if not frame.rows:
                continue
            listed = listed_frame(frame, size, self.words, rng, self.max_sentences)
            if len(listed.objects):
                listed_frames.append(listed)
        return ListedFrames(listed_frames, [bool(rng.random() < 0.5) for _ in listed_frames])
