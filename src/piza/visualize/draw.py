"""Drawing a search: the frame with the windows looked at, and every later look enlarged, joined to its window."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from piza.boxes import clip_xyxy
from piza.errors import InputError
from piza.files import as_path, atomic_write, check_writable
from piza.image import ImageArray, cut
from piza.visualize.facts import NOTHING, legend_of, pixels, shown_rejected, summary_of
from piza.visualize.layout import Sizes, place_panels
from piza.visualize.primitives import (
    BOX_COLOR,
    DARK_HALO,
    DETOUR_COLOR,
    GRAY_HALO,
    INK,
    LIGHT_HALO,
    PAPER,
    SMALLEST_MARK,
    SOFT_INK,
    WINDOW_COLORS,
    Box,
    Color,
    Font,
    at_least,
    drawable,
    free_place,
    line,
    moved,
    outline,
    plate,
    plate_size,
    to_panel,
    touch,
    window_color,
    wrap,
)

if TYPE_CHECKING:
    from piza.result import Result

__all__ = [
    "BOX_COLOR",
    "FORMATS",
    "WIDTH",
    "WINDOW_COLORS",
    "check_drawing_path",
    "draw_box",
    "draw_result",
    "encode_image",
    "save_image",
    "surroundings_xyxy",
]

WIDTH = 1800
"""Pixels of a drawing from left to right, at most: the width of a page at 250 dots an inch."""

NARROWEST, WIDEST = 300, 12_000

SURROUNDINGS = 8.0
"""When there was only one look, the enlarged part is this many times the longer side of the box."""

WHOLE = 0.999  # a window that covers this share of the frame's area is the frame
SHOWN_INSETS = 8

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass
class View:
    """One panel. window_xyxy: what it shows, in pixels of the frame. number: of its look, from 1, or "" if it is none.
    seen: (width, height) in pixels of the model's input, None to show the pixels of the frame. name: if it has no
    number."""

    window_xyxy: Box
    number: str
    color: Color
    seen: tuple[int, int] | None
    name: str = ""

    @property
    def halo(self) -> Color:
        return LIGHT_HALO if self.color == INK else DARK_HALO

    def captions(self) -> list[str]:
        """What stands under the panel, the longest first."""
        width, height = self.window_xyxy[2] - self.window_xyxy[0], self.window_xyxy[3] - self.window_xyxy[1]
        size = f"{pixels(width)} x {pixels(height)} pixels"
        if not self.number:
            return [f"{self.name}: {size}", size]
        seen = [f"{size}, seen at {self.seen[0]} x {self.seen[1]}"] if self.seen else []
        return [*(f"look {self.number}: {text}" for text in seen), *seen, size]


def draw_result(result: "Result", width: int = WIDTH) -> Image.Image:
    """Draw a search as an RGB image of `width` pixels or less; text and lines grow with `width`, 300 to 12,000.

    The frame with all windows, then every look but that at the whole frame as the model saw it (resized to its input, and
    enlarged), each with the next window in it and joined to it by thin lines. Where the frame was all that was looked at,
    the surroundings of the box are enlarged. A panorama's looks stand below it. Where nothing was found, the drawing says so
    and the best guess is dashed. Raises InputError for another width.
    """
    if not isinstance(width, (int, float)) or not NARROWEST <= width <= WIDEST:
        raise InputError(f"a drawing may be {NARROWEST} to {WIDEST} pixels wide, got {width!r:.60}")
    sizes = Sizes(width, WIDTH)
    views = _views(result)
    image = result.image
    frame_w, frame_h = result.frame_size
    x1, _, x2, _ = views[1].window_xyxy
    cells = place_panels(frame_w / frame_h, len(views) - 1, (x1 + x2) / 2 / frame_w, sizes)
    panels = [
        _panel(image, view.window_xyxy, (round(c[2] - c[0]), round(c[3] - c[1])), view.seen)
        for view, c in zip(views, cells)
    ]
    places = [
        (round(cell[0] + (cell[2] - cell[0] - panel.width) / 2 * (number > 0)), round(cell[1]))
        for number, (cell, panel) in enumerate(zip(cells, panels))
    ]
    for number, panel in enumerate(panels):
        _draw_boxes(panel, views, number, result, sizes)

    right = max(x + panel.width for (x, _), panel in zip(places, panels))
    bottom = max(y + panel.height for (_, y), panel in zip(places, panels)) + sizes.caption
    page_w = round(max(right + sizes.margin, min(width, sizes.of(900))))
    header = wrap(drawable(result.expression), sizes.font, page_w - 2 * sizes.margin)
    verdict = [] if result.found else wrap(NOTHING, sizes.font, page_w - 2 * sizes.margin)
    facts = wrap(summary_of(result), sizes.small_font, page_w - 2 * sizes.margin)
    legend = wrap(legend_of(result), sizes.small_font, page_w - 2 * sizes.margin) if legend_of(result) else []
    above = len(header) + len(verdict)
    head = round(sizes.margin + above * sizes.line + len(facts) * sizes.small_line + sizes.margin * 0.7)
    foot = round(sizes.margin * 0.6 + len(legend) * sizes.small_line)
    page = Image.new("RGB", (page_w, round(head + bottom + foot)), PAPER)
    pen = ImageDraw.Draw(page)
    _write(pen, (sizes.margin, sizes.margin), header, INK, sizes.font, sizes.line)
    _write(
        pen,
        (sizes.margin, sizes.margin + len(header) * sizes.line),
        verdict,
        BOX_COLOR,
        sizes.font,
        sizes.line,
    )
    below_header = sizes.margin + above * sizes.line
    _write(pen, (sizes.margin, below_header), facts, SOFT_INK, sizes.small_font, sizes.small_line)
    _write(pen, (sizes.margin, head + bottom), legend, SOFT_INK, sizes.small_font, sizes.small_line)

    places = [(x, y + head) for x, y in places]
    for panel, place in zip(panels, places):
        page.paste(panel, place)
    for number in range(1, len(views)):
        _join(page, views, panels, places, number, sizes)
    for number, view in enumerate(views):
        _caption(pen, view, panels[number], places[number], sizes)
        _name_boxes(pen, views, number, panels[number].size, places[number], result, sizes)
    return page


def draw_box(
    image: ImageArray,
    box_xyxy: Box,
    window_xyxy: Box,
    limit_wh: tuple[int, int],
    min_scale: float = SMALLEST_MARK,
    line: int = 2,
) -> Image.Image:
    """A window of an image, as large as fits into `limit_wh`, with one box drawn; both in pixels of the image.

    In pixels of the drawing: `min_scale`, the side below which the box is drawn larger than it is, and `line`, its width.
    """
    panel = _panel(image, window_xyxy, limit_wh)
    height, width = image.shape[:2]
    window = tuple(clip_xyxy(window_xyxy, (0, 0, width, height)))
    mark = at_least(to_panel(box_xyxy, window, panel.size), min_scale)
    outline(ImageDraw.Draw(panel), mark, BOX_COLOR, line, LIGHT_HALO)
    return panel


def surroundings_xyxy(
    box_xyxy: Box, frame_wh: tuple[int, int], times: float = SURROUNDINGS
) -> tuple[float, float, float, float]:
    """The square window around a box, `times` its longer side, moved and cut to lie inside the frame."""
    x1, y1, x2, y2 = box_xyxy
    frame_w, frame_h = frame_wh
    side = max(times * max(x2 - x1, y2 - y1), 1.0)
    width, height = min(side, frame_w), min(side, frame_h)
    left = float(np.clip((x1 + x2) / 2 - width / 2, 0, frame_w - width))
    top = float(np.clip((y1 + y2) / 2 - height / 2, 0, frame_h - height))
    return left, top, left + width, top + height


def save_image(image: Image.Image, path: str | Path) -> None:
    """Write an image; the suffix of `path` chooses PNG, JPEG or WebP. Raises InputError as `check_drawing_path` does."""
    check_drawing_path(path)
    with atomic_write(path) as temporary:
        temporary.write_bytes(encode_image(image, Path(path).suffix.lower()))


def encode_image(image: Image.Image, suffix: str) -> bytes:
    """The bytes of the file that `save_image` writes; suffix: one of `FORMATS`. No file is written."""
    file = io.BytesIO()
    # Full color resolution: thin colored lines turn gray otherwise.
    options = {"subsampling": 0} if FORMATS[suffix] == "JPEG" else {}
    image.save(file, FORMATS[suffix], quality=92, **options)
    return file.getvalue()


def check_drawing_path(path: str | Path) -> None:
    """Raise InputError when no drawing can be written to `path`: an unknown suffix, a folder that is not there."""
    if as_path(path).suffix.lower() not in FORMATS:
        raise InputError(f"cannot draw to {str(path)!r}: the name must end in one of {', '.join(FORMATS)}")
    check_writable(path)


def _views(result: "Result") -> list[View]:
    """The frame, then every look at a part of it; the surroundings of the box if there was none."""
    frame_w, frame_h = result.frame_size
    whole: Box = (0.0, 0.0, float(frame_w), float(frame_h))
    frame = View(whole, "", INK, None, "the frame")
    insets = []
    for index, step in enumerate(result.path):
        window = tuple(clip_xyxy(step.window_xyxy, whole).tolist())
        area = (window[2] - window[0]) * (window[3] - window[1])
        view = View(window, str(index + 1), window_color(index), step.input_size)
        if area >= WHOLE * frame_w * frame_h:
            if not frame.number:
                frame = view
        elif area > 0:
            insets.append(view)
    name = "around the box" if result.found else "around the best guess"
    around = View(surroundings_xyxy(result.box_xyxy, result.frame_size), "", INK, None, name)
    return [frame, *(insets[-SHOWN_INSETS:] or [around])]


def _panel(
    image: ImageArray, window_xyxy: Box, limit_wh: tuple[int, int], seen: tuple[int, int] | None = None
) -> Image.Image:
    """The window, as large as fits into `limit_wh`; a long thin one is not made thinner than a tenth of the limit.

    With `seen` it is shrunk to that size first, as the model saw it; the frame is always drawn from its own pixels.
    """
    height, width = image.shape[:2]
    window = clip_xyxy(window_xyxy, (0, 0, width, height))
    window_w, window_h = max(window[2] - window[0], 1e-3), max(window[3] - window[1], 1e-3)
    scale = min(limit_wh[0] / window_w, limit_wh[1] / window_h)
    size = (
        max(round(window_w * scale), limit_wh[0] // 10, 1),
        max(round(window_h * scale), limit_wh[1] // 10, 1),
    )
    whole = window_w * window_h >= WHOLE * width * height
    if seen is None or whole or min(seen) < 1 or (seen[0] >= size[0] and seen[1] >= size[1]):
        return Image.fromarray(cut(image, window, size))
    return Image.fromarray(cut(image, window, seen)).resize(size, Image.Resampling.BICUBIC)


def _draw_boxes(panel: Image.Image, views: list[View], number: int, result: "Result", sizes: Sizes) -> None:
    """Everything that lies in one panel, the most important last: gray, then windows, then the answer."""
    view, pen = views[number], ImageDraw.Draw(panel)

    def at(box: Box, min_scale: float = 0.0) -> Box:
        return at_least(to_panel(box, view.window_xyxy, panel.size), min_scale)

    if number == 0:
        for window in result.detours:
            outline(pen, at(window), DETOUR_COLOR, sizes.thin, GRAY_HALO)
    for box, _ in shown_rejected(result):
        if touch(box, view.window_xyxy):
            outline(pen, at(box, sizes.mark), DETOUR_COLOR, sizes.thin, GRAY_HALO)
    inner = views[1:] if number == 0 else views[number + 1 : number + 2]
    for later in inner:
        if touch(later.window_xyxy, view.window_xyxy):
            outline(pen, at(later.window_xyxy), later.color, sizes.thin, later.halo)
    if number or view.number:
        outline(pen, (0, 0, *panel.size), view.color, sizes.thick, view.halo)
    if touch(at_least(result.box_xyxy, 1e-6), view.window_xyxy):
        outline(pen, at(result.box_xyxy, sizes.mark), BOX_COLOR, sizes.thin, LIGHT_HALO, not result.found)


def _name_boxes(
    pen: ImageDraw.ImageDraw,
    views: list[View],
    number: int,
    panel_wh: tuple[int, int],
    place: tuple[int, int],
    result: "Result",
    sizes: Sizes,
) -> None:
    """Numbers beside windows, probabilities beside answers, where they hide neither each other nor a box."""
    view = views[number]
    bounds = moved((0, 0, *panel_wh), *place)

    def at(box: Box, min_scale: float = 0.0) -> Box:
        return moved(at_least(to_panel(box, view.window_xyxy, panel_wh), min_scale + 2 * sizes.thin), *place)

    shown = [pair for pair in shown_rejected(result) if touch(pair[0], view.window_xyxy)]
    answer = at(result.box_xyxy, sizes.mark)
    inner = views[1:] if number == 0 else views[number + 1 : number + 2]
    windows = [at(window.window_xyxy) for window in inner]
    taken = [answer, *(at(box, sizes.mark) for box, _ in shown)]

    def write(text: str, around: Box, color: Color, font: Font, hidden: list[Box]) -> None:
        room = free_place(plate_size(text, font), around, bounds, [*taken, *hidden], sizes.of(5))
        if room is not None:
            plate(pen, room, text, color, font)
            taken.append((*room, *(a + b for a, b in zip(room, plate_size(text, font)))))

    is_last = number == len(views) - 1
    if is_last and touch(at_least(result.box_xyxy, 1e-6), view.window_xyxy):
        text = f"{result.score:.2f}" if result.found else f"best guess {result.score:.2f}"
        write(text, answer, BOX_COLOR, sizes.plate_font, [])
    for index, window in enumerate(inner):
        if window.number:
            write(window.number, windows[index], window.color, sizes.plate_font, windows[index + 1 :])
    for box, score in shown:
        # Words beside a box too small to be seen apart from a window would hide what is in the window.
        write(f"{score:.2f}", at(box, sizes.mark), DETOUR_COLOR, sizes.tiny_font, windows[-1:])


def _join(
    page: Image.Image,
    views: list[View],
    panels: list[Image.Image],
    places: list[tuple[int, int]],
    number: int,
    sizes: Sizes,
) -> None:
    """Two thin lines from the window in the panel before to its own panel; they leave on the side away from the window."""
    before, own = places[number - 1], places[number]
    panel, source = panels[number], panels[number - 1]
    window, shown = views[number].window_xyxy, views[number - 1].window_xyxy
    if not touch(window, shown):
        return
    x1, y1, x2, y2 = moved(to_panel(clip_xyxy(window, shown).tolist(), shown, source.size), *before)
    left, top, right, bottom = moved((0, 0, *panel.size), *own)
    if left >= before[0] + source.width:
        pairs = [((x2, y1), (left, top)), ((x2, y2), (left, bottom - 1))]
    elif right <= before[0]:
        pairs = [((x1, y1), (right, top)), ((x1, y2), (right, bottom - 1))]
    else:
        pairs = [((x1, y2), (left, top)), ((x2, y2), (right - 1, top))]
    for start, end in pairs:
        line(page, start, end, views[number].halo, sizes.beam + 1.2)
        line(page, start, end, views[number].color, sizes.beam)


def _caption(
    pen: ImageDraw.ImageDraw, view: View, panel: Image.Image, place: tuple[int, int], sizes: Sizes
) -> None:
    """Number and size of a look, under its panel."""
    x, y = place[0], place[1] + panel.height + round(sizes.of(7))
    room = panel.width
    if view.number:
        plate(pen, (x, y), view.number, view.color, sizes.plate_font)
        wide = plate_size(view.number, sizes.plate_font)[0] + round(sizes.of(8))
        x, room = x + wide, room - wide
    captions = view.captions()
    fitting = [text for text in captions if sizes.small_font.getlength(text) <= room] or captions[-1:]
    height = plate_size("1", sizes.plate_font)[1]
    # On a ground of its own, because lines to a panel below pass here.
    pen.rectangle(
        (x - sizes.of(6), y, x + sizes.small_font.getlength(fitting[0]) + sizes.of(6), y + height), fill=PAPER
    )
    pen.text((x, y + height / 2), fitting[0], fill=INK, font=sizes.small_font, anchor="lm")


def _write(
    pen: ImageDraw.ImageDraw,
    place: tuple[float, float],
    lines: list[str],
    color: Color,
    font: Font,
    height: float,
) -> None:
    for index, text in enumerate(lines):
        pen.text((place[0], place[1] + index * height), text, fill=color, font=font)
