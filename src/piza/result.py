"""What a search answers: one box, and every look that led to it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from piza.errors import InputError
from piza.image import DecodedImage, ImageArray

if TYPE_CHECKING:
    from PIL import Image

CANDIDATES_IN_DICT = 5


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
    candidates_xyxy: NDArray = field(repr=False)
    candidate_scores: NDArray = field(repr=False)

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
    """The answer to one sentence about one picture.

    expression: the sentence, as it was given.
    box_xyxy: the answer, in pixels of the frame (the upright picture); not rounded.
    score: how probable it is that this is what the sentence names, 0 to 1, as far as the model's search was calibrated.
    path: the looks, in the order they were taken.
    frame_size: (width, height) of the frame in pixels.
    stopped: why the path ended: "stop" (the model said so), "max_steps", "no_shrink" (no closer window to look at) or
        "budget" (no look was left to follow it to its end) or "nothing" (no look saw anything); "tiles" where there was
        no search (`piza.evaluation.baselines`).
    milliseconds: time this sentence took, without loading the model.
    picture: the frame, uint8 (height, width, 3) RGB, kept for drawing.
    looks: how many looks the search took; more than the path has where it followed other windows first.
    rejected: other answers that were found, with their scores, best first.
    detours: windows looked at that are not on the path, in order, xyxy in pixels of the frame.
    found: False where the score is below the `min_score` that was asked for: the picture is believed to hold no such
        thing, and the box is only the best guess. Always True without a `min_score`.
    """

    expression: str
    box_xyxy: tuple[float, ...]
    score: float
    path: list[Step]
    frame_size: tuple[int, int]
    stopped: str
    milliseconds: float
    picture: ImageArray = field(repr=False)
    looks: int = 0
    rejected: list[tuple[tuple[float, ...], float]] = field(default_factory=list)
    detours: list[tuple[float, float, float, float]] = field(default_factory=list)
    found: bool = True

    def __post_init__(self) -> None:
        self.looks = self.looks or len(self.path)

    @property
    def windows(self) -> list[tuple[float, float, float, float]]:
        """The windows looked at, in order, xyxy in pixels of the frame."""
        return [step.window_xyxy for step in self.path]

    @property
    def looks_in_words(self) -> str:
        """How many looks were taken, and how many of them led to the answer when not all did."""
        words = f"{self.looks} look{'' if self.looks == 1 else 's'}"
        return (
            words
            if self.looks == len(self.path)
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
        from piza.visualize.draw import save_picture

        save_picture(self.draw(), path)

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
            "looks": self.looks,
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


class _Pixels:
    """`Result.picture`: an array, made when it is first asked for where the search needed none."""

    def __get__(self, result: Result | None, owner: type) -> Any:
        if result is None:  # asked of the class
            return self
        given = result.__dict__["picture"]
        return given.array() if isinstance(given, DecodedImage) else given

    def __set__(self, result: Result, value: ImageArray | DecodedImage) -> None:
        result.__dict__["picture"] = value


Result.picture = _Pixels()  # type: ignore[assignment]


def check_min_score(min_score: float | None) -> None:
    """Raise InputError unless `min_score` is None or a probability, 0 to 1."""
    if min_score is not None and not 0 <= min_score <= 1:  # NaN is refused, too
        raise InputError(f"min_score must be a probability from 0 to 1, but {min_score} was given.")
