import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from piza.draw import BOX_COLOR, FORMATS, WINDOW_COLORS, draw_result
from piza.errors import InputError
from piza.result import Result, Step

SCORES = np.linspace(0.9, 0.1, 7)
WINDOWS = ((0, 0, 1600, 900), (600.5, 300, 900, 480.25))


def made_up(size=(1600, 900), box=(700, 400, 725, 420), windows=WINDOWS, **changes):
    picture = np.full((size[1], size[0], 3), 120, np.uint8)
    steps = [
        Step(tuple(w), (512, 288), 0.3 * i, np.float32(0.1), np.array([box] * 7, float), SCORES)
        for i, w in enumerate(windows)
    ]
    made = Result("the red car", box, 0.87, steps, size, "stop", 12.5, picture)
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
    result.picture[300:480, 601:900] = (0, 0, 250)  # the window, and nothing else
    columns = (np.asarray(draw_result(result)) == (0, 0, 250)).all(axis=2).sum()
    assert columns > 0.8 * 900 * 540  # 299 x 180 pixels, enlarged three times


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
    assert "picture" not in plain


def test_looks_that_led_elsewhere_are_counted_in_words():
    assert made_up().looks_in_words == "2 looks"
    assert made_up(windows=WINDOWS[:1], looks=0).looks_in_words == "1 look"
    assert made_up(looks=7).looks_in_words == "7 looks, 2 of them on the way to the answer"


def test_windows_are_those_of_the_path():
    assert made_up().windows == [(0, 0, 1600, 900), (600.5, 300, 900, 480.25)]
