"""Fitting the evidence of a search: what is written into the model folder, and what is not."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from piza.config import Evidence
from piza.model.io import save_folder

sys.path.append(str(Path(__file__).resolve().parents[2] / "recipes"))

import calibrate


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_piza):
    place = tmp_path_factory.mktemp("calibrate")
    save_folder(tiny_piza, place / "model")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(2):
        Image.fromarray(rng.integers(0, 255, (960, 1280, 3), dtype=np.uint8)).save(place / f"{number}.png")
        rows.append({"image": f"{number}.png", "bbox": [40, 50, 20, 16], "ref": "the red car", "id": number})
    (place / "rows.json").write_text(json.dumps(rows))
    return place


@pytest.mark.parametrize(
    ("evidence", "written"),
    [
        (Evidence(0.1, 2.0, -1.0, -3.0), True),
        (Evidence(-0.5, 1.0, 0.0, 0.0), False),
        (Evidence(1.0, -0.1), False),
    ],
)
def test_evidence_against_scores_is_not_written(place, evidence, written, monkeypatch, capsys):
    """Evidence that turns the order of scores around asks for windows that the first search has not seen."""
    monkeypatch.setattr(calibrate, "fit", lambda choices: evidence)
    arguments = [place / "model", place / "rows.json", place, "--windows", "1", "--write"]
    monkeypatch.setattr(sys, "argv", ["calibrate.py", *map(str, arguments)])
    before = (place / "model" / "piza.json").read_text()
    calibrate.main()
    found = json.loads((place / "model" / "piza.json").read_text())["search"]["evidence"]
    out = capsys.readouterr().out
    assert ("not written" in out) != written
    if written:
        assert found == vars(evidence)
        (place / "model" / "piza.json").write_text(before)
    else:
        assert (place / "model" / "piza.json").read_text() == before


def test_sentences_of_nothing_make_none_of_them_more_likely(place, monkeypatch, capsys):
    """With them the fit must allow for answers that are all wrong, and it tells how well it knows."""
    said = [{"image": f"{n % 2}.png", "ref": f"the blue sign {n}"} for n in range(6)]
    (place / "absent.json").write_text(json.dumps(said))
    seen = []
    monkeypatch.setattr(calibrate, "fit", lambda choices: seen.append(choices) or Evidence())
    arguments = [place / "model", place / "rows.json", place, "--windows", "1"]
    for more in ([], ["--absent", place / "absent.json"]):
        monkeypatch.setattr(sys, "argv", ["calibrate.py", *map(str, [*arguments, *more])])
        calibrate.main()
    without, with_absent = seen[len(seen) // 2 - 1], seen[-1]
    assert len(with_absent) == len(without) + 2 * len(said)
    assert sum(not any(choice.right) for choice in with_absent) >= 2 * len(said)
    assert capsys.readouterr().out.count("auroc_there") == 4
