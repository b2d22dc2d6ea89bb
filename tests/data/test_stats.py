"""`piza data stats`: the numbers are right, with and without images, and the plots are images."""

import json
import sys

import pytest
from PIL import Image
from tests.conftest import SHARED

from piza.cli import main as cli

ROWS = [
    {"image": "1.png", "bbox": [0, 0, 10, 20], "ref": "The red car.", "id": 1},
    {"image": "1.png", "bbox": [0, 0, 10, 20], "ref": "The car.", "id": 2},
    {"image": "2.png", "bbox": [80, 80, 20, 20], "ref": "The blue car on the right side.", "id": 3},
]


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    for name in ("1.png", "2.png"):
        Image.new("RGB", (100, 100)).save(tmp_path / name)
    return str(tmp_path / "rows.json")


def stats(capsys, *arguments):
    assert cli.main(["data", "stats", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_with_images(rows, tmp_path, capsys):
    found = stats(capsys, rows, "--images", str(tmp_path))
    assert (found["rows"], found["images"], found["targets"]) == (3, 2, 2)
    assert found["words_per_sentence"]["mean"] == 4 and found["words_per_sentence"]["median"] == 3
    assert found["expressions_per_image"]["max"] == 2
    assert found["box_area_percent"]["mean"] == pytest.approx(8 / 3, abs=1e-4)
    assert found["box_area_px"]["p95"] == 380
    assert found["center_x"]["max"] == 0.9 and found["center_unit"] == "share of the frame"
    assert found["centers_percent_of_3x3"] == [[66.7, 0, 0], [0, 0, 0], [0, 0, 33.3]]


def test_without_images_areas_and_places_are_in_pixels(rows, capsys):
    found = stats(capsys, rows)
    assert found["box_area_percent"] is None and "centers_percent_of_3x3" not in found
    assert found["center_x"]["max"] == 90 and found["center_unit"] == "pixels"
    assert cli.main(["data", "stats", rows]) == 0
    assert "give the folder of images" in capsys.readouterr().out


def test_missing_images(rows, tmp_path, capsys):
    (tmp_path / "2.png").unlink()
    assert cli.main(["data", "stats", rows, "--images", str(tmp_path)]) == 2
    assert "'2.png'" in capsys.readouterr().err
    found = stats(capsys, rows, "--images", str(tmp_path), "--missing", "skip")
    assert found["rows"] == 2 and found["skipped"] == 1
    (tmp_path / "1.png").unlink()
    assert cli.main(["data", "stats", rows, "--images", str(tmp_path), "--missing", "skip"]) == 2


def test_no_rows(tmp_path, capsys):
    (tmp_path / "none.json").write_text("[]")
    found = stats(capsys, str(tmp_path / "none.json"))
    assert found["rows"] == 0 and found["words_per_sentence"] is None
    assert cli.main(["data", "stats", str(tmp_path / "none.json")]) == 0


@pytest.mark.parametrize("images", [True, False])
def test_plots(rows, tmp_path, capsys, images):
    pytest.importorskip("matplotlib")
    options = ["--images", str(tmp_path)] if images else []
    stats(capsys, rows, *options, "--plots", str(tmp_path / "plots"))
    names = ["area.png", "expressions.png", "positions.png", "words.png"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == names
    for name in names:
        with Image.open(tmp_path / "plots" / name) as plot:
            assert plot.width > 500 and len(plot.convert("RGB").getcolors(1 << 20)) > 10


def test_plots_without_matplotlib_and_onto_a_file(rows, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    assert cli.main(["data", "stats", rows, "--plots", rows]) == 2
    assert "expected a folder, got a file" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["data", "stats", rows, "--plots", str(tmp_path / "plots")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "pip install 'piza[train]'" in err and not (tmp_path / "plots").exists()


def test_the_published_rows(capsys):
    folder = SHARED / "data" / "sorec"
    if not folder.exists():
        pytest.skip("the rows of SOREC are not beside the project")
    found = stats(capsys, str(folder / "val.json"))
    assert (found["rows"], found["images"], found["expressions_per_image"]["max"]) == (10_712, 2382, 99)
    assert found["words_per_sentence"]["median"] == 24 and found["words_per_sentence"]["max"] == 52
