import numpy as np
import pytest
from PIL import Image

import piza
from piza.cli import demo
from piza.data.scenes import examples
from piza.image import ImageReference, open_image
from piza.result import Result, Step


@pytest.fixture
def small(monkeypatch):
    """Two small images instead of three large ones."""
    monkeypatch.setattr(examples, "SCENES", ((5, (960, 540)), (6, (960, 540))))


def test_it_shows_what_is_right_and_what_is_wrong(small, tmp_path, monkeypatch, capsys):
    truth = {}
    draw = examples.draw_scene

    def remember(seed, size, path):
        rows = draw(seed, size, path)
        truth.update({row.ref: row.box_xyxy for row in rows})
        return rows

    class HalfRight:
        """Right about the first sentence of each image only."""

        def locate(self, image, expressions):
            pixels = open_image(image)
            frame = (0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0]))
            answers = []
            for i, sentence in enumerate(expressions):
                box = truth[sentence] if i == 0 else (0.0, 0.0, 5.0, 5.0)
                step = Step(frame, (64, 36), 0.0, 0.0, np.array([box]), np.array([0.5]))
                answers.append(
                    Result(
                        sentence,
                        box,
                        0.5,
                        [step],
                        (960, 540),
                        "stop",
                        20.0,
                        ImageReference(pixels, keep=True),
                    )
                )
            return answers

    monkeypatch.setattr(examples, "draw_scene", remember)
    monkeypatch.setattr(piza, "load", lambda name: HalfRight())
    assert demo.main(["--out", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    assert out.count("truth  right") == 2 and out.count("truth  WRONG") == len(truth) - 2 >= 2
    assert f"2 of {len(truth)} right" in out and "20 ms a sentence" in out
    for number in (1, 2):
        assert open_image(tmp_path / "demo" / f"street-{number}.jpg").shape == (540, 960, 3)
        with Image.open(tmp_path / "demo" / f"street-{number}-search-1.png") as drawing:
            assert drawing.width > 960


def test_the_questions_do_not_depend_on_the_run(small, tmp_path):
    seed, size = examples.SCENES[0]
    first, second = (examples.draw_scene(seed, size, tmp_path / f"{i}.jpg") for i in range(2))
    assert [row.ref for row in first] == [row.ref for row in second]
    assert (tmp_path / "0.jpg").read_bytes() == (tmp_path / "1.jpg").read_bytes()


def test_wrong_input(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert demo.main(["--out", str(tmp_path / "file")]) == 2
    assert "expected a folder, got a file" in capsys.readouterr().err
