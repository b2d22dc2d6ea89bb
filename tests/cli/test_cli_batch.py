"""`piza batch` and `piza evaluate --workers` as a user types them, with a small model of random weights."""

import json

import numpy as np
import pytest
from PIL import Image

from piza.cli import main as cli
from piza.evaluation.outcome import read_predictions

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_piza):
    """A model, four images of two sizes, one that is none, and rows about them."""
    from piza.model.io import save_folder

    place = tmp_path_factory.mktemp("batch")
    save_folder(tiny_piza, place / "model")
    (place / "photos").mkdir()
    rng = np.random.default_rng(0)
    rows, boxes = [], []
    for number in range(4):
        size = (96 + 32 * (number % 2), 128, 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(place / "photos" / f"{number}.png")
        for sentence in ("the red car", "a round sign left of the car"):
            rows.append({"image": f"{number}.png", "sentence": sentence, "id": len(rows)})
            boxes.append(
                {"image": f"{number}.png", "bbox": [10, 20, 30, 40], "ref": sentence, "id": len(boxes)}
            )
    (place / "photos" / "broken.png").write_bytes(b"no image")
    (place / "rows.json").write_text(json.dumps(boxes))
    rows.append({"image": "broken.png", "sentence": "the car", "id": len(rows)})
    (place / "m.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return place


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.chdir(place)


BATCH = ["batch", "m.jsonl", "--images", "photos", "--model", "model", "--part-rows", "3"]


def test_batch(place, capsys):
    assert cli.main([*BATCH, "--out", "two", "--workers", "2", "--budget", "3"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "piza: 9 rows answered; 3 parts in two\npiza: 1 rows hold an error, such as" in err
    rows = parquet.read_table("two").to_pylist()
    assert [row["row"] for row in rows] == list(range(9))
    assert (
        all(0 < row["num_looks"] <= 3 and len(row["box_xyxy"]) == 4 for row in rows[:8]) and rows[8]["error"]
    )

    assert cli.main([*BATCH, "--out", "none", "--workers", "0", "--budget", "3"]) == 0
    assert parquet.read_table("none").to_pylist() == rows  # every digit of a real search

    capsys.readouterr()
    assert cli.main([*BATCH, "--out", "two", "--budget", "3"]) == 0
    assert "9 rows answered, 9 of them by earlier runs" in capsys.readouterr().err
    assert cli.main([*BATCH, "--out", "two"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("piza: the folder ") and "with other settings" in err
    assert err.count("\n") == 1


def test_a_shard_without_a_part_is_no_failure(place, capsys):
    assert cli.main([*BATCH, "--out", "many", "--shard", "9/9", "--workers", "0"]) == 0
    assert "0 rows answered; 0 parts" in capsys.readouterr().err


def test_all_images_fail(place, capsys):
    (place / "bad.csv").write_text("image,sentence\nbroken.png,the car\n")
    command = ["batch", "bad.csv", "--images", "photos", "--out", "bad", "--model", "model", "--workers", "0"]
    assert cli.main(command) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["gone.csv", "--images", "photos", "--out", "new"],
        ["rows.json", "--images", "photos", "--out", "new"],
        ["m.jsonl", "--images", "gone", "--out", "new"],
        ["m.jsonl", "--images", "photos", "--out", "photos"],
        ["m.jsonl", "--images", "photos"],
        ["m.jsonl", "--images", "photos", "--out", "new", "--shard", "3/2"],
        ["m.jsonl", "--images", "photos", "--out", "new", "--workers", "-1"],
        ["m.jsonl", "--images", "photos", "--out", "new", "--model", "maxi"],
        ["m.jsonl", "--images", "photos", "--out", "new", "--model", "photos", "--workers", "0"],
        ["m.jsonl", "--images", "photos", "--out", "new", "--device", "tpu", "--workers", "0"],
    ],
)
def test_bad_input(place, arguments, capsys):
    assert cli.main(["batch", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("piza: ") and err.count("\n") == 1


def test_evaluate_gives_the_same_numbers(place, capsys):
    command = ["evaluate", "rows.json", "--images", "photos", "--model", "model", "--json", "--predictions"]
    assert cli.main([*command, "one.jsonl"]) == 0
    assert cli.main([*command, "two.jsonl", "--workers", "2"]) == 0
    one, two = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert {**one, "mean_ms": 0} == {**two, "mean_ms": 0}
    lines = [[json.loads(line) for line in open(f"{name}.jsonl")] for name in ("one", "two")]
    assert [{**line, "milliseconds": 0} for line in lines[0]] == [
        {**line, "milliseconds": 0} for line in lines[1]
    ]

    kept = (place / "two.jsonl").read_text().splitlines(keepends=True)[:3]  # one image and a half
    (place / "cut.jsonl.part").write_text("".join(kept))
    assert cli.main([*command, "cut.jsonl"]) == 0  # what workers began goes on without them
    out, err = capsys.readouterr()
    assert {**json.loads(out), "mean_ms": 0} == {**one, "mean_ms": 0} and "holds 2 rows" in err
    assert len(read_predictions("cut.jsonl")) == 8
