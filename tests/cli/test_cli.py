"""The commands, called as functions, with a model that answers at once; bad input is in test_bad_input.py."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import piza
from piza.cli import main as cli
from piza.data.sorec import find_image, read_rows
from piza.grounders.base import GrounderSearch
from piza.image import ImageReference
from piza.result import Result, Step

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(piza.__file__).parents[1])}


@dataclass
class Fake:
    """Answers every sentence with one box after two looks."""

    asked: list = field(default_factory=list)

    def locate(self, image, expression, min_score=None, **options):
        self.asked.append((expression, options))
        size = (image.shape[1], image.shape[0])
        box = (10.0, 10.0, 20.25, 20.0)
        windows = [(0.0, 0.0, *map(float, size)), (4.0, 4.0, 36.0, 36.0)]
        steps = [Step(w, (64, 48), 0.0, 0.5, np.array([box]), np.array([0.75])) for w in windows]
        found = min_score is None or min_score <= 0.75
        return [
            Result(s, box, 0.75, steps, size, "stop", 12.0, ImageReference(image, keep=True), found=found)
            for s in expression
        ]


@pytest.fixture
def fake(monkeypatch):
    model = Fake()
    loaded = []
    monkeypatch.setattr(piza, "load", lambda name, device: loaded.append((name, device)) or model)
    model.loaded = loaded
    return model


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), (90, 120, 90)).save(path)
    return str(path)


@pytest.fixture
def rows(tmp_path, photo):
    path = tmp_path / "rows.json"
    boxes = [[10, 10, 10, 10], [10, 10, 10, 10], [40, 30, 10, 10]]
    path.write_text(
        json.dumps(
            [{"image": "photo.png", "bbox": b, "ref": f"thing {i}", "id": i} for i, b in enumerate(boxes)]
        )
    )
    return str(path)


def test_locate_prints_box_score_windows_and_time(fake, photo, capsys):
    assert cli.main(["locate", photo, "the red car"]) == 0
    out, err = capsys.readouterr()
    for said in (
        "the red car",
        "10.0, 10.0 to 20.2, 20.0",
        "0.75",
        "12 ms",
        "2 looks",
        "4.0, 4.0 to 36.0, 36.0",
    ):
        assert said in out
    assert err == ""
    assert fake.loaded == [("mini", "auto")] and fake.asked == [(["the red car"], {})]


def test_options_reach_the_model(fake, photo):
    options = ["--max-looks", "2", "--whole-frame", "--greedy", "--budget", "3", "--accept-threshold", "0"]
    given = {"max_looks": 2, "whole_frame": True, "greedy": True, "budget": 3, "accept_threshold": 0.0}
    assert (
        cli.main(["locate", photo, "the red car", *options, "--model", "folder", "--device", "cuda:1"]) == 0
    )
    assert fake.loaded == [("folder", "cuda:1")] and fake.asked == [(["the red car"], given)]


def test_a_grounder_is_searched_with_as_was_said(tmp_path, monkeypatch, capsys):
    asked = []
    Image.new("RGB", (2000, 1500), (90, 120, 90)).save(tmp_path / "large.png")

    def unsure(image, sentence):
        asked.append(sentence)
        return np.array([[x, 10.0, x + 10, 20.0] for x in (5.0, 30.0, 55.0, 80.0)]), np.full(4, 0.3)

    search = GrounderSearch(unsure)
    monkeypatch.setattr("piza.grounders.base.load_grounder", lambda name, device: search)
    given = ["locate", str(tmp_path / "large.png"), "the red car", "--grounder", "any"]
    assert cli.main([*given, "--budget", "2"]) == 0
    assert len(asked) == 2
    assert cli.main(given) == 0
    assert len(asked) > 2 + 2


def test_nothing_matches(fake, photo, tmp_path, capsys):
    drawn = ["--out", str(tmp_path / "drawn.png")]
    assert cli.main(["locate", photo, "one", "two", "--min-score", "0.8", *drawn]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    for out, sentence in ((first, "one"), (second, "two")):
        lines = out.splitlines()
        assert lines[0] == sentence
        assert lines[1] == "  nothing in the image matches (the best guess has a score of 0.75)"
        assert "10.0, 10.0" not in out and "2 looks" in out and "4.0, 4.0 to 36.0, 36.0" in out
    assert cli.main(["locate", photo, "one", "--min-score", "0.8", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["found"] is False and answer["box_xyxy"] == [10, 10, 20.25, 20] and answer["score"] == 0.75
    assert cli.main(["locate", photo, "one", "--min-score", "0.7"]) == 0
    out = capsys.readouterr().out
    assert "nothing" not in out and "10.0, 10.0 to 20.2, 20.0" in out
    assert cli.main(["locate", photo, "one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"] is True


def test_locate_json(fake, photo, capsys):
    assert cli.main(["locate", photo, "one", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["box_xyxy"] == [10, 10, 20.25, 20] and answer["frame_size"] == [64, 48]
    assert cli.main(["locate", photo, "one", "two", "--json"]) == 0
    assert [a["expression"] for a in json.loads(capsys.readouterr().out)] == ["one", "two"]
    assert fake.asked[-1][0] == ["one", "two"]  # both in one call


def test_several_images_are_several_images(fake, photo, tmp_path, capsys):
    other = tmp_path / "other.png"
    Image.new("RGB", (90, 50)).save(other)
    command = ["locate", photo, str(other), "one", "two", "--out", str(tmp_path / "d.png")]
    assert cli.main([*command, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    found = [(a["image"], a["expression"], a["frame_size"]) for a in answers]
    assert found == [
        (photo, "one", [64, 48]), (photo, "two", [64, 48]),
        (str(other), "one", [90, 50]), (str(other), "two", [90, 50]),
    ]  # fmt: skip
    assert all((tmp_path / f"d-{number}.png").exists() for number in (1, 2, 3, 4))
    assert cli.main(command) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    assert [block.splitlines()[:2] for block in blocks] == [
        [photo, "one"], [photo, "two"], [str(other), "one"], [str(other), "two"],
    ]  # fmt: skip


NO_SENTENCES = {
    "two images": ["photo.png", "other.png"],
    "a file among the sentences": ["photo.png", "one", "other.png"],
    "a folder among the sentences": ["photo.png", "one", "folder"],
    "a folder": ["photo.png", "folder", "one"],
    "a misspelled name": ["photo.png", "othre.png", "one"],
    "a pattern that matches nothing": ["photo.png", "*.jpg", "one"],
    "a name with a blank": ["photo.png", "my car.jpg", "one"],
}


@pytest.mark.parametrize("case", NO_SENTENCES)
def test_a_file_is_never_a_sentence(fake, photo, tmp_path, monkeypatch, capsys, case):
    Image.new("RGB", (90, 50)).save(tmp_path / "other.png")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["locate", *NO_SENTENCES[case]]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and not fake.asked and not fake.loaded


def test_unknown_words_are_named(fake, photo, capsys, monkeypatch):
    answer = fake.locate

    def locate(image, expression, **options):
        (result,) = answer(image, expression, **options)
        result.unknown_words = ["zorgle"]
        return [result]

    monkeypatch.setattr(fake, "locate", locate)
    assert cli.main(["locate", photo, "the zorgle"]) == 0
    assert "  note   the model does not know: zorgle\n" in capsys.readouterr().out


@pytest.mark.parametrize("sentence", ["a\x1b[2Jcar", "a\x9b2Jcar", "a\u202ecar", "a\x07car"])
def test_a_sentence_gives_the_terminal_no_command(fake, photo, capsys, sentence):
    assert cli.main(["locate", photo, f"{sentence}\nthe é 漢字 👩\u200d🚒"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert not set(first) & set("\x1b\x9b\u202e\x07") and first.endswith("car the é 漢字 👩\u200d🚒")
    assert cli.main(["locate", f"{sentence}.png", "one"]) == 2
    assert not set(capsys.readouterr().err) & set("\x1b\x9b\u202e\x07")


def test_a_full_disk_is_named(photo):
    """stdout on a full disk: one sentence, no traceback."""
    command = f"{sys.executable} -m piza data check {photo}.json > /dev/full"
    Path(f"{photo}.json").write_text("[]")
    done = subprocess.run(["bash", "-c", command], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr == "piza: cannot read or write the output: No space left on device.\n"


def test_torch_does_not_run_an_export(photo, tmp_path, capsys):
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "export.json").write_text("{}")
    command = ["locate", photo, "one", "--model", str(tmp_path / "exported")]
    assert cli.main([*command, "--runtime", "torch"]) == 2
    assert "is an exported model; expected --runtime onnx or openvino" in capsys.readouterr().err
    assert cli.main(command) == 2  # recognized, and damaged
    assert "export" in capsys.readouterr().err


def test_locate_draws(fake, photo, tmp_path, capsys):
    assert cli.main(["locate", photo, "one", "--out", str(tmp_path / "drawn.png"), "--json"]) == 0
    out, err = capsys.readouterr()
    json.loads(out)  # the name of the drawing is not among the answer
    assert "drawn.png" in err
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.width > 64
    assert cli.main(["locate", photo, "one", "two", "--out", str(tmp_path / "d.jpg")]) == 0
    assert (tmp_path / "d-1.jpg").exists() and (tmp_path / "d-2.jpg").exists()


def test_evaluate(fake, rows, tmp_path, capsys):
    assert cli.main(["evaluate", rows, "--images", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == ["rows        3", "Acc50       66.7 %"] and err == ""


def test_evaluate_json_and_predictions(fake, rows, tmp_path, capsys):
    predictions = tmp_path / "p.jsonl"
    options = ["--json", "--predictions", str(predictions), "--limit", "2", "--whole-frame"]
    assert cli.main(["evaluate", rows, "--images", str(tmp_path), *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert list(summary)[:6] == ["rows", "acc50", "acc75", "macc", "mean_steps", "mean_ms"]
    assert (summary["rows"], summary["acc50"], summary["mean_steps"]) == (2, 100, 2)
    lines = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert [line["id"] for line in lines] == [0, 1] and lines[0]["iou"] > 0.9
    assert fake.asked[-1] == (["thing 0", "thing 1"], {"whole_frame": True})


def test_evaluate_says_what_it_left_out(fake, rows, tmp_path, capsys):
    content = json.loads((tmp_path / "rows.json").read_text())
    content[1]["image"] = "gone.png"
    (tmp_path / "rows.json").write_text(json.dumps(content))
    assert cli.main(["evaluate", rows, "--images", str(tmp_path)]) == 2
    assert cli.main(["evaluate", rows, "--images", str(tmp_path), "--missing", "skip", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["rows"] == 2 and "left out 1 rows" in err


def test_an_interrupted_evaluation_keeps_its_predictions(fake, rows, tmp_path, capsys, monkeypatch):
    content = json.loads((tmp_path / "rows.json").read_text())
    Image.new("RGB", (64, 48)).save(tmp_path / "second.png")
    content[2]["image"] = "second.png"
    (tmp_path / "rows.json").write_text(json.dumps(content))
    answer = fake.locate

    def locate(image, expression, **options):
        if "thing 2" in expression:
            raise KeyboardInterrupt
        return answer(image, expression, **options)

    monkeypatch.setattr(fake, "locate", locate)
    arguments = ["evaluate", rows, "--images", str(tmp_path), "--predictions", str(tmp_path / "p.jsonl")]
    assert cli.main(arguments) == 130
    out, err = capsys.readouterr()
    assert out == "" and err == "piza: interrupted.\n"
    assert len((tmp_path / "p.jsonl.part").read_text().splitlines()) == 2
    assert not (tmp_path / "p.jsonl").exists()

    monkeypatch.setattr(fake, "locate", answer)
    fake.asked.clear()
    assert cli.main([*arguments, "--budget", "7"]) == 2
    assert "another run" in capsys.readouterr().err and not fake.asked
    assert cli.main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert [sentences for sentences, _ in fake.asked] == [["thing 2"]] and "holds 2 rows" in err
    assert json.loads(out)["rows"] == len((tmp_path / "p.jsonl").read_text().splitlines()) == 3


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from piza.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'transformers', 'cv2', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "locate" in done.stdout and "evaluate" in done.stdout


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"piza {piza.__version__}\n"


def test_a_reader_that_has_seen_enough(photo):
    """`piza ... | true`: no traceback about the closed pipe, however late piza writes to it."""
    command = f"(sleep 0.3; {sys.executable} -m piza locate --help) | true"
    done = subprocess.run(["bash", "-c", command], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stderr == ""


def test_scenes_are_written_and_can_be_read(tmp_path, capsys):
    arguments = ["data", "scenes", str(tmp_path / "out"), "--count", "2", "--seed", "3", "--size", "960x540"]
    assert cli.main(arguments) == 0
    rows = read_rows(tmp_path / "out" / "rows.json")
    assert f"{len(rows)} rows" in capsys.readouterr().out
    assert len({row.image for row in rows}) == 2
    for row in rows:
        with Image.open(find_image(tmp_path / "out" / "images", row.image)) as opened:
            assert opened.size == (960, 540)
            assert row.box_xyxy[2] <= 960 and row.box_xyxy[3] <= 540


def test_scenes_with_sentences_about_nothing(tmp_path, capsys):
    arguments = ["--count", "2", "--seed", "3", "--size", "640x360"]
    assert cli.main(["data", "scenes", str(tmp_path / "plain"), *arguments]) == 0
    assert "nothing" not in capsys.readouterr().out and not (tmp_path / "plain" / "absent.json").exists()
    assert cli.main(["data", "scenes", str(tmp_path / "both"), *arguments, "--absent", "2"]) == 0
    absent = json.loads((tmp_path / "both" / "absent.json").read_text())
    assert f"{len(absent)} sentences that are true of nothing" in capsys.readouterr().out
    for path in (p.relative_to(tmp_path / "plain") for p in (tmp_path / "plain").rglob("*.*")):
        assert (tmp_path / "plain" / path).read_bytes() == (tmp_path / "both" / path).read_bytes()


def test_scenes_do_not_depend_on_the_number_of_workers(tmp_path):
    """In a process of its own: workers import the main module again."""
    for workers in ("1", "2"):
        command = [sys.executable, "-m", "piza", "data", "scenes", str(tmp_path / workers), "--count", "3"]
        command += ["--seed", "9", "--size", "640x360", "--workers", workers]
        subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True, timeout=60)
    files = [sorted(p for p in (tmp_path / w).rglob("*") if p.is_file()) for w in ("1", "2")]
    assert len(files[0]) == 4
    assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]
