import numpy as np
import pytest
from PIL import Image
from tests.visualize.test_draw import has_color, made_up

from piza.errors import InputError
from piza.visualize import animate
from piza.visualize.animate import animation_frames
from piza.visualize.primitives import BOX_COLOR, WINDOW_COLORS

FRAME, WINDOW = (0, 0, 400, 240), (120.0, 60.0, 220.0, 160.0)


def small(**changes):
    made = {"size": (400, 240), "box": (160, 100, 172, 110), "windows": (FRAME, WINDOW), **changes}
    return made_up(**made)


@pytest.mark.parametrize("suffix", [".gif", ".WEBP"])
def test_it_moves_from_the_frame_to_the_box(tmp_path, suffix):
    path = tmp_path / f"zoom{suffix}"
    small().animate(path, 200)
    with Image.open(path) as film:
        assert film.width == 200 and film.n_frames > 20 and film.info.get("loop") == 0
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_it_pauses_at_each_window_and_shows_the_box_at_the_end():
    frames, times = animation_frames(small(), 320)
    assert len({frame.size for frame in frames}) == 1
    assert sum(time > 1000 for time in times) == 3  # frame, window, box
    assert times[0] > 1000 and times[-1] > 1000
    assert has_color(frames[0], WINDOW_COLORS[1]) > 50 and has_color(frames[0], BOX_COLOR) == 0
    assert has_color(frames[-1], BOX_COLOR) > 100


def test_the_view_shrinks_at_an_even_pace_about_one_point():
    start, end = (0.0, 0.0, 800.0, 400.0), (300.0, 100.0, 500.0, 200.0)
    widths = [view[2] - view[0] for view in (animate._between(start, end, part / 4) for part in range(5))]
    assert widths == pytest.approx([800 * (200 / 800) ** (part / 4) for part in range(5)])


@pytest.mark.parametrize(
    ("size", "box", "windows"),
    [
        ((1, 1), (0, 0, 1, 1), [(0, 0, 1, 1)]),
        ((60, 2000), (10, 1000, 30, 1010), [(0, 0, 60, 2000), (0, 970, 60, 1030)]),
        ((2000, 50), (0, 0, 5, 5), [(0, 0, 2000, 50)] * 3),
    ],
)
def test_odd_shapes_are_shown(size, box, windows):
    frames, _ = animation_frames(small(size=size, box=box, windows=windows), 160)
    assert frames and has_color(frames[-1], BOX_COLOR) > 0


def test_a_large_file_is_made_smaller(tmp_path, monkeypatch):
    result = small()
    result.image[:] = np.random.default_rng(0).integers(0, 256, result.image.shape, np.uint8)
    result.animate(tmp_path / "large.gif", 320)
    monkeypatch.setattr(animate, "MAX_BYTES", (tmp_path / "large.gif").stat().st_size // 2)
    result.animate(tmp_path / "small.gif", 320)
    assert (tmp_path / "small.gif").stat().st_size <= animate.MAX_BYTES


@pytest.mark.parametrize("name", ["a.png", "a", "missing/a.gif", "folder.gif"])
def test_a_place_that_cannot_be_animated_to(tmp_path, name):
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(InputError):
        small().animate(tmp_path / name)


@pytest.mark.parametrize("width", [0, 159, 1921])
def test_a_width_that_cannot_be(tmp_path, width):
    with pytest.raises(InputError, match="wide"):
        small().animate(tmp_path / "a.gif", width)
