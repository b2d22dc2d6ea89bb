"""What is drawn over images: rectangles, plates with a word, thin lines, wrapped text. Pixels are those of the drawing."""

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby

from PIL import Image, ImageDraw, ImageFont

from piza.visualize.text import one_line

Box = Sequence[float]
Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Okabe & Ito's colors, told apart by color-blind readers; red-orange between white lines is kept for the answer.
WINDOW_COLORS = ((86, 180, 233), (240, 228, 66), (0, 158, 115), (204, 121, 167), (0, 114, 178))
BOX_COLOR = (213, 94, 0)
DETOUR_COLOR = (190, 190, 190)  # windows and answers that were looked at and not believed
INK, SOFT_INK, PAPER = (34, 34, 34), (92, 92, 92), (255, 255, 255)
DARK_HALO, LIGHT_HALO, GRAY_HALO = (0, 0, 0), (255, 255, 255), (100, 100, 100)

SMALLEST_MARK = 14
"""Side, in pixels of the drawing, below which a box is drawn larger than it is, so that it is seen."""

MAX_LINES = 5
DASH = 6  # length of a dash over its width, about
SMOOTH = 3  # lines are drawn this many times larger and shrunk, because Pillow's own have steps


def font_of(size: float) -> Font:
    """Pillow's own font, so that a drawing looks the same everywhere."""
    return ImageFont.load_default(size=max(round(size), 6))


def drawable(text: str) -> str:
    """The text on one line, in characters that the font has, which are few: Pillow's own has no letter with an accent.

    Control characters are shown as in `one_line`. Of what the font lacks, letters lose their accents, a symbol becomes its
    name in brackets ("[fire engine]"), and a run of letters of another script the name of the script ("[cjk]").
    """
    letters = [_replaced(letter) for letter in unicodedata.normalize("NFC", one_line(text))]
    shown = []
    for script, run in groupby(
        letters, key=lambda part: part if part.startswith("[") and len(part) > 1 else ""
    ):
        shown.append(script or "".join(run))
    return "".join(shown)


def _replaced(letter: str) -> str:
    """A character that the font has for a character, or a name in brackets."""
    if letter.isascii() or _has(letter):
        return letter
    kind = unicodedata.category(letter)
    if kind in ("Cf", "Mn"):  # joiners and marks, which show nothing by themselves
        return ""
    plain = (
        "-" if kind == "Pd" else unicodedata.normalize("NFKD", letter.casefold() if letter == "ß" else letter)
    )
    plain = "".join(part for part in plain if not unicodedata.combining(part))
    if plain and all(part.isascii() or _has(part) for part in plain):
        return plain
    name = unicodedata.name(letter, "symbol").lower()
    return f"[{name.split()[0] if kind[0] in 'LN' else name}]"


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    """Whether the font has a character: what it lacks is drawn as the box it draws for a code point that none has."""
    font = font_of(20)
    try:
        mask, missing = font.getmask(letter), font.getmask("\uffff")
    except UnicodeEncodeError:  # of Pillow's plain font, where there is no FreeType
        return False
    return mask.size != missing.size or bytes(mask) != bytes(missing)


def window_color(index: int) -> Color:
    """The color of the look of this number, from 0; after five looks the colors begin again."""
    return WINDOW_COLORS[index % len(WINDOW_COLORS)]


def to_panel(box_xyxy: Box, window_xyxy: Box, panel_wh: tuple[int, int]) -> Box:
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


def at_least(box: Box, side: float) -> Box:
    """The box, grown about its center so that no side is shorter than `side`."""
    x1, y1, x2, y2 = box
    grow_x, grow_y = max(side - (x2 - x1), 0) / 2, max(side - (y2 - y1), 0) / 2
    return x1 - grow_x, y1 - grow_y, x2 + grow_x, y2 + grow_y


def moved(box: Box, x: float, y: float) -> Box:
    """The box, shifted by (x, y)."""
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def touch(a: Box, b: Box) -> bool:
    """Whether two boxes share some area."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def outline(
    pen: ImageDraw.ImageDraw,
    box: Box,
    color: Color,
    width: int,
    halo: Color = DARK_HALO,
    dashed: bool = False,
) -> None:
    """A colored rectangle with a line of another brightness, seen on any ground; kept whole inside the panel.

    dashed: in pieces about `DASH` times as long as `width`, one of them around each corner.
    """
    panel_w, panel_h = pen.im.size
    pad = width + 1
    x1, y1 = (
        min(max(round(value), pad), limit - pad - 1) for value, limit in zip(box[:2], (panel_w, panel_h))
    )
    x2, y2 = (
        min(max(round(value), pad), limit - pad - 1) for value, limit in zip(box[2:], (panel_w, panel_h))
    )
    x2, y2 = max(x2, x1), max(y2, y1)
    if dashed:
        dashes = _dashes((x1, y1, x2, y2), width)
        for left, top, right, bottom in dashes:
            pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=halo)
        for dash in dashes:
            pen.rectangle(dash, fill=color)
        return
    pen.rectangle((x1 - pad, y1 - pad, x2 + pad, y2 + pad), outline=halo, width=width + 2)
    pen.rectangle((x1 - width, y1 - width, x2 + width, y2 + width), outline=color, width=width)


def _dashes(box: tuple[int, int, int, int], width: int) -> list[tuple[int, int, int, int]]:
    """The pieces of a dashed rectangle around a box, `width` wide; first and last pixels of each, which Pillow fills."""
    x1, y1, x2, y2 = box

    def pieces(first: int, last: int) -> list[tuple[int, int]]:
        length = last - first + 1
        # An odd number of parts, every second one drawn: a side begins and ends with a dash.
        parts = max(3, length // (DASH * width) // 2 * 2 + 1)
        ends = [first + round(length * part / parts) for part in range(parts + 1)]
        return [(ends[part], max(ends[part + 1] - 1, ends[part])) for part in range(0, parts, 2)]

    across = [
        (start, top, end, top + width - 1)
        for start, end in pieces(x1 - width, x2 + width)
        for top in (y1 - width, y2 + 1)
    ]
    down = [
        (left, start, left + width - 1, end)
        for start, end in pieces(y1 - width, y2 + width)
        for left in (x1 - width, x2 + 1)
    ]
    return across + down


def line(
    image: Image.Image, start: tuple[float, float], end: tuple[float, float], color: Color, width: float
) -> None:
    """A smooth line of one color, drawn into the image."""
    pad = width + 1
    left, top = int(min(start[0], end[0]) - pad), int(min(start[1], end[1]) - pad)
    right, bottom = int(max(start[0], end[0]) + pad) + 1, int(max(start[1], end[1]) + pad) + 1
    mask = Image.new("L", ((right - left) * SMOOTH, (bottom - top) * SMOOTH))
    places = [((x - left) * SMOOTH, (y - top) * SMOOTH) for x, y in (start, end)]
    ImageDraw.Draw(mask).line(places, fill=255, width=max(round(width * SMOOTH), 1))
    small = mask.resize((right - left, bottom - top), Image.Resampling.BOX)
    image.paste(color, (left, top), small)


def plate_size(text: str, font: Font) -> tuple[int, int]:
    """(width, height) of a plate with this text."""
    height = getattr(font, "size", 10)
    return round(font.getlength(text) + 0.6 * height), round(1.3 * height)


def plate(pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, color: Color, font: Font) -> None:
    """A small colored plate with a word, its left top corner at `place`; the ink is what is read best on the color."""
    width, height = plate_size(text, font)
    x, y = round(place[0]), round(place[1])
    pen.rectangle((x, y, x + width - 1, y + height - 1), fill=color, outline=DARK_HALO)
    bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    pen.text(
        (x + width / 2, y + height / 2), text, fill=(0, 0, 0) if bright else PAPER, font=font, anchor="mm"
    )


def free_place(
    size: tuple[float, float], around: Box, bounds: Box, taken: Iterable[Box], gap: float = 4.0
) -> tuple[float, float] | None:
    """Where a plate fits beside a box, inside `bounds` and on nothing that is `taken`; None if nowhere.

    Outside of the box first, then in its corners, which is where a window as large as its panel is named.
    """
    width, height = size
    x1, y1, x2, y2 = around
    above, below = y1 - gap - height, y2 + gap
    before, behind = x1 - gap - width, x2 + gap
    outside = [
        (x1 - gap, above), (x2 + gap - width, above), (before, y1), (x1 - gap, below),
        (x2 + gap - width, below), (behind, y1), (before, y2 - height), (behind, y2 - height),
    ]  # fmt: skip
    inside = [
        (x1 + gap, y1 + gap), (x2 - gap - width, y1 + gap),
        (x1 + gap, y2 - gap - height), (x2 - gap - width, y2 - gap - height),
    ]  # fmt: skip
    inside = inside if x2 - x1 > 3 * width and y2 - y1 > 3 * height else []
    # A box at an edge has room on few sides: then its plate may be pushed along or over it, if that hides nothing.
    pushed = [
        (min(max(x, bounds[0]), bounds[2] - width), min(max(y, bounds[1]), bounds[3] - height))
        for x, y in outside
    ]
    occupied = list(taken)
    for x, y in outside + inside + pushed:
        own = (x, y, x + width, y + height)
        within = x >= bounds[0] and y >= bounds[1] and own[2] <= bounds[2] and own[3] <= bounds[3]
        if within and not any(touch(own, other) for other in occupied):
            return x, y
    return None


def wrap(text: str, font: Font, width: float, max_lines: int = MAX_LINES) -> list[str]:
    """At most `max_lines` lines of at most `width` pixels, broken between words, and inside a word longer than a line."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and font.getlength(f"{lines[-1]} {word}") > width:
            lines.append("")
        elif lines[-1]:
            word = f" {word}"
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                if len(lines) > max_lines:
                    break
                lines.append("")
            lines[-1] += letter
        if len(lines) > max_lines:
            return [*lines[: max_lines - 1], lines[max_lines - 1][:-3] + "..."]
    return lines
