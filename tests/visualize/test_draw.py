import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from piza.errors import InputError
from piza.image import ImageReference
from piza.result import Result, Step
from piza.visualize.draw import BOX_COLOR, FORMATS, WINDOW_COLORS, draw_result
from piza.visualize.layout import Sizes, place_panels
from piza.visualize.primitives import DETOUR_COLOR, drawable, free_place, outline, touch

SCORES = np.linspace(0.9, 0.1, 7)
WINDOWS = ((0, 0, 1600, 900), (600.5, 300, 900, 480.25))


def made_up(size=(1600, 900), box=(700, 400, 725, 420), windows=WINDOWS, **changes):
    pixels = np.full((size[1], size[0], 3), 120, np.uint8)
    steps = [
        Step(tuple(w), (512, 288), 0.3 * i, np.float32(0.1), np.array([box] * 7, float), SCORES)
        for i, w in enumerate(windows)
    ]
    made = Result("the red car", box, 0.87, steps, size, "stop", 12.5, ImageReference(pixels, keep=True))
    return replace(made, **changes)


def has_color(image, color):
    return (np.asarray(image) == color).all(axis=2).sum()


def test_windows_and_box_are_drawn():
    image = draw_result(made_up())
    assert image.mode == "RGB" and 1300 < image.width < 2400 and 700 < image.height < 1000
    assert has_color(image, WINDOW_COLORS[0]) > 1000 and has_color(image, WINDOW_COLORS[1]) > 500
    assert has_color(image, BOX_COLOR) > 100
    assert has_color(image, WINDOW_COLORS[2]) == 0  # there was no third look


def test_the_enlarged_part_shows_the_last_window():
    result = made_up()
    result.image[300:480, 601:900] = (0, 0, 250)  # the window, and nothing else
    columns = (np.asarray(draw_result(result)) == (0, 0, 250)).all(axis=2).sum()
    assert columns > 0.8 * 600 * 360  # 299 x 180 pixels, enlarged two times, and a little of the frame


def test_every_look_has_its_color_and_what_the_model_saw():
    windows = [(0, 0, 1600, 900), (400, 200, 1000, 800), (600, 300, 900, 600), (650, 350, 800, 500)]
    image = draw_result(made_up(windows=windows))
    for color in WINDOW_COLORS[:4]:
        assert has_color(image, color) > 500
    noise = made_up(windows=[windows[0], windows[1]])
    noise.image[:] = np.random.default_rng(0).integers(0, 256, noise.image.shape, np.uint8)
    noise.path[1].input_size = (600, 600)
    sharp = draw_result(noise)
    noise.path[1].input_size = (32, 32)
    blurred = draw_result(noise)
    right = (slice(200, 600), slice(1400, 1700))
    assert np.asarray(blurred)[right].std() < 0.5 * np.asarray(sharp)[right].std()


def test_what_was_not_believed_is_gray_and_explained():
    plain = draw_result(made_up())
    doubted = draw_result(
        made_up(detours=[(100, 100, 300, 300)], rejected=[((1200, 700, 1230, 730), 0.04)], num_looks=3)
    )
    assert has_color(plain, DETOUR_COLOR) < 100 and has_color(doubted, DETOUR_COLOR) > 500
    assert doubted.height > plain.height  # by the line that says what gray means


def test_what_was_not_found_is_dashed_and_said():
    found, lost = (draw_result(made_up(box=(640, 330, 860, 450), found=found)) for found in (True, False))
    assert lost.height > found.height + 60  # by the line that says so, and the one that says what dashes mean
    frame = slice(100, 600)  # left of the enlarged look, below the words, all of the frame's box
    left = [has_color(image.crop((0, 200, 1100, 700)), BOX_COLOR) for image in (found, lost)]
    assert 0.3 * left[0] < left[1] < 0.75 * left[0]
    words = lost.crop((0, 0, lost.width, frame.start))
    assert has_color(words, BOX_COLOR) > 100 > has_color(found.crop((0, 0, found.width, 100)), BOX_COLOR)
    assert made_up(found=False).to_dict()["found"] is False and made_up().to_dict()["found"] is True


@pytest.mark.parametrize("side", [0, 3, 16, 150])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_dashes_lie_on_the_line_and_around_its_corners(side, width):
    color, halo = (255, 0, 0), (0, 0, 255)
    whole, dashed = Image.new("RGB", (200, 200)), Image.new("RGB", (200, 200))
    box = (20, 20, 20 + side, 20 + side)
    outline(ImageDraw.Draw(whole), box, color, width, halo)
    outline(ImageDraw.Draw(dashed), box, color, width, halo, dashed=True)
    line, dashes = ((np.asarray(image) == color).all(axis=2) for image in (whole, dashed))
    assert not (dashes & ~line).any() and 0 < dashes.sum() < line.sum()
    assert not ((np.asarray(dashed) != 0).any(axis=2) & ~(np.asarray(whole) != 0).any(axis=2)).any()
    for x in (20 - width, 20 + side + width):
        assert dashes[20 - width, x] and dashes[20 + side + width, x]


@pytest.mark.parametrize("size", [(900, 1600), (4000, 700), (1600, 900)])
@pytest.mark.parametrize("looks", [1, 2, 3, 5, 7])
def test_panels_lie_side_by_side_on_the_page(size, looks):
    sizes = Sizes(1800, 1800)
    cells = place_panels(size[0] / size[1], looks, 0.9, sizes)
    assert len(cells) == looks + 1
    for number, cell in enumerate(cells):
        assert 0 <= cell[0] < cell[2] <= 1800 and 0 <= cell[1] < cell[3]
        assert cell[2] - cell[0] > 150
        assert not any(touch(cell, other) for other in cells[number + 1 :])


def test_plates_hide_nothing():
    bounds, box = (0, 0, 200, 200), (90, 90, 110, 110)
    first = free_place((30, 20), box, bounds, [box])
    assert first is not None and not touch((*first, first[0] + 30, first[1] + 20), box)
    second = free_place((30, 20), box, bounds, [box, (*first, first[0] + 30, first[1] + 20)])
    assert second is not None and second != first
    assert free_place((30, 20), box, bounds, [bounds]) is None
    corner = (185, -2, 202, 15)
    x, y = free_place((30, 20), corner, bounds, [corner])
    assert 0 <= x <= 170 and 0 <= y <= 180 and not touch((x, y, x + 30, y + 20), corner)


def test_the_width_is_chosen():
    small, large = draw_result(made_up(), 600), draw_result(made_up(), 2400)
    assert small.width <= 600 < 2300 < large.width <= 2400
    assert large.height == pytest.approx(4 * small.height, rel=0.1)
    for width in (0, 299, 12_001):
        with pytest.raises(InputError, match="wide"):
            made_up().draw(width)


def test_a_thin_box_is_seen_in_a_huge_frame():
    size = (6000, 4000)
    image = draw_result(made_up(size, (3000, 2000, 3001, 2004), [(0, 0, 6000, 4000)]))
    left = image.crop((0, 0, 1100, image.height))
    assert has_color(left, BOX_COLOR) > 60


@pytest.mark.parametrize(
    ("size", "box", "windows"),
    [
        ((1, 1), (0, 0, 1, 1), [(0, 0, 1, 1)]),
        ((1, 1), (0.2, 0.2, 0.2, 0.2), [(0, 0, 1, 1), (0.1, 0.1, 0.4, 0.4)]),
        ((3, 2000), (1, 1000, 2, 1001), [(0, 0, 3, 2000)]),
        ((2000, 3), (0, 0, 2000, 3), [(0, 0, 2000, 3), (0, 0, 10, 3)]),
        ((640, 480), (639, 479, 640, 480), [(0, 0, 640, 480)] * 9),
        ((640, 480), (0, 0, 5, 5), [(0, 0, 640, 480), (300, 300, 400, 400)]),  # the last window lacks it
    ],
)
def test_odd_shapes_are_drawn(size, box, windows):
    image = draw_result(made_up(size, box, windows))
    assert image.width >= 640 and image.height >= 100
    assert has_color(image, BOX_COLOR) > 0


@pytest.mark.parametrize("expression", ["x" * 3000, "word " * 3000, "a\nb\tc", "die Straße, 左の車, 🚗", ""])
def test_any_sentence_is_written(expression):
    image = draw_result(made_up(expression=expression))
    assert image.height < 1100  # a long one is cut short


def test_a_longer_sentence_takes_more_lines():
    assert draw_result(made_up(expression="word " * 100)).height > draw_result(made_up()).height


@pytest.mark.parametrize("suffix", FORMATS)
def test_drawings_are_saved(tmp_path, suffix):
    path = tmp_path / f"a{suffix.upper()}"
    made_up().save_drawing(path)
    with Image.open(path) as image:
        assert image.size == made_up().draw().size


@pytest.mark.parametrize("name", ["a.gif", "a", "missing/a.png", "a.png/"])
def test_a_place_that_cannot_be_drawn_to(tmp_path, name):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(InputError):
        made_up().save_drawing(str(tmp_path / name))


def test_a_result_becomes_plain_json():
    plain = json.loads(json.dumps(made_up(box=tuple(np.array([1.5, 2, 3, 4], np.float32))).to_dict()))
    assert plain["box_xyxy"] == [1.5, 2, 3, 4] and plain["frame_size"] == [1600, 900]
    assert plain["path"][1]["window_xyxy"] == [600.5, 300, 900, 480.25]
    assert len(plain["path"][0]["candidates_xyxy"]) == len(plain["path"][0]["candidate_scores"]) == 5
    assert "source" not in plain


def test_looks_that_led_elsewhere_are_counted_in_words():
    assert made_up().looks_in_words == "2 looks"
    assert made_up(windows=WINDOWS[:1], num_looks=0).looks_in_words == "1 look"
    assert made_up(num_looks=7).looks_in_words == "7 looks, 2 of them on the way to the answer"


def test_windows_are_those_of_the_path():
    assert made_up().windows == [(0, 0, 1600, 900), (600.5, 300, 900, 480.25)]


def test_characters_that_the_font_lacks_are_named():
    assert drawable("the café, cafe\u0301 – Straße 5 °") == "the cafe, cafe - Strasse 5 °"
    assert drawable("the 漢字 car, السيارة") == "the [cjk] car, [arabic]"
    assert drawable("a 🚒\x1b[2J\u202e") == "a [fire engine]\\x1b[2J\\u202e"
    strange = made_up(expression="the 漢字 \x1b[31m car \u202e \ud83d 🚒" * 20)
    assert draw_result(strange, 600).width <= 600


@pytest.mark.parametrize("width", [None, "wide", 5, float("nan")])
def test_another_width_is_refused(width, tmp_path):
    for draw in (lambda: made_up().draw(width), lambda: made_up().animate(tmp_path / "a.gif", width)):
        with pytest.raises(InputError, match=rf"pixels wide, got {width!r}"):
            draw()


@pytest.mark.parametrize("path", [None, 5, b"a.png"])
def test_what_is_no_name_is_refused(path):
    for write in (made_up().save_drawing, made_up().animate):
        with pytest.raises(InputError, match="expected the name of a file or folder"):
            write(path)
