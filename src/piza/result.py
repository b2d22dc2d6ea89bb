"""What a search answers: one box, and every look that led to it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from piza.image import ImageArray, ImageReference

if TYPE_CHECKING:
    from PIL import Image

CANDIDATES_IN_DICT = 5

STOP_REASONS = {
    "stop": "the model said stop",
    "max_looks": "the path may not be longer",
    "no_shrink": "there was no closer window to look at",
    "budget": "all looks were used up",
    "nothing": "no look saw anything",
    "tiles": "all tiles were looked at",
}
"""Why a path ended (`Result.stopped`), in words."""


@dataclass(eq=False)
class Step:
    """One look.

    window_xyxy: the part of the frame looked at, in pixels of the frame.
    input_size: (width, height) in pixels of what the model was given.
    progress: how far along the search was believed to be before this look, 0 to 1.
    stop: how probable it was, before this look, that it would be the last one, 0 to 1.
    candidates_xyxy: (k, 4) the boxes this look proposed, in pixels of the frame, best first.
    candidate_scores: (k,) their scores, 0 to 1, falling.
    """

    window_xyxy: tuple[float, float, float, float]
    input_size: tuple[int, int]
    progress: float
    stop: float
    candidates_xyxy: NDArray[Any] = field(repr=False)
    candidate_scores: NDArray[Any] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, ready for JSON; of the candidates only the best five."""
        best = slice(0, CANDIDATES_IN_DICT)
        return {
            "window_xyxy": [float(v) for v in self.window_xyxy],
            "input_size": [int(v) for v in self.input_size],
            "progress": float(self.progress),
            "stop": float(self.stop),
            "candidates_xyxy": np.asarray(self.candidates_xyxy, dtype=float)[best].tolist(),
            "candidate_scores": np.asarray(self.candidate_scores, dtype=float)[best].tolist(),
        }


@dataclass(eq=False)
class Result:
    """The answer to one sentence about one image.

    expression: the sentence, as it was given.
    box_xyxy: the answer, in pixels of the frame; not rounded. The frame is the image as it was given; only what comes
        straight from a file is turned upright first.
    score: how probable it is that this is what the sentence names, 0 to 1, as far as the model's search was calibrated.
    path: the looks that led to the answer, in order.
    frame_size: (width, height) of the frame in pixels.
    stopped: why the path ended, a key of `STOP_REASONS`.
    milliseconds: time this sentence took, without loading the model.
    source: where the frame is, for drawing. A result does not hold its pixels, unless `keep_image` was asked for.
    num_looks: how many looks the search took; more than the path has where it followed other windows first.
    rejected: other answers that were found, with their scores, best first.
    detours: windows looked at that are not on the path, in order, xyxy in pixels of the frame.
    found: False where the score is below `SearchConfig.min_score`: the image is believed to hold no such thing, and the
        box is only the best guess.
    unknown_words: words of the sentence that the model was never taught.
    """

    expression: str
    box_xyxy: tuple[float, ...]
    score: float
    path: list[Step]
    frame_size: tuple[int, int]
    stopped: str
    milliseconds: float
    source: ImageReference = field(repr=False)
    num_looks: int = 0
    rejected: list[tuple[tuple[float, ...], float]] = field(default_factory=list)
    detours: list[tuple[float, float, float, float]] = field(default_factory=list)
    found: bool = True
    unknown_words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.num_looks = self.num_looks or len(self.path)

    @property
    def image(self) -> ImageArray:
        """The frame, uint8 (height, width, 3) RGB; a file is read again.

        Raises InputError where the image is gone: a file that was removed, an array that the program no longer holds.
        """
        return self.source.open()

    @property
    def windows(self) -> list[tuple[float, float, float, float]]:
        """The windows looked at, in order, xyxy in pixels of the frame."""
        return [step.window_xyxy for step in self.path]

    @property
    def looks_in_words(self) -> str:
        """How many looks were taken, and how many of them led to the answer when not all did."""
        words = f"{self.num_looks} look{'' if self.num_looks == 1 else 's'}"
        return (
            words
            if self.num_looks == len(self.path)
            else f"{words}, {len(self.path)} of them on the way to the answer"
        )

    def draw(self, width: int = 1800) -> "Image.Image":
        """The frame with every window and the box drawn in, and each look at a part of it enlarged and joined to its window.

        width: of the drawing in pixels, at most; text and lines grow with it. Raises InputError outside of 300 to 12,000.
        """
        from piza.visualize.draw import draw_result

        return draw_result(self, width)

    def save_drawing(self, path: str | Path) -> None:
        """Write `draw()` to a file; the suffix chooses the format (.png, .jpg, .webp).

        Raises InputError for a suffix that is none of these or a place that cannot be written.
        """
        from piza.visualize.draw import save_image

        save_image(self.draw(), path)

    def animate(self, path: str | Path, width: int = 640) -> None:
        """Write a zoom from the frame through the windows to the box, as a .gif or .webp of 3 MB or less.

        width: in pixels; it becomes less where the file would be larger. Raises InputError for another suffix, a width
        outside of 160 to 1,920, or a place that cannot be written.
        """
        from piza.visualize.animate import save_animation

        save_animation(self, path, width)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, as plain numbers, strings and lists, ready for JSON."""
        return {
            "expression": self.expression,
            "box_xyxy": [float(v) for v in self.box_xyxy],
            "score": float(self.score),
            "found": bool(self.found),
            "frame_size": [int(v) for v in self.frame_size],
            "stopped": self.stopped,
            "milliseconds": float(self.milliseconds),
            "num_looks": self.num_looks,
            "unknown_words": list(self.unknown_words),
            "rejected": [{"box_xyxy": list(box), "score": score} for box, score in self.rejected],
            "detours": [list(window) for window in self.detours],
            "path": [step.to_dict() for step in self.path],
        }

    def to_coco(
        self,
        image_id: int,
        category_id: int = 1,
        annotation_id: int | None = None,
        caption: bool = True,
    ) -> dict[str, Any]:
        """One entry of a COCO results or annotations list; the box is [x, y, width, height] in pixels of the frame. Empty
        where nothing was found.

        See `piza.exports.to_coco`.
        """
        from piza.exports import to_coco

        return to_coco(self, image_id, category_id, annotation_id, caption)

    def to_label_studio(
        self,
        image: str,
        label: str = "target",
        from_name: str = "label",
        to_name: str = "image",
        model_version: str = "piza",
    ) -> dict[str, Any]:
        """One Label Studio task with this answer as its prediction; the box is in percent of the frame. The prediction
        has no region where nothing was found.

        See `piza.exports.to_label_studio`.
        """
        from piza.exports import to_label_studio

        return to_label_studio(self, image, label, from_name, to_name, model_version)

    def to_supervision(self) -> Any:
        """The answer as `supervision.Detections` of one box, xyxy in pixels of the frame, or of none where nothing was
        found.

        Raises InputError when the package `supervision` is not installed. See `piza.exports.to_supervision`.
        """
        from piza.exports import to_supervision

        return to_supervision(self)
