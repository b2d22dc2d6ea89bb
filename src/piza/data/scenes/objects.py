"""The parts of a scene once it is drawn, and the sentences about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

# A clause is a nested tuple of strings, numbers and tuples of clauses; see `meaning.Facts.value`.
Clause = tuple[Any, ...]


@dataclass(frozen=True)
class SceneObject:
    """A nameable thing as it is seen. Boxes and rows are frame pixels."""

    category: str  # "car", "person", "sign", "cone", ...
    color: str | None  # basic color name of what the eye names first, None for plants
    attributes: dict[str, str]
    box_xyxy: tuple[float, float, float, float]  # tight around the visible pixels
    visible: float  # share of its pixels that are in the picture and not covered
    depth: float  # meters from the camera
    shade: str = ""  # "", "light" or "dark"
    pole: int = -1  # equal for things on one pole
    truncated: bool = False  # reaches over the rim of the frame
    clarity: float = 1.0  # share of its own color that haze leaves
    certain: bool = True  # False: it may be there, and may be of this category

    @property
    def longest(self) -> float:
        """The longer side of the box, in pixels."""
        x0, y0, x1, y1 = self.box_xyxy
        return max(x1 - x0, y1 - y0)


@dataclass(frozen=True)
class Expression:
    """A sentence that is true of exactly one object of its scene."""

    ref: str
    box_xyxy: tuple[float, float, float, float]
    index: int  # the target's place in the scene's objects
    kind: str  # "attribute", "relation", "position" or "superlative"
    hard_category: bool  # another object of the same category exists
    hard_color: bool  # another object of the same color exists
    meaning: tuple[Clause, ...]  # what the sentence claims; all clauses must hold


@dataclass
class Scene:
    """A picture uint8 (H, W, 3) RGB, all nameable things in it, and sentences about them."""

    image: np.ndarray
    objects: list[SceneObject]
    rows: list[Expression] = field(default_factory=list)
