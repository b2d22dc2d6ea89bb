"""Makes the pictures of docs/how_it_works.md: python docs/draw_how_it_works.py [FOLDER], by default docs/ itself.

The streets are synthetic, and in the second picture the scores are invented, so that the pictures need no model and stay
the same whatever a model learns. The windows, the sizes and the probabilities are those of the package's own functions.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from piza.boxes import iou_xyxy
from piza.config import PathConfig, SearchConfig
from piza.data import scenes
from piza.image import ImageArray, cut
from piza.result import Step
from piza.search.best_first import best_first
from piza.search.hypothesis import Hypothesis, Observation, SearchOutcome
from piza.search.zoom_path import frame_window, input_size, next_window, plan_windows
from piza.visualize.draw import save_image, surroundings_xyxy
from piza.visualize.primitives import (
    BOX_COLOR,
    INK,
    LIGHT_HALO,
    PAPER,
    SOFT_INK,
    at_least,
    font_of,
    outline,
    plate,
    to_panel,
)

FIRST, LATER = 576, 224  # `first_pixels` and `later_pixels` of the embedded model
PATH = PathConfig(answers="object")
SEARCH = SearchConfig(budget=5, accept_threshold=0.8)

SEEN_SCENE, SEEN_SIZE, SEEN_KIND = 7, (2048, 1152), "number 30 inside"
SEARCH_SCENE, SENTENCE = 4, "The triangular warning sign with a snowflake."
# Places of things among the scene's objects; what each look is made to say of them.
THINGS = {"A": 7, "B": 4, "C": 0}
TOLD = ({"A": 0.55, "B": 0.45, "C": 0.3}, {"A": 0.05}, {"B": 0.9})
COLORS = {"A": (240, 228, 66), "B": (0, 158, 115), "C": (204, 121, 167), "none": (190, 190, 190)}
GAP, MARGIN = 30, 24


def what_a_look_sees(folder: Path) -> None:
    """The same thing in the frame, at the size of the first look, and at that of the second."""
    scene = scenes.render(SEEN_SCENE, SEEN_SIZE)
    row = next(row for row in scene.rows if SEEN_KIND in row.ref)
    box = np.array(row.box_xyxy)
    frame = frame_window(SEEN_SIZE)
    window = plan_windows(box, SEEN_SIZE, PATH)[-1]
    part = np.array(surroundings_xyxy(box, SEEN_SIZE, 3))
    high = 340
    whole = shown(scene.image, frame, (round(high * SEEN_SIZE[0] / SEEN_SIZE[1]), high))
    pen = ImageDraw.Draw(whole)
    outline(pen, to_panel(window, frame, whole.size), COLORS["A"], 3)
    outline(pen, at_least(to_panel(box, frame, whole.size), 12), BOX_COLOR, 2, LIGHT_HALO)
    panels = [(whole, f"the frame, {SEEN_SIZE[0]} x {SEEN_SIZE[1]} pixels")]
    for name, looked_at in (("first", frame), ("second", window)):
        size = input_size(looked_at, name == "first", FIRST, LATER)
        near = to_panel(part, looked_at, size)
        given = Image.fromarray(cut(scene.image, looked_at, size))
        pixel_sized = given.crop([round(v) for v in near]).resize((high, high), Image.Resampling.NEAREST)
        thing = to_panel(box, looked_at, size)
        wide, tall = (f"{side:.0f}" for side in (thing[2] - thing[0], thing[3] - thing[1]))
        panels.append((pixel_sized, f"{name} look: {wide} x {tall} pixels"))
    save_image(
        page(
            panels,
            [],
            f"A sign of {box[2] - box[0]:.0f} x {box[3] - box[1]:.0f} pixels, as each look is given it",
        ),
        folder / "how_it_is_seen.jpg",
    )


def coming_back(folder: Path) -> None:
    """A search that goes wrong first: what each look says, and the probabilities after it."""
    size = (2048, 1152)
    scene = scenes.render(SEARCH_SCENE, size)
    boxes = {name: np.array(scene.objects[place].box_xyxy) for name, place in THINGS.items()}
    high = 340
    panels, bars = [], []
    for budget in range(1, len(TOLD) + 1):
        found = searched(boxes, size, replace(SEARCH, budget=budget))
        window = found.looked[-1]
        seen = input_size(window, budget == 1, FIRST, LATER)
        if budget == 1:
            panel = shown(scene.image, window, (round(high * size[0] / size[1]), high))
        else:
            panel = Image.fromarray(cut(scene.image, window, seen)).resize(
                (high, high), Image.Resampling.BICUBIC
            )
        pen = ImageDraw.Draw(panel)
        for name, box in boxes.items():
            if name in TOLD[budget - 1]:
                mark = at_least(to_panel(box, window, panel.size), 14)
                outline(pen, mark, COLORS[name], 3)
                plate(
                    pen,
                    (mark[0] - 4, mark[3] + 8),
                    f"{name} {TOLD[budget - 1][name]:.2f}",
                    COLORS[name],
                    font_of(22),
                )
        what = (
            "the whole frame" if budget == 1 else f"the window around {named(found.looked[-1], boxes, size)}"
        )
        panels.append((panel, f"look {budget}: {what}"))
        bars.append(shares(found, boxes))
    save_image(page(panels, bars, SENTENCE), folder / "how_it_comes_back.jpg")


def searched(boxes: dict[str, NDArray], size: tuple[int, int], config: SearchConfig) -> SearchOutcome:
    """The package's own search, with looks that say what `TOLD` holds."""
    taken: list[NDArray] = []

    def look(paths):
        found = []
        for path in paths:
            told = TOLD[len(taken)]
            taken.append(path.window)
            seen, scores = np.array([boxes[name] for name in told]), np.array(list(told.values()))
            pixels = input_size(path.window, len(taken) == 1, FIRST, LATER)
            step = Step(tuple(path.window.tolist()), pixels, 0.0, 0.0, seen, scores)
            found.append(Observation(step, seen, scores))
        return found

    def at_end(path: Hypothesis, seen: NDArray) -> list[bool]:
        return [bool(path.steps)] * len(seen)

    def window_of(box: NDArray, window: NDArray) -> NDArray:
        return next_window(box, window, size, PATH)

    return best_first(size, look, at_end, window_of, config)


def named(window: NDArray, boxes: dict[str, NDArray], size: tuple[int, int]) -> str:
    around = {name: next_window(box, frame_window(size), size, PATH) for name, box in boxes.items()}
    return max(around, key=lambda name: float(iou_xyxy(window, around[name])))


def shares(found: SearchOutcome, boxes: dict[str, NDArray]) -> dict[str, float]:
    """How probable each thing is, and that it is none of them."""
    total = dict.fromkeys(boxes, 0.0)
    for path in [found.answer, *found.rejected, *found.open]:
        total[max(boxes, key=lambda name: float(iou_xyxy(path.boxes[-1], boxes[name])))] += path.probability
    return {**total, "none": 1 - sum(total.values())}


def shown(picture: ImageArray, window: NDArray, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(cut(picture, window, size))


def page(panels: list[tuple[Image.Image, str]], bars: list[dict[str, float]], title: str) -> Image.Image:
    """Panels side by side with a caption under each, and below them the probabilities, if there are any."""
    head, caption, row = 74, 46, 40
    width = sum(panel.width for panel, _ in panels) + GAP * (len(panels) - 1) + 2 * MARGIN
    high = panels[0][0].height
    below = row * len(bars[0]) + 50 if bars else 0
    drawn = Image.new("RGB", (width, head + high + caption + below + MARGIN // 2), PAPER)
    pen = ImageDraw.Draw(drawn)
    pen.text((MARGIN, 20), title, fill=INK, font=font_of(34))
    x = MARGIN
    for number, (panel, text) in enumerate(panels):
        drawn.paste(panel, (x, head))
        pen.rectangle((x, head, x + panel.width - 1, head + high - 1), outline=INK)
        pen.text((x, head + high + 10), text, fill=INK, font=font_of(24))
        if bars:
            top = head + high + caption + 8
            pen.text((x, top), "how probable, then", fill=SOFT_INK, font=font_of(22))
            room = panels[-1][0].width - 160  # one scale for all
            for line, (name, share) in enumerate(bars[number].items()):
                y = top + 36 + line * row
                pen.text((x, y + 3), name, fill=INK, font=font_of(24))
                pen.rectangle(
                    (x + 72, y, x + 72 + max(room * share, 2), y + row - 12), fill=COLORS[name], outline=INK
                )
                pen.text((x + 84 + room * share, y + 3), f"{share:.0%}", fill=INK, font=font_of(22))
        x += panel.width + GAP
    return drawn


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    what_a_look_sees(place)
    coming_back(place)
