"""Whatever is wrong with what a user gives: exit code 2, one sentence on stderr, nothing on stdout."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.test_image import bomb_png

import piza
from piza.cli import main as cli


@pytest.fixture(scope="session")
def place(tmp_path_factory, tiny_piza):
    """A folder of good and bad files, and two real models with random weights: `model`, and `broken` cut short."""
    from piza.model.io import save_folder

    place = tmp_path_factory.mktemp("bad")
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    noise.save(place / "good.jpg")
    jpeg = io.BytesIO()
    noise.save(jpeg, "JPEG")
    (place / "truncated.jpg").write_bytes(jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
    (place / "text.jpg").write_text("this is no image")
    (place / "empty.jpg").touch()
    (place / "bomb.png").write_bytes(bomb_png(30_000, 30_000))
    Image.new("RGB", (1, 1)).save(place / "dot.png")
    (place / "folder").mkdir()

    rows = [{"image": "good.jpg", "bbox": [1, 1, 9, 9], "ref": "the car", "id": 1}]
    (place / "rows.json").write_text(json.dumps(rows))
    (place / "gone.json").write_text(json.dumps([{**rows[0], "image": "gone.jpg"}]))
    (place / "torn.json").write_text(json.dumps([{**rows[0], "image": "truncated.jpg"}]))
    (place / "flat.json").write_text(json.dumps([{**rows[0], "bbox": [1, 1, 0, 9]}]))
    (place / "object.json").write_text(json.dumps(rows[0]))
    (place / "half.json").write_text(json.dumps(rows)[:20])
    (place / "none.json").write_text("[]")
    (place / "absent.json").write_text(json.dumps([{"image": "good.jpg", "ref": "the moon"}]))

    save_folder(tiny_piza, place / "model")
    for name in ("broken", "other", "torn", "odd"):
        shutil.copytree(place / "model", place / name)
    weights = (place / "broken" / "model.safetensors").read_bytes()
    (place / "broken" / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    (place / "odd" / "model.safetensors").write_bytes(b"\xff" * 64)
    (place / "torn" / "piza.json").write_text((place / "torn" / "piza.json").read_text()[:30])
    config = json.loads((place / "other" / "config.json").read_text())
    config["d_model"] *= 2
    (place / "other" / "config.json").write_text(json.dumps(config))
    (place / "checkpoint.pth").write_bytes(b"no checkpoint")
    return place


QUICK = {
    "no command": [],
    "unknown command": ["find"],
    "no sentence": ["locate", "good.jpg"],
    "missing file": ["locate", "gone.jpg", "the car"],
    "a folder": ["locate", "folder", "the car"],
    "not an image": ["locate", "text.jpg", "the car"],
    "empty file": ["locate", "empty.jpg", "the car"],
    "truncated JPEG": ["locate", "truncated.jpg", "the car"],
    "bomb": ["locate", "bomb.png", "the car"],
    "a name with a line break": ["locate", "a\nb.jpg", "the car"],
    "empty sentence": ["locate", "good.jpg", ""],
    "blank sentence": ["locate", "good.jpg", " \n\t"],
    "second sentence empty": ["locate", "good.jpg", "the car", ""],
    "sentence in no encoding": ["locate", "good.jpg", b"\xff\xfe"],
    "max steps 0": ["locate", "good.jpg", "the car", "--max-looks", "0"],
    "budget 0": ["locate", "good.jpg", "the car", "--budget", "0"],
    "accept threshold of 2": ["locate", "good.jpg", "the car", "--accept-threshold", "2"],
    "accept threshold in words": ["evaluate", "rows.json", "--images", ".", "--accept-threshold", "plenty"],
    "min score of 2": ["locate", "good.jpg", "the car", "--min-score", "2"],
    "min score in words": ["locate", "good.jpg", "the car", "--min-score", "some"],
    "max steps in words": ["locate", "good.jpg", "the car", "--max-looks", "many"],
    "unknown option": ["locate", "good.jpg", "the car", "--zoom"],
    "drawing in an unknown format": ["locate", "good.jpg", "the car", "--out", "a.gif"],
    "drawing without a suffix": ["locate", "good.jpg", "the car", "--out", "drawing"],
    "drawing onto a folder": ["locate", "good.jpg", "the car", "--out", "folder"],
    "drawing into no folder": ["locate", "good.jpg", "the car", "--out", "gone/a.png"],
    "unknown model": ["locate", "good.jpg", "the car", "--model", "maxi"],
    "model that is a file": ["locate", "good.jpg", "the car", "--model", "good.jpg"],
    "model by a long name": ["locate", "good.jpg", "the car", "--model", "x" * 5000],
    "rows missing": ["evaluate", "nowhere.json", "--images", "."],
    "rows that are an object": ["evaluate", "object.json", "--images", "."],
    "rows cut short": ["evaluate", "half.json", "--images", "."],
    "rows that are an image": ["evaluate", "good.jpg", "--images", "."],
    "row with a flat box": ["evaluate", "flat.json", "--images", "."],
    "images missing": ["evaluate", "rows.json", "--images", "nowhere"],
    "no folder of images": ["evaluate", "rows.json"],
    "predictions into no folder": ["evaluate", "rows.json", "--images", ".", "--predictions", "gone/p.jsonl"],
    "absent sentences missing": ["evaluate", "rows.json", "--images", ".", "--absent", "nowhere.json"],
    "absent sentences with boxes": ["evaluate", "rows.json", "--images", ".", "--absent", "rows.json"],
    "no absent sentences": ["evaluate", "rows.json", "--images", ".", "--absent", "none.json"],
    "absent sentences for the oracle": [
        "evaluate",
        "rows.json",
        "--images",
        ".",
        "--absent",
        "absent.json",
        "--baseline",
        "oracle",
    ],
    "limit 0": ["evaluate", "rows.json", "--images", ".", "--limit", "0"],
    "scenes without a count": ["data", "scenes", "out", "--seed", "1"],
    "scenes of no size": ["data", "scenes", "out", "--count", "1", "--seed", "1", "--size", "big"],
    "no other scene": ["data", "scenes", "out", "--count", "1", "--seed", "1", "--absent", "3"],
    "scenes with 0 absent": ["data", "scenes", "out", "--count", "2", "--seed", "1", "--absent", "0"],
    "scenes onto a file": ["data", "scenes", "good.jpg", "--count", "1", "--seed", "1"],
    "checking an object": ["data", "check", "object.json"],
    "checking against no folder": ["data", "check", "rows.json", "--images", "nowhere"],
    "counting a flat box": ["data", "stats", "flat.json"],
    "viewing no rows": ["data", "view", "none.json", "--images", ".", "--out", "page.html"],
    "viewing a lost image": ["data", "view", "gone.json", "--images", ".", "--out", "page.html"],
    "viewing a broken image": ["data", "view", "torn.json", "--images", ".", "--out", "page.html"],
    "rows in an unknown format": [
        "data",
        "convert",
        "rows.json",
        "--from",
        "voc",
        "--to",
        "coco",
        "--out",
        "o",
    ],
    "COCO without sizes": ["data", "convert", "rows.json", "--from", "sorec", "--to", "coco", "--out", "o"],
    "no Parquet": ["data", "convert", "rows.json", "--from", "hf", "--to", "sorec", "--out", "o"],
    "converting onto a full folder": [
        "convert",
        "reference",
        "checkpoint.pth",
        "--base",
        "model",
        "--out",
        "model",
    ],
}

WITH_TORCH = {
    "model that is a folder of something else": ["locate", "good.jpg", "the car", "--model", "folder"],
    "broken safetensors": ["locate", "good.jpg", "the car", "--model", "broken"],
    "safetensors of noise": ["locate", "good.jpg", "the car", "--model", "odd"],
    "weights of another shape": ["locate", "good.jpg", "the car", "--model", "other"],
    "broken settings": ["locate", "good.jpg", "the car", "--model", "torn"],
    "hub name without a network": ["locate", "good.jpg", "the car", "--model", "someone/something"],
    "unknown device": ["locate", "good.jpg", "the car", "--model", "model", "--device", "abacus"],
    "10,000 words": ["locate", "good.jpg", "car " * 10_000, "--model", "model"],
    "10,000 question marks": ["locate", "good.jpg", "? " * 10_000, "--model", "model"],
    "no words": ["locate", "good.jpg", "...", "--model", "model"],
    "no rows": ["evaluate", "none.json", "--images", ".", "--model", "model"],
    "image of a row missing": ["evaluate", "gone.json", "--images", ".", "--model", "model"],
    "all images missing": [
        "evaluate",
        "gone.json",
        "--images",
        ".",
        "--model",
        "model",
        "--missing",
        "skip",
    ],
    "checkpoint missing": ["convert", "reference", "gone.pth", "--base", "model", "--out", "new"],
    "no checkpoint": ["convert", "reference", "checkpoint.pth", "--base", "model", "--out", "new"],
    "base missing": ["convert", "reference", "checkpoint.pth", "--base", "nowhere", "--out", "new"],
}


def one_sentence(text: str) -> bool:
    lines = text.splitlines()
    return (
        len(lines) == 1 and lines[0].startswith("piza: ") and lines[0].endswith(".") and ". " not in lines[0]
    )


def run(place, arguments):
    """`piza` in a process of its own, as a user runs it: libraries that warn while they are imported are heard."""
    environment = {**os.environ, "PYTHONPATH": str(Path(piza.__file__).parents[1])}
    command = [sys.executable, "-m", "piza", *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("case", QUICK)
def test_refused_before_any_model_is_loaded(place, case):
    before = sorted(place.rglob("*"))
    done = run(place, QUICK[case])
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert one_sentence(done.stderr), done.stderr
    assert sorted(place.rglob("*")) == before  # nothing written, no half file left


@pytest.mark.parametrize("case", WITH_TORCH)
def test_refused_by_the_model(place, case, monkeypatch, capfd):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    assert cli.main(WITH_TORCH[case]) == 2
    out, err = capfd.readouterr()
    assert out == "" and one_sentence(err), err
    assert len(err) < 700
    assert sorted(place.rglob("*")) == before


def test_a_refusal_of_a_model_in_a_process_of_its_own(place):
    done = run(place, WITH_TORCH["broken safetensors"])
    assert done.returncode == 2 and done.stdout == ""
    assert one_sentence(done.stderr) and "broken" in done.stderr, done.stderr


def test_the_smallest_image_is_searched(place):
    """With a real model, all in one: answers inside the image on stdout, silence on stderr."""
    done = run(place, ["locate", "dot.png", "the red car", "the car", "--model", "model", "--json"])
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for answer in json.loads(done.stdout):
        assert all(0 <= value <= 1 for value in answer["box_xyxy"])
        assert 1 <= len(answer["path"]) <= 5


def test_a_real_model_is_evaluated(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert cli.main(["evaluate", "rows.json", "--images", ".", "--model", "model", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["rows"] == 1 and summary["mean_ms"] > 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full", "> /dev/full 2>&1"])
def test_streams_that_are_closed_or_full_end_in_no_traceback(closed, tmp_path):
    code = (
        "import sys; from piza.cli.common import guard; from piza.errors import InputError\n"
        "def fail(): print('x', flush=True); open(sys.argv[1], 'w').write('kept'); raise InputError('no')\n"
        "sys.exit(guard(fail))"
    )
    command = f'"{sys.executable}" -c "$1" "$2" {closed}'
    done = subprocess.run(["sh", "-c", command, "sh", code, tmp_path / "a"], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "/dev/full" in closed or (tmp_path / "a").read_text() == "kept"


@pytest.mark.parametrize(
    "command",
    [
        "merge rows.json other.json --out rows.json",
        "dedupe rows.json --images photos --out ./rows.json",
        "convert rows.json --from sorec --to coco --images photos --out rows.json",
        "view rows.json --images photos --out rows.json",
        "audit rows.json --images photos --log rows.json",
        "sentences rows.json --images photos --format coco --out rows.json",
    ],
)
def test_what_is_read_is_not_written_over(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("rows.json", "other.json"):
        Path(name).write_text('[{"image": "a.png", "bbox": [1, 1, 5, 5], "ref": "The car.", "id": 1}]')
    before = Path("rows.json").read_bytes()
    assert cli.main(["data", *command.split()]) == 2
    assert "read by the same command" in capsys.readouterr().err
    assert Path("rows.json").read_bytes() == before


def test_a_list_of_names_without_lines_is_not_read_whole(tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("a" * 70_000)
    assert cli.main(["locate", str(names), "The car."]) == 2
    assert "a line of more than 65536 letters" in capsys.readouterr().err


def test_an_installation_without_torch_says_so(tmp_path):
    for name in ("torch", "transformers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ImportError(\"No module named '{name}'\")")
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "rows.json").write_text(
        '[{"image": "a.png", "bbox": [1, 1, 9, 9], "ref": "the car", "id": 1}]'
    )
    commands = [
        "locate a.png car",
        "evaluate rows.json --images .",
        "train rows.json --images . --base mini --out out",
        "export mini --out out",
        "serve --port 0",
        "convert reference a.pth --base b --out out",
    ]
    code = "import sys; from piza.cli.main import main; print([main(one.split()) for one in sys.argv[1:]])"
    paths = [str(tmp_path), str(Path(piza.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", code, *commands],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    assert done.stdout == f"{[2] * len(commands)}\n", done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(commands) and all("this needs torch and transformers" in line for line in lines)
