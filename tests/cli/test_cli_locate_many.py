"""`piza locate` about many images."""

import json
import sys

import pytest
from tests.batch.fake_model import FakeModel, make_image

import piza
from piza.cli import locate as command
from piza.cli import main as cli


@pytest.fixture
def fake(monkeypatch):
    model = FakeModel()
    monkeypatch.setattr(piza, "load", lambda name, device: model)
    return model


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two images, a file that is none, and an image in a folder; the working directory is above them."""
    for name in ("2.png", "10.png", "more/1.png"):
        make_image(tmp_path / "photos" / name)
    (tmp_path / "photos" / "3.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_a_folder(fake, photos, capsys):
    assert cli.main(["locate", "photos", "one", "two"]) == 0
    out, err = capsys.readouterr()
    assert [block.splitlines()[:2] for block in out.split("\n\n")][:2] == [
        ["photos/2.png", "one"],
        ["photos/2.png", "two"],
    ]
    assert [block.splitlines()[0] for block in out.split("\n\n")] == [
        "photos/2.png", "photos/2.png", "photos/3.png", "photos/10.png", "photos/10.png",
    ]  # fmt: skip
    assert "  error  'photos/3.png' is not an image" in out
    assert err.startswith("piza: 1 of 3 images failed, such as 'photos/3.png' is not an image")
    assert err.count("\n") == 1


def test_json_is_a_list_with_failures_in_it(fake, photos, capsys):
    assert cli.main(["locate", "photos", "one", "--json", "--recursive"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [(a["image"], "error" in a) for a in answers] == [
        ("photos/2.png", False), ("photos/3.png", True), ("photos/10.png", False), ("photos/more/1.png", False)
    ]  # fmt: skip


@pytest.mark.parametrize("source", ["photos/1*.png", "list.txt"])
def test_a_source_of_one_image_is_still_many(fake, photos, capsys, source):
    (photos.parent / "list.txt").write_text("photos/10.png\n")
    assert cli.main(["locate", source, "one", "--json"]) == 0
    assert [a["image"] for a in json.loads(capsys.readouterr().out)] == ["photos/10.png"]


def test_sources_and_sentences_are_told_apart(photos):
    (photos.parent / "list.txt").touch()
    given = [
        "photos",
        "photos/*.png",
        "memory://bucket/a",
        "gone.txt",
        "list.txt",
        "a sign * with stars",
        "what is it?",
    ]
    assert command.split_arguments(given) == (given[:5], given[5:])


def test_answers_go_to_a_file_instead(fake, photos, capsys):
    assert cli.main(["locate", "photos", "one", "two", "--out", "o.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "piza: wrote o.jsonl: 4 answers about 2 images.\n" in err.replace(
        "images\n", "images.\n"
    )
    assert "1 of 3 images failed" in err
    assert len((photos.parent / "o.jsonl").read_text().splitlines()) == 5
    assert cli.main(["locate", "photos/2.png", "one", "--out", "one.coco.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["expression"] == "one"
    assert (photos.parent / "one.coco.json").exists()


def test_drawings_of_many(fake, photos, capsys, monkeypatch):
    assert cli.main(["locate", "photos", "one", "--out", "d.png"]) == 0
    assert sorted(path.name for path in photos.parent.glob("d*.png")) == ["d-1.png", "d-2.png"]
    assert "drew d-2.png" in capsys.readouterr().err
    monkeypatch.setattr(command, "MAX_NOTES", 1)
    assert cli.main(["locate", "photos", "one", "--out", "d.png"]) == 0
    assert "drew d-1.png to d-2.png, 2 in all" in capsys.readouterr().err


def test_all_images_failed(fake, photos, capsys):
    assert cli.main(["locate", "photos/3*.png", "one", "--out", "o.csv"]) == 1
    assert "1 of 1 images failed" in capsys.readouterr().err and (photos.parent / "o.csv").exists()
    assert cli.main(["locate", "photos/3.png", "one"]) == 2  # one image that was named is bad input


REFUSED = {
    "an empty folder": ["empty", "one"],
    "a pattern that matches nothing": ["photos/*.jpg", "one"],
    "a misspelled name among several": ["photos/2.png", "photos/20.png", "one"],
    "a format that is not known": ["photos", "one", "--out", "answers.json"],
    "a folder that is full": ["photos", "one", "--out", "full.yolo"],
    "a sentence that cannot be asked": ["photos", "...", "--out", "o.jsonl"],
    "the same, into a folder": ["photos", "...", "--out", "yolo", "--json"],
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_sentence_and_writes_nothing(fake, photos, capsys, case):
    (photos.parent / "empty").mkdir()
    make_image(photos.parent / "full.yolo" / "a.png")
    before = sorted(photos.parent.rglob("*"))
    assert cli.main(["locate", *REFUSED[case]]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("piza: ") and err.count("\n") == 1
    assert sorted(photos.parent.rglob("*")) == before


def test_progress(fake, photos, capsys, monkeypatch):
    monkeypatch.setattr("piza.cli.progress.SECONDS_BETWEEN_LINES", 0)
    assert cli.main(["locate", "photos", "one", "--out", "o.jsonl"]) == 0
    err = capsys.readouterr().err
    assert "piza: 1 of 3 images, " in err and "minutes left" in err and "3 of 3 images," not in err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert cli.main(["locate", "photos", "one", "--out", "o.jsonl"]) == 0
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["photos/2.png", "one", "--out", "photos/2.png"],
        ["photos/2.png", "one", "two", "--out", "photos/../photos/a.png"],
        ["photos", "one", "--out", "photos/a.png"],
    ],
)
def test_a_photo_is_never_drawn_over(arguments, fake, photos, capsys):
    make_image(photos / "a-2.png")
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    if "two" in arguments:
        arguments = ["photos/a-2.png", *arguments[1:]]
    assert cli.main(["locate", *arguments]) == 2
    assert "is read by the same command" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before


def test_names_as_long_as_they_may_be(fake, photos, capsys):
    """Of three bytes a letter, in every kind of files about an image."""
    make_image(photos / "long" / f"{'車' * 83}.png")
    for out in ("yolo", "drawings", "crops", f"{'車' * 80}.png", f"{'車' * 80}.csv"):
        assert cli.main(["locate", "photos/long", "one", "--out", out]) == 0, capsys.readouterr().err
