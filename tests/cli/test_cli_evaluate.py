"""`piza evaluate` as a user types it, with a model that finds red objects."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.evaluation.fake_model import FakeModel

import piza
from piza.cli import main as cli
from piza.evaluation.error_analysis import error_analysis
from piza.evaluation.outcome import read_predictions
from piza.result import Result, Step


class Zoomer(FakeModel):
    """Always looks at the upper left, and answers there."""

    def locate(self, image, expression):
        windows = [(0.0, 0.0, 200.0, 120.0), (0.0, 0.0, 60.0, 60.0)]
        box = (5.0, 5.0, 25.0, 25.0)
        steps = [
            Step(w, (64, 64), 0.0, 0.5, np.array([box if i else windows[1]]), np.array([0.7]))
            for i, w in enumerate(windows)
        ]
        return [Result(s, box, 0.7, steps, (200, 120), "stop", 1.0, image) for s in expression]


@pytest.fixture
def place(tmp_path, monkeypatch):
    rows = []
    for number in range(6):
        name = f"{number}.png"
        box = (150, 80, 170, 100) if number % 2 else (5, 5, 25, 25)
        pixels = np.zeros((120, 200, 3), dtype=np.uint8)
        pixels[box[1] : box[3], box[0] : box[2], 0] = 255
        Image.fromarray(pixels).save(tmp_path / name)
        rows += [{"image": name, "bbox": [*box[:2], 20, 20], "ref": "the <red> object", "id": len(rows)}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(piza, "load", lambda name, device: Zoomer())
    return tmp_path


EVALUATE = ["evaluate", "rows.json", "--images", "."]


@pytest.fixture
def absent(place):
    rows = [{"image": f"{number}.png", "ref": "the <green> object"} for number in range(6)]
    (place / "absent.json").write_text(json.dumps(rows))
    return ["--absent", "absent.json"]


def test_absent_objects(place, absent, capsys):
    assert cli.main(EVALUATE) == 0
    usual = capsys.readouterr().out.splitlines()
    assert cli.main([*EVALUATE, *absent, "--predictions", "p.jsonl", "--report", "report"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "time" not in line][: len(usual) - 1] == [
        line for line in usual if "time" not in line
    ]
    told = lines[len(usual) :]
    assert told[1] == "absent      6 sentences, against 6 whose target is present, 3 answered right"
    assert told[2] == "AUROC       0.500"  # this model is as sure of everything
    assert told[4].split() == ["0.05", "100.0", "%", "0.0", "%", "25.0", "%"]
    assert told[-1].split() == ["0.90", "0.0", "%", "100.0", "%", "-"]
    assert [outcome.row.expression for outcome in read_predictions("p.jsonl")] == ["the <red> object"] * 6
    page = (place / "report" / "index.html").read_text()
    assert "Absent objects" in page and "6 sentences that are true of nothing" in page
    assert "<green>" not in page


def test_absent_objects_as_json(place, absent, capsys):
    assert cli.main([*EVALUATE, *absent, "--json", "--error-analysis", "--limit", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    told = found["absent"]
    assert (found["rows"], told["present"], told["right"], told["absent"], told["auroc"]) == (2, 2, 1, 2, 0.5)
    first, last = told["thresholds"][0], told["thresholds"][-1]
    assert first == {"threshold": 0.05, "kept": 100, "refused": 0, "precision": 25}
    assert last == {"threshold": 0.9, "kept": 0, "refused": 100, "precision": None}
    assert "error_analysis" in found
    assert cli.main([*EVALUATE, "--json"]) == 0
    assert "absent" not in json.loads(capsys.readouterr().out)


def test_numbers_with_intervals(place, capsys):
    assert cli.main(EVALUATE) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["rows        6", "Acc50       50.0 %  (16.7 to 83.3)"]
    assert lines[-1] == "intervals   95 %, 2000 resamplings of the 6 images"
    assert cli.main([*EVALUATE, "--limit", "4"]) == 0
    assert "intervals   none" in capsys.readouterr().out
    assert cli.main([*EVALUATE, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["images"] == 6
        and found["intervals"]["acc50"] == pytest.approx([100 / 6, 500 / 6])
        and "error_analysis" not in found
    )


@pytest.mark.parametrize("baseline", ["tiles", "sliding"])
def test_baselines(place, baseline, capsys):
    arguments = [*EVALUATE, "--baseline", baseline, "--tile", "60", "--overlap", "0.5", "--json"]
    assert cli.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["acc50"] == 100 and found["mean_steps"] == 6 * 3
    assert cli.main([*EVALUATE, "--baseline", baseline]) == 0


def test_the_oracle(place, capsys, monkeypatch, tiny_piza):
    monkeypatch.setattr(piza, "load", lambda name, device: tiny_piza)
    rows = json.loads((place / "rows.json").read_text())
    (place / "rows.json").write_text(json.dumps([{**row, "ref": "the red car"} for row in rows]))
    assert cli.main([*EVALUATE, "--baseline", "oracle", "--greedy", "--predictions", "p.jsonl"]) == 0
    assert "rows        6" in capsys.readouterr().out
    assert error_analysis(read_predictions("p.jsonl")).classes["first_window"] == 0


def test_error_table_json_file_and_page(place, capsys):
    files = ["--predictions", "p.jsonl", "--misses-page", "misses.html"]
    assert cli.main([*EVALUATE, "--error-analysis", *files]) == 0
    out, err = capsys.readouterr()
    assert "misses      3 of 6 rows" in out and "the first window lost the target" in out
    assert err == "piza: drew misses.html\n"
    page = (place / "misses.html").read_text()
    assert "the &lt;red&gt; object" in page and page.count("<article>") == 3
    assert cli.main([*EVALUATE, "--error-analysis", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["error_analysis"]
    assert found == error_analysis(read_predictions("p.jsonl")).to_dict()
    assert found["classes"]["first_window"] == 3 and found["by_size"][0]["rows"] == 6


BAD = {
    "unknown baseline": ["--baseline", "luck"],
    "tile of nothing": ["--baseline", "tiles", "--tile", "0"],
    "tile in words": ["--baseline", "tiles", "--tile", "small"],
    "overlap of all": ["--baseline", "tiles", "--overlap", "1"],
    "overlap below 0": ["--baseline", "tiles", "--overlap=-0.5"],
    "overlap that is no number": ["--baseline", "tiles", "--overlap", "nan"],
    "overlap in words": ["--baseline", "tiles", "--overlap", "half"],
    "tile without a baseline": ["--tile", "64"],
    "overlap of the oracle": ["--baseline", "oracle", "--overlap", "0.5"],
    "two methods": ["--baseline", "tiles", "--whole-frame"],
    "greedy tiles": ["--baseline", "sliding", "--greedy"],
    "page into no folder": ["--misses-page", "gone/page.html"],
    "page onto a folder": ["--misses-page", "."],
    "too many tiles": ["--baseline", "tiles", "--tile", "1"],
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options_are_one_sentence(place, case, capsys):
    before = sorted(place.iterdir())
    assert cli.main([*EVALUATE, *BAD[case]]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("piza: ") and err.endswith(".\n") and err.count("\n") == 1
    assert sorted(place.iterdir()) == before


def test_a_report_is_written_beside_the_numbers(place, capsys):
    assert cli.main([*EVALUATE, "--report", "out"]) == 0
    assert "Acc50       50.0 %" in capsys.readouterr().out
    page = (place / "out" / "index.html").read_text()
    assert "Evaluation: mini" in page and "&lt;red&gt;" in page and "<red>" not in page
    assert cli.main([*EVALUATE, "--report", "rows.json"]) == 2


def test_the_command_knows_all_baselines():
    from piza.cli.evaluate import BASELINES
    from piza.evaluation import baselines

    assert set(BASELINES) == set(baselines.BASELINES)
