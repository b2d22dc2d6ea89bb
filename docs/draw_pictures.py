"""Makes the pictures of docs/pictures.md: python docs/draw_pictures.py [FOLDER], by default docs/ itself.

The street is synthetic, and the windows are planned from the true target, so that the pictures need no model and stay the
same whatever a model learns. They show how a search is drawn, not how good one is.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from piza.boxes import xyxy_to_xywh
from piza.config import PathConfig
from piza.data import scenes
from piza.data.sorec import Row, read_rows
from piza.image import ImageArray, open_image
from piza.result import Result, Step
from piza.search.zoom_path import frame_window, input_size, plan_windows, square_window
from piza.visualize.draw import save_image

SEED, SIZE = 3, (2048, 1152)
SCORES = np.array([0.9, 0.2, 0.1])


def planned(picture: ImageArray, row: Row, config: PathConfig, **further) -> Result:
    """A search that goes straight to the target of a row."""
    size = (picture.shape[1], picture.shape[0])
    windows = plan_windows(np.array(row.box_xyxy), size, config)
    steps = [
        Step(
            tuple(window.tolist()),
            input_size(window, not number, 416, 224),
            number / len(windows),
            0.5,
            np.array([row.box_xyxy] * 3),
            SCORES,
        )
        for number, window in enumerate(windows)
    ]
    return Result(row.expression, row.box_xyxy, 0.83, steps, size, "stop", 125.0, picture, **further)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    with tempfile.TemporaryDirectory() as place:
        scenes.write(Path(place), 1, SEED, size=SIZE)
        rows = read_rows(Path(place) / "rows.json")
        picture = open_image(Path(place) / "images" / rows[0].image)
    # The smallest thing that can still be recognized.
    row = min(rows, key=lambda row: abs(float(xyxy_to_xywh(row.box_xyxy)[2:].max()) - 32))
    others = [other for other in rows if other.box_xyxy != row.box_xyxy]
    aside = others[0].box_xyxy
    center = ((aside[0] + aside[2]) / 2, (aside[1] + aside[3]) / 2)
    detour = tuple(square_window(center, 256, SIZE).tolist())
    two = planned(
        picture, row, PathConfig(max_zoom=32), num_looks=3, detours=[detour], rejected=[(aside, 0.06)]
    )
    save_image(two.draw(1200), folder / "pictures_two.jpg")
    four = planned(picture, row, PathConfig(max_zoom=1.9))
    save_image(four.draw(1200), folder / "pictures_four.jpg")
    assert len(two.path) < len(four.path) and frame_window(SIZE).tolist() == list(two.windows[0])


if __name__ == "__main__":
    main()
