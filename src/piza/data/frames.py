"""A frame: one photo or drawn scene in memory, with all that is known of it. Training windows are cut from frames."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Annotation: TypeAlias = tuple[str, NDArray[np.float64], int]
"""One sentence about an image: the sentence, its target's box (4,) xyxy in pixels of the image, and the target's number
within the image, which sentences about the same object share."""


@dataclass
class Frame:
    """An image with sentences. All boxes are xyxy in pixels of the image.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        rows: one annotation a sentence; an object may have several.
        phrases: (noun phrase, (n, 4) all boxes it is true of).
        absent: sentences that are true of nothing in the image.
        objects: (m, 4) all objects that could be named; empty where they are not known. Where they are known, the numbers
            in `rows` are indices into them.
        relevance: for each row (m, 3), what each object is to its sentence, 0, 0.5 or 1, in the order of
            `piza.data.scenes.relevance.RELEVANCE`; empty where it is not known.
        attributes: for each object the words for its appearance, such as "color=red"; empty where they are not known.
    """

    image: NDArray[np.uint8]
    rows: list[Annotation]
    phrases: list[tuple[str, NDArray[np.float64]]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    objects: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    relevance: list[NDArray[np.float64]] = field(default_factory=list)
    attributes: list[list[str]] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]
