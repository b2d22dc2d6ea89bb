"""A search as a short film: from the frame through its windows to the box."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from piza.boxes import clip_xyxy
from piza.errors import InputError
from piza.files import as_path, atomic_write, check_writable
from piza.image import ImageArray, cut
from piza.visualize.draw import surroundings_xyxy
from piza.visualize.primitives import (
    BOX_COLOR,
    INK,
    LIGHT_HALO,
    PAPER,
    SOFT_INK,
    WINDOW_COLORS,
    Box,
    at_least,
    drawable,
    font_of,
    free_place,
    outline,
    plate,
    plate_size,
    to_panel,
    window_color,
    wrap,
)

if TYPE_CHECKING:
    from piza.result import Result

FORMATS = {".gif": "GIF", ".webp": "WEBP"}
WIDTH = 640
NARROWEST, WIDEST = 160, 1920

MOVES, MIN_MOVES, MAX_FRAMES = 14, 6, 42  # frames of one movement: fewer where there are many movements
MOVE_MS, PAUSE_MS, LAST_MS = 60, 1100, 2600
CLOSE = 5.0  # the end shows this many times the longer side of the box
ASPECTS = (0.6, 2.4)  # of the moving image; longer and taller frames get bars
COLORS = 96  # of a GIF; more look hardly better and take more room
MAX_BYTES = 3_000_000
"""Bytes: a larger animation is made again, smaller."""

BARS = (40, 40, 40)


def save_animation(result: "Result", path: str | Path, width: int = WIDTH) -> None:
    """Write a zoom from the frame through the windows of the path to the box, as an animated GIF or WebP.

    width: pixels, 160 to 1,920; where the file would be over 3 MB, it becomes less. Written beside `path` and renamed, so
    there is never half a file. Raises InputError for another suffix or width, or a place that cannot be written.
    """
    suffix = as_path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"cannot animate to {str(path)!r}: the name must end in {' or '.join(FORMATS)}")
    check_writable(path)
    data = encode_animation(result, suffix, width)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def encode_animation(result: "Result", suffix: str, width: int = WIDTH) -> bytes:
    """The bytes of the file that `save_animation` writes; suffix: ".gif" or ".webp". No file is written.

    Raises InputError for another width.
    """
    if not isinstance(width, (int, float)) or not NARROWEST <= width <= WIDEST:
        raise InputError(f"an animation may be {NARROWEST} to {WIDEST} pixels wide, got {width!r:.60}")
    width = int(width)
    data = _encode(*animation_frames(result, width), FORMATS[suffix])
    while len(data) > MAX_BYTES and width > NARROWEST:
        # Bytes grow with the area; a little less than that would give, so that one more turn is usually enough.
        width = max(NARROWEST, int(width * min(0.9, 0.95 * (MAX_BYTES / len(data)) ** 0.5)))
        data = _encode(*animation_frames(result, width), FORMATS[suffix])
    return data


def animation_frames(result: "Result", width: int) -> tuple[list[Image.Image], list[int]]:
    """The frames of the animation, RGB and `width` pixels wide, and how long each is shown, in milliseconds."""
    frame_w, frame_h = result.frame_size
    aspect = min(max(frame_w / frame_h, ASPECTS[0]), ASPECTS[1])
    size = (width, max(round(width / aspect), 1))
    foot = _foot(result, width)
    stops = _stops(result, aspect)
    image = result.image  # held, so that a file is decoded once
    moves = max(MIN_MOVES, min(MOVES, MAX_FRAMES // max(len(stops) - 1, 1)))
    frames, times = [], []
    for number, (view, shown) in enumerate(stops):
        if number:
            for part in range(1, moves):
                share = part / moves
                eased = share * share * (3 - 2 * share)
                frames.append(
                    _frame(result, image, _between(stops[number - 1][0], view, eased), size, shown, foot)
                )
                times.append(MOVE_MS * MOVES // moves)
        frames.append(_frame(result, image, view, size, shown, foot))
        times.append(LAST_MS if number == len(stops) - 1 else PAUSE_MS)
    return frames, times


def _stops(result: "Result", aspect: float) -> list[tuple[Box, int]]:
    """Where the film pauses: (the view, of the film's aspect, in pixels of the frame; how many looks it has shown)."""
    frame_w, frame_h = result.frame_size
    frame = (0.0, 0.0, float(frame_w), float(frame_h))
    close = surroundings_xyxy(result.box_xyxy, result.frame_size, CLOSE)
    windows = [(frame, 1), *((window, n) for n, window in enumerate(result.windows, start=1))]
    stops: list[tuple[Box, int]] = []
    for window, number in [*windows, (close, len(result.path) + 1)]:
        view = _fill(clip_xyxy(window, frame).tolist(), aspect, frame)
        if stops and np.allclose(stops[-1][0], view, atol=0.02 * (view[2] - view[0])):
            stops[-1] = (stops[-1][0], number)
        else:
            stops.append((view, number))
    return stops


def _fill(window: Box, aspect: float, frame: Box) -> Box:
    """The smallest view of this aspect (width / height) around a window, moved into the frame where it fits."""
    width = max(window[2] - window[0], aspect * (window[3] - window[1]), 1.0)
    height = width / aspect
    x = _inside((window[0] + window[2] - width) / 2, width, frame[2])
    y = _inside((window[1] + window[3] - height) / 2, height, frame[3])
    return x, y, x + width, y + height


def _inside(start: float, length: float, limit: float) -> float:
    return (limit - length) / 2 if length >= limit else min(max(start, 0.0), limit - length)


def _between(a: Box, b: Box, share: float) -> Box:
    """The view a share of the way from `a` to `b`: its side changes by the same factor in the same time, and the corners
    move along, so that one point stands still, as in a zoom of a lens."""
    ratio = (b[2] - b[0]) / (a[2] - a[0])
    way = share if abs(ratio - 1) < 1e-6 else (1 - ratio**share) / (1 - ratio)
    x1, y1, x2, y2 = (p + (q - p) * way for p, q in zip(a, b))
    return x1, y1, x2, y2


def _frame(
    result: "Result", image: ImageArray, view: Box, size: tuple[int, int], shown: int, foot: Image.Image
) -> Image.Image:
    """One frame of the film: the view, with the windows of the first `shown` looks and one more, and the box when it was found."""
    shot = _shot(image, view, size)
    pen = ImageDraw.Draw(shot)
    found = shown > len(result.path) or len(result.path) == 1
    font = font_of(max(size[0] / 34, 11))
    box = at_least(to_panel(result.box_xyxy, view, size), max(size[0] / 60, 8))
    taken = [box]
    for index, window in list(enumerate(result.windows))[: shown + 1]:
        around = to_panel(window, view, size)
        if around[2] - around[0] > 1.2 * size[0] or around[3] - around[1] > 1.2 * size[1]:
            continue  # its lines lie outside
        outline(pen, around, window_color(index), 2)
        room = free_place(plate_size(str(index + 1), font), around, (0, 0, *size), taken)
        if room is not None:
            plate(pen, room, str(index + 1), window_color(index), font)
            taken.append((*room, *(a + b for a, b in zip(room, plate_size(str(index + 1), font)))))
    if found and box[0] < size[0] and box[1] < size[1] and box[2] > 0 and box[3] > 0:
        outline(pen, box, BOX_COLOR, 2, LIGHT_HALO, not result.found)
        score = f"{result.score:.2f}" if result.found else f"best guess {result.score:.2f}"
        room = free_place(plate_size(score, font), box, (0, 0, *size), taken)
        if room is not None:
            plate(pen, room, score, BOX_COLOR, font)
    page = Image.new("RGB", (size[0], size[1] + foot.height))
    page.paste(shot, (0, 0))
    page.paste(foot, (0, size[1]))
    return page


def _shot(image: ImageArray, view: Box, size: tuple[int, int]) -> Image.Image:
    """A view that may reach out of the image, where there are bars."""
    height, width = image.shape[:2]
    part = clip_xyxy(view, (0, 0, width, height)).tolist()
    if tuple(part) == tuple(view):
        return Image.fromarray(cut(image, part, size))
    x1, y1, x2, y2 = to_panel(part, view, size)
    inner = (max(round(x2 - x1), 1), max(round(y2 - y1), 1))
    shot = Image.new("RGB", size, BARS)
    shot.paste(Image.fromarray(cut(image, part, inner)), (round(x1), round(y1)))
    return shot


def _foot(result: "Result", width: int) -> Image.Image:
    """The sentence, the same under all frames, which costs next to nothing."""
    size = max(width / 34, 11)
    font, small = font_of(size), font_of(0.8 * size)
    lines = wrap(drawable(result.expression), font, width - size, 2)
    foot = Image.new("RGB", (width, round((len(lines) + 1) * 1.35 * size + 0.6 * size)), PAPER)
    pen = ImageDraw.Draw(foot)
    for number, text in enumerate(lines):
        pen.text((size / 2, (0.3 + 1.35 * number) * size), text, fill=INK, font=font)
    verdict = "" if result.found else "nothing matches   |   best guess: "
    facts = f"{verdict}score {result.score:.2f}   |   {result.frame_size[0]} x {result.frame_size[1]} pixels"
    pen.text((size / 2, (0.4 + 1.35 * len(lines)) * size), facts, fill=SOFT_INK, font=small)
    return foot


def _encode(frames: list[Image.Image], times: list[int], name: str) -> bytes:
    file = io.BytesIO()
    if name == "WEBP":
        frames[0].save(
            file, name, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=72, method=3
        )
    else:
        # Without dithering: its noise looks worse in a small film than bands do, and is most of the bytes.
        palette = _palette(frames[:: MOVES // 2])
        few = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
        few[0].save(file, name, save_all=True, append_images=few[1:], duration=times, loop=0, optimize=False)
    return file.getvalue()


def _palette(frames: list[Image.Image]) -> Image.Image:
    """Colors for all frames, so that nothing flickers, with those of boxes and windows among them."""
    small = [frame.resize((120, max(1, 120 * frame.height // frame.width))) for frame in frames]
    sheet = Image.new("RGB", (120, sum(part.height for part in small) + 8 * (len(WINDOW_COLORS) + 1)))
    y = 0
    for color in (BOX_COLOR, *WINDOW_COLORS):
        sheet.paste(color, (0, y, 120, y + 8))
        y += 8
    for part in small:
        sheet.paste(part, (0, y))
        y += part.height
    return sheet.quantize(COLORS, Image.Quantize.MEDIANCUT)
