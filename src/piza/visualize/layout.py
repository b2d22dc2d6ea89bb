"""Where the panels of a drawing stand: the frame, and the looks beside or below it, in the order of the looks."""

import math
from dataclasses import dataclass, field

from piza.visualize.primitives import SMALLEST_MARK, Font, font_of

PANORAMA = 2.4  # a frame this many times wider than high has its looks below it
PORTRAIT = 1.25  # one less wide than this has them beside it, however many
TALLEST_FRAME, TALLEST_ABOVE, WIDEST_LOOK = 900, 720, 660  # at a width of 1,800

Cell = tuple[float, float, float, float]


@dataclass
class Sizes:
    """Lengths in pixels of a drawing that is `width` wide; all are set for a drawing `nominal` wide, and grow with it."""

    width: int
    nominal: int
    margin: float = field(init=False)
    font: Font = field(init=False)
    small_font: Font = field(init=False)

    def __post_init__(self) -> None:
        self.margin = self.of(24)
        self.font, self.small_font = font_of(self.of(32)), font_of(self.of(23))
        self.plate_font, self.tiny_font = font_of(self.of(23)), font_of(self.of(17))
        self.line, self.small_line = self.of(42), self.of(32)
        self.gap, self.caption = self.of(36), self.of(46)
        self.thin, self.thick = max(round(self.of(2)), 1), max(round(self.of(4)), 1)
        self.beam, self.mark = max(self.of(1.6), 0.8), max(self.of(SMALLEST_MARK + 2), 6.0)

    def of(self, length: float) -> float:
        """A length that is given for a drawing `nominal` wide, in pixels of this one."""
        return length * self.width / self.nominal


def place_panels(aspect: float, count: int, center: float, sizes: Sizes) -> list[Cell]:
    """The cells of the frame (width / height is `aspect`) and of `count` looks, xyxy in pixels, from (margin, 0).

    center: where the first look's window lies in the frame, 0 (left) to 1; a look below the frame stands near it.

    A look's cell is square, and so is a look itself, save where its frame is too small for it. Each stands next to the one
    before it, to its right, its left or below, so that the lines between them cross nothing else.
    """
    aspect = min(max(aspect, 0.1), 10.0)
    if aspect > PANORAMA or (aspect >= PORTRAIT and count > 2):
        return _below(aspect, count, center, sizes)
    return _beside(aspect, count, sizes)


def _beside(aspect: float, count: int, sizes: Sizes) -> list[Cell]:
    rows = 1 if count == 1 else 2 if count <= 4 else 3
    columns = math.ceil(count / rows)
    room = sizes.width - 2 * sizes.margin - columns * sizes.gap
    between = (rows - 1) * (sizes.gap / 2 + sizes.caption)
    # The looks' cells are as high together as the frame: aspect * h + columns * (h - between) / rows = room.
    height = (room + columns * between / rows) / (aspect + columns / rows)
    height = min(height, sizes.of(TALLEST_FRAME))
    side = min((height - between) / rows, sizes.of(WIDEST_LOOK))
    frame = (sizes.margin, 0.0, sizes.margin + aspect * height, height)
    return [frame, *_snake(count, columns, side, frame[2] + sizes.gap, 0.0, sizes)]


def _below(aspect: float, count: int, center: float, sizes: Sizes) -> list[Cell]:
    room = sizes.width - 2 * sizes.margin
    height = min(room / aspect, sizes.of(TALLEST_ABOVE if count > 2 else TALLEST_FRAME))
    columns = count if count <= 5 else math.ceil(count / 2)
    width = max(aspect * height, room / 2)
    side = min((width - (columns - 1) * sizes.gap) / columns, sizes.of(WIDEST_LOOK if count > 1 else 560))
    frame = (sizes.margin, 0.0, sizes.margin + aspect * height, height)
    spare = max(0.0, aspect * height - columns * side - (columns - 1) * sizes.gap)
    left = sizes.margin + min(max(center * aspect * height - side / 2, 0.0), spare)
    return [frame, *_snake(count, columns, side, left, height + sizes.caption + sizes.gap / 2, sizes)]


def _snake(count: int, columns: int, side: float, left: float, top: float, sizes: Sizes) -> list[Cell]:
    """Rows of cells, the first from left to right, the next one back, and so on."""
    cells = []
    for number in range(count):
        row, column = divmod(number, columns)
        column = columns - 1 - column if row % 2 else column
        x = left + column * (side + sizes.gap)
        y = top + row * (side + sizes.caption + sizes.gap / 2)
        cells.append((x, y, x + side, y + side))
    return cells
