"""Drawing a search: the frame with the windows looked at, and the last window enlarged, side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from piza.boxes import clip_xyxy
from piza.errors import InputError
from piza.files import atomic_write, check_writable
from piza.picture import Picture, cut
from piza.result import Result

# Okabe & Ito's colors, told apart by color-blind readers; red-orange between white lines is kept for the answer.
WINDOW_COLORS = ((86, 180, 233), (240, 228, 66), (0, 158, 115), (204, 121, 167), (0, 114, 178))
BOX_COLOR = (213, 94, 0)
DETOUR_COLOR = (190, 190, 190)  # windows and answers that were looked at and not believed
INK, PAPER = (34, 34, 34), (255, 255, 255)
DARK_HALO, LIGHT_HALO = (0, 0, 0), (255, 255, 255)

FRAME_PANEL = (1280, 720)
WINDOW_PANEL = (900, 720)
MARGIN = 16
TEXT_SIZE = 22
SMALL_TEXT_SIZE = 17
MAX_LINES = 5
SMALLEST_MARK = 14
"""Side, in pixels of the drawing, below which a box is drawn larger than it is, so that it is seen."""

SURROUNDINGS = 8.0
"""When there was only one look, the enlarged part is this many times the longer side of the box."""

SHOWN_REJECTED = 5

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

Box = Sequence[float]
Color = tuple[int, int, int]


def draw_result(result: Result) -> Image.Image:
    """Draw a search as an RGB image of some 1,300 to 2,200 pixels a side, whatever the size of its frame."""
    frame_wh = result.frame_size
    frame_xyxy = (0.0, 0.0, float(frame_wh[0]), float(frame_wh[1]))
    close_xyxy, looked_at = _closest_window(result)
    color = _window_color(looked_at) if looked_at is not None else INK

    left = _panel(result.picture, frame_xyxy, FRAME_PANEL)
    pen = ImageDraw.Draw(left)
    for window in result.detours:
        _outline(pen, _to_panel(window, frame_xyxy, left.size), DETOUR_COLOR, 2)
    for box, _ in result.rejected[:SHOWN_REJECTED]:
        _outline(pen, _at_least(_to_panel(box, frame_xyxy, left.size), SMALLEST_MARK), DETOUR_COLOR, 2)
    for index, window in enumerate(result.windows):
        _outline(pen, _to_panel(window, frame_xyxy, left.size), _window_color(index), 3)
        _label(pen, _to_panel(window, frame_xyxy, left.size), str(index + 1), _window_color(index), index)
    _outline(
        pen,
        _at_least(_to_panel(result.box_xyxy, frame_xyxy, left.size), SMALLEST_MARK),
        BOX_COLOR,
        2,
        LIGHT_HALO,
    )

    right = _panel(result.picture, close_xyxy, WINDOW_PANEL)
    pen = ImageDraw.Draw(right)
    _outline(pen, (0, 0, right.width, right.height), color, 4)
    _outline(
        pen,
        _at_least(_to_panel(result.box_xyxy, close_xyxy, right.size), SMALLEST_MARK),
        BOX_COLOR,
        3,
        LIGHT_HALO,
    )

    width, height = close_xyxy[2] - close_xyxy[0], close_xyxy[3] - close_xyxy[1]
    part = "around the box" if looked_at is None else f"window {looked_at + 1}"
    return _compose(
        [left, right],
        [
            f"{frame_wh[0]} x {frame_wh[1]} pixels, {result.looks_in_words}",
            f"{part}, {_pixels(width)} x {_pixels(height)} pixels, {_times(right.width / width)}",
        ],
        " ".join(result.expression.split()),
        _summary(result),
    )


def draw_box(
    picture: Picture,
    box_xyxy: Box,
    window_xyxy: Box,
    limit_wh: tuple[int, int],
    smallest: float = SMALLEST_MARK,
    line: int = 2,
) -> Image.Image:
    """A window of a picture, as large as fits into `limit_wh`, with one box drawn; both in pixels of the picture.

    In pixels of the drawing: `smallest`, the side below which the box is drawn larger than it is, and `line`, its width.
    """
    panel = _panel(picture, window_xyxy, limit_wh)
    height, width = picture.shape[:2]
    window = tuple(clip_xyxy(window_xyxy, (0, 0, width, height)))
    mark = _at_least(_to_panel(box_xyxy, window, panel.size), smallest)
    _outline(ImageDraw.Draw(panel), mark, BOX_COLOR, line, LIGHT_HALO)
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


def save_picture(image: Image.Image, path: str | Path) -> None:
    """Write an image; the suffix of `path` chooses PNG, JPEG or WebP. Raises InputError as `check_drawing_path` does."""
    check_drawing_path(path)
    with atomic_write(path) as temporary:
        image.save(temporary, FORMATS[Path(path).suffix.lower()], quality=92)


def check_drawing_path(path: str | Path) -> None:
    """Raise InputError when no drawing can be written to `path`: an unknown suffix, a folder that is not there."""
    if Path(path).suffix.lower() not in FORMATS:
        raise InputError(f"cannot draw to {str(path)!r}: the name must end in one of {', '.join(FORMATS)}")
    check_writable(path)


def _closest_window(result: Result) -> tuple[tuple[float, float, float, float], int | None]:
    """The window to enlarge and its place in the path; the surroundings of the box and None if only the frame was seen."""
    x1, y1, x2, y2 = result.box_xyxy
    center_x, center_y = (x1 + x2) / 2, (y1 + y2) / 2
    if len(result.path) > 1:
        for index in reversed(range(len(result.path))):
            window = result.windows[index]
            if window[0] <= center_x <= window[2] and window[1] <= center_y <= window[3]:
                break
        else:  # the answer lies in none of them: show where the search ended
            index = len(result.path) - 1
        w1, n1, w2, n2 = (float(v) for v in result.windows[index])
        return (w1, n1, w2, n2), index
    return surroundings_xyxy(result.box_xyxy, result.frame_size), None


def _panel(picture: Picture, window_xyxy: Box, limit_wh: tuple[int, int]) -> Image.Image:
    """The window, as large as fits into `limit_wh`; a long thin one is not made thinner than a tenth of the limit."""
    height, width = picture.shape[:2]
    window = clip_xyxy(window_xyxy, (0, 0, width, height))
    window_w, window_h = max(window[2] - window[0], 1e-3), max(window[3] - window[1], 1e-3)
    scale = min(limit_wh[0] / window_w, limit_wh[1] / window_h)
    size = (
        max(round(window_w * scale), limit_wh[0] // 10),
        max(round(window_h * scale), limit_wh[1] // 10),
    )
    return Image.fromarray(cut(picture, window, size))


def _to_panel(box_xyxy: Box, window_xyxy: Box, panel_wh: tuple[int, int]) -> Box:
    """A box in pixels of the frame -> in pixels of the panel that shows a window of the frame."""
    scale_x = panel_wh[0] / (window_xyxy[2] - window_xyxy[0])
    scale_y = panel_wh[1] / (window_xyxy[3] - window_xyxy[1])
    x1, y1, x2, y2 = box_xyxy
    return (
        (x1 - window_xyxy[0]) * scale_x,
        (y1 - window_xyxy[1]) * scale_y,
        (x2 - window_xyxy[0]) * scale_x,
        (y2 - window_xyxy[1]) * scale_y,
    )


def _at_least(box: Box, side: float) -> Box:
    """The box, grown about its center so that no side is shorter than `side`."""
    x1, y1, x2, y2 = box
    grow_x, grow_y = max(side - (x2 - x1), 0) / 2, max(side - (y2 - y1), 0) / 2
    return x1 - grow_x, y1 - grow_y, x2 + grow_x, y2 + grow_y


def _outline(pen: ImageDraw.ImageDraw, box: Box, color: Color, width: int, halo: Color = DARK_HALO) -> None:
    """A colored rectangle with a line of another brightness, seen on any ground; kept whole inside the panel."""
    panel_w, panel_h = pen.im.size
    pad = width + 1
    x1, y1 = (
        min(max(round(value), pad), limit - pad - 1) for value, limit in zip(box[:2], (panel_w, panel_h))
    )
    x2, y2 = (
        min(max(round(value), pad), limit - pad - 1) for value, limit in zip(box[2:], (panel_w, panel_h))
    )
    x2, y2 = max(x2, x1), max(y2, y1)
    pen.rectangle((x1 - pad, y1 - pad, x2 + pad, y2 + pad), outline=halo, width=width + 2)
    pen.rectangle((x1 - width, y1 - width, x2 + width, y2 + width), outline=color, width=width)


def _label(pen: ImageDraw.ImageDraw, box: Box, text: str, color: Color, index: int) -> None:
    """The number of a look on a patch of its color, at a corner of its window."""
    font = ImageFont.load_default(size=SMALL_TEXT_SIZE)
    side = SMALL_TEXT_SIZE + 8
    panel_w, panel_h = pen.im.size
    # Above its window where there is room, so that a small window is not covered by its own number; at the left and
    # the right by turns, so that the numbers of nested windows do not cover each other.
    x = round(box[0]) - 4 if index % 2 == 0 else round(box[2]) + 4 - side
    x = min(max(x, 0), panel_w - side - 1)
    y = min(max(round(box[1]) - side - 2, 0), panel_h - side - 1)
    pen.rectangle((x, y, x + side, y + side), fill=color, outline=DARK_HALO)
    dark = sum(weight * value for weight, value in zip((0.3, 0.59, 0.11), color)) < 128
    pen.text((x + side / 2, y + side / 2), text, fill=PAPER if dark else INK, font=font, anchor="mm")


def _compose(panels: list[Image.Image], captions: list[str], sentence: str, summary: str) -> Image.Image:
    """Sentence and summary on top, the panels side by side below, a caption under each."""
    font = ImageFont.load_default(size=TEXT_SIZE)
    small = ImageFont.load_default(size=SMALL_TEXT_SIZE)
    widths = [max(panel.width, round(small.getlength(text))) for panel, text in zip(panels, captions)]
    width = max(sum(widths) + MARGIN * (len(panels) + 1), round(small.getlength(summary)) + 2 * MARGIN, 640)
    lines = _wrap(sentence, font, width - 2 * MARGIN)
    line_height, small_height = round(TEXT_SIZE * 1.35), round(SMALL_TEXT_SIZE * 1.5)
    top = MARGIN + len(lines) * line_height + small_height + MARGIN // 2
    panel_height = max(panel.height for panel in panels)

    page = Image.new("RGB", (width, top + panel_height + small_height + MARGIN), PAPER)
    pen = ImageDraw.Draw(page)
    for index, line in enumerate(lines):
        pen.text((MARGIN, MARGIN + index * line_height), line, fill=INK, font=font)
    pen.text((MARGIN, MARGIN + len(lines) * line_height), summary, fill=INK, font=small)
    x = MARGIN
    for panel, caption, column in zip(panels, captions, widths):
        page.paste(panel, (x, top))
        pen.text((x, top + panel.height + 6), caption, fill=INK, font=small)
        x += column + MARGIN
    return page


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    """Lines of at most `width` pixels, broken between words, and inside a word that is longer than a line."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and font.getlength(f"{lines[-1]} {word}") > width:
            lines.append("")
        elif lines[-1]:
            word = f" {word}"
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                if len(lines) > MAX_LINES:
                    break
                lines.append("")
            lines[-1] += letter
        if len(lines) > MAX_LINES:
            return [*lines[: MAX_LINES - 1], lines[MAX_LINES - 1][:-3] + "..."]
    return lines


def _window_color(index: int) -> Color:
    return WINDOW_COLORS[index % len(WINDOW_COLORS)]


def _pixels(length: float) -> str:
    return f"{length:.0f}" if length >= 10 else f"{length:.1f}"


def _times(scale: float) -> str:
    return f"enlarged {scale:.1f} times" if scale >= 1 else f"shrunk {1 / scale:.1f} times"


def _summary(result: Result) -> str:
    x1, y1, x2, y2 = result.box_xyxy
    return (
        f"score {result.score:.2f}    box {x1:.0f}, {y1:.0f} to {x2:.0f}, {y2:.0f}"
        f" ({_pixels(x2 - x1)} x {_pixels(y2 - y1)} pixels)    {result.milliseconds:.0f} ms"
    )
