"""The batches of `mini`'s grounder: windows of every size (stage A) and the looks of searches (stage B)."""

from pathlib import Path

import numpy as np

from piza.data.frames import Frame
from piza.data.windows import TrainingWindow, first_window, grounding_window, later_window, window_around
from piza.training.from_scratch.base_model.model import LATER_PIXELS, PATH
from piza.training.from_scratch.base_model.window_batches import SceneBatch, collate_scenes
from piza.training.from_scratch.frames.scene_caches import SceneCaches, any_box, part_around_target
from piza.training.from_scratch.frames.sign_photos import SignPhotos

# Input sizes, width x height: of frames, of tall frames, of parts, of later windows and of single objects.
FIRST, TALL_FIRST, CROP = (640, 352), (544, 416), (320, 192)
LATER, CLOSE = (LATER_PIXELS, LATER_PIXELS), (96, 64)
WIDE, TALL_WIDE = (768, 448), (672, 512)  # first looks of the second half
SENTENCE_COUNTS = (1, 8, 16)  # of a first look
CLOSE_SHARE = 0.06  # of the batches of stage B


class GroundingBatches:
    """Windows of every size; the answers are the objects themselves.

    `close_share` of the batches are small windows around single objects, where colors, kinds and numbers are learned ten times
    cheaper than in large ones.
    """

    def __init__(self, work: Path, seed: int, close_share: float):
        self.scenes, self.signs = SceneCaches(work / "scenes"), SignPhotos(work / "signs")
        self.seed, self.close_share = seed, close_share

    def __call__(self, step: int, process: int) -> SceneBatch:
        """The batch of a step."""
        chosen = np.random.default_rng([self.seed, step])
        from_signs = chosen.random() < 0.25
        close = bool(chosen.random() < self.close_share)
        large = not close and not from_signs and bool(chosen.random() < 0.3)
        widths = (1400.0, 2048.0) if large else (160.0, 1000.0) if from_signs else (240.0, 1400.0)
        size, count = (CLOSE, 48) if close else (FIRST, 3) if large else (CROP, 12)
        rng = np.random.default_rng([self.seed, step, process])
        windows: list[TrainingWindow] = []
        while len(windows) < count:
            frame = (self.signs if from_signs else self.scenes).draw(rng)
            for _ in range(4 if close else 1):  # drawing a frame costs more than cutting a small window
                window = self._window(frame, rng, size, close, widths)
                if window.answer or (window.sentences and rng.random() < 0.1):
                    windows.append(window)
        return collate_scenes(windows[:count], size, rng)

    def _window(
        self,
        frame: Frame,
        rng: np.random.Generator,
        size: tuple[int, int],
        close: bool,
        widths: tuple[float, float],
    ) -> TrainingWindow:
        box = any_box(frame, rng)
        longest = float((box[2:] - box[:2]).max())
        low, high = (1.5 * longest, 4.0 * longest) if close else widths
        window = window_around(box, frame.size, rng, low, high, size[0] / size[1])
        return grounding_window(
            frame,
            rng,
            window,
            min_side=(8.0 if close else 4.0) * (window[2] - window[0]) / size[0],
            sentence_share=0.1 if close else 0.5,
            absent_share=0.5 if close else 0.25,
        )


class ZoomBatches:
    """First looks, later looks, and some close ones that keep the names of objects fresh.

    Many first looks take a part of a scene for the frame: a quarter of the pixels at the same scale or a larger one, so
    that the same words are learned at a fraction of the price. From step `settle` on looks are as they will be: larger,
    mostly at whole frames, and more often at photos. `whole`: looks at the whole frame instead of all zooming.
    """

    def __init__(self, work: Path, seed: int, settle: int, whole: bool = False):
        # More can be drawn later, into folders beside the first.
        self.scenes, self.half = SceneCaches(work / "scenes"), SceneCaches(*sorted(work.glob("half*")))
        self.tall, self.signs = SceneCaches(work / "tall"), SignPhotos(work / "signs")
        self.seed, self.settle, self.whole = seed, settle, whole
        self.close = GroundingBatches(work, seed, close_share=1.0)

    def __call__(self, step: int, process: int) -> SceneBatch:
        """The batch of a step."""
        chosen = np.random.default_rng([self.seed, step])
        if chosen.random() < CLOSE_SHARE:
            batch = self.close(step, process)
            batch.progress[:] = 0.0 if self.whole else 0.5  # as of a last look
            return batch
        settled = step >= self.settle
        signs, parts = (0.25, 0.25) if settled else (0.18, 0.7)
        name = str(chosen.choice(["scenes", "tall", "signs"], p=[0.95 - signs, 0.05, signs]))
        first = self.whole or bool(chosen.random() < 0.7)
        part = first and name == "scenes" and bool(chosen.random() < parts)
        source, size, count = self._source(name, first, part, settled)
        max_sentences = int(chosen.choice(SENTENCE_COUNTS))
        rng = np.random.default_rng([self.seed, step, process])
        windows: list[TrainingWindow] = []
        while len(windows) < count:
            frame = source.draw(rng)
            if part:
                frame = part_around_target(frame, rng, CROP)
            if not frame.rows:
                continue
            if first:
                window = first_window(frame, rng, PATH, self.whole, max_sentences)
            else:
                window = later_window(frame, rng, PATH)
            if window.sentences:
                windows.append(window)
        return collate_scenes(windows, size, rng)

    def _source(
        self, name: str, first: bool, part: bool, settled: bool
    ) -> tuple[SceneCaches | SignPhotos, tuple[int, int], int]:
        """Where frames come from, the size of the input, and how many windows make a batch."""
        sources: dict[str, SceneCaches | SignPhotos] = {
            "scenes": self.half if first else self.scenes,
            "tall": self.tall,
            "signs": self.signs,
        }
        if not first:
            return sources[name], LATER, 12
        if part:
            return self.half, CROP, 12
        source = sources[name]
        if name == "tall":
            return source, TALL_WIDE if settled else TALL_FIRST, 3 if settled else 4
        return source, WIDE if settled else FIRST, 3 if settled else 4
