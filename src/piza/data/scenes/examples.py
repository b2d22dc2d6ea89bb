"""The drawn streets that `make demo` and the page of `piza serve` search in.

Their seeds and sentences were fixed before any model saw them, and no scene of these seeds is in the training data.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from piza.data.scenes import Expression

SCENES = ((71_500_001, (2048, 1152)), (71_500_002, (2560, 1440)), (71_500_003, (2560, 1920)))
"""Seed and (width, height) in pixels of each image."""

NUM_SENTENCES = 3
JPEG_QUALITY = 93


def render_scene(seed: int, size_wh: tuple[int, int]) -> "tuple[NDArray[np.uint8], list[Expression]]":
    """The street of a seed as pixels, (height, width, 3) RGB, and the sentences to ask, chosen without any model."""
    from piza.data.scenes import render
    from piza.data.scenes.write import pick_rows

    scene = render(seed, size_wh)
    return scene.image, pick_rows(scene.rows, NUM_SENTENCES, np.random.default_rng(seed))


def draw_scene(seed: int, size_wh: tuple[int, int], path: Path) -> "list[Expression]":
    """Write the street of a seed to a JPEG file; returns the sentences to ask. Raises InputError where it cannot."""
    from PIL import Image

    from piza.files import atomic_write

    image, rows = render_scene(seed, size_wh)
    with atomic_write(path) as temporary:
        Image.fromarray(image).save(temporary, quality=JPEG_QUALITY)
    return rows
