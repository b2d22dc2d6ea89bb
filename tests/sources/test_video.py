"""The frames of a film are images like others, each with its time."""

import csv
import json
import re
import sys

import fsspec
import pytest
from tests.batch.fake_model import FakeModel, make_image
from tests.batch.films import cut_off, damage, make_film

import piza
from piza.cli import main as cli
from piza.errors import InputError
from piza.search.locate_many import locate_many
from piza.sources.images import find_images, find_sources
from piza.sources.video import FrameTime

pytest.importorskip("av", reason="PyAV is not installed")
FASTSTART = {"container_options": {"movflags": "faststart"}}  # the index comes first, so a part can be read


@pytest.fixture
def film(tmp_path, monkeypatch):
    """12 frames, ten a second; the working directory is that of the film."""
    monkeypatch.chdir(tmp_path)
    return make_film(tmp_path / "film.mp4", **FASTSTART)


@pytest.fixture
def fake(monkeypatch):
    model = FakeModel()
    monkeypatch.setattr(piza, "load", lambda name, device: model)
    return model


def gray(pixels):
    return round(float(pixels[30:, 40:].mean()))


@pytest.mark.parametrize(
    "name, codec",
    [("a.mp4", "libx264"), ("a.MKV", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx"), ("a.mts", "mpeg2video")],
)  # fmt: skip
def test_every_third_frame_of_each_container(name, codec, tmp_path):
    make_film(tmp_path / name, codec=codec, rate=25)
    found = list(find_images(tmp_path / name, every=3))
    assert [image.frame.number for image in found] == [0, 3, 6, 9]
    assert [image.frame.timecode for image in found] == [
        "00:00:00.000", "00:00:00.120", "00:00:00.240", "00:00:00.360"
    ]  # fmt: skip
    assert [gray(image.read()) for image in found] == pytest.approx([10, 70, 130, 190], abs=4)
    assert found[1].name == f"{tmp_path / name}#t=00:00:00.120"
    assert found[1].inside == f"{name}/00-00-00.120.png"


def test_timecodes():
    assert FrameTime(0, 0).timecode == "00:00:00.000"
    assert FrameTime(0, 3599.9996).timecode == "01:00:00.000"
    assert FrameTime(0, 100 * 3600 + 61.5).timecode == "100:01:01.500"


def test_memory_is_flat_and_frames_are_decoded_in_their_turn(film):
    model = FakeModel()
    found = locate_many(model, film, ["one", "two"])
    next(found)
    assert len(model.asked) == 1
    assert len(list(found)) == 11 and max(model.alive) <= 2


def test_a_film_that_was_filmed_sideways_is_turned_upright(tmp_path):
    film = make_film(tmp_path / "phone.mp4")
    content = bytearray(film.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    x, y, unit, minus = slice(0, 4), slice(4, 8), (1 << 16).to_bytes(4), (-1 << 16).to_bytes(4, signed=True)
    # QuickTime: what points right in the file points down on the screen, what points down points left.
    for row, (axis, value) in enumerate([(y, unit), (x, minus)]):
        place = matrix + 12 * row
        content[place : place + 8] = bytes(8)
        content[place + axis.start : place + axis.stop] = value
    film.write_bytes(content)
    first = next(find_images(film)).read()
    assert first.shape == (64, 48, 3)
    corners = [int(first[y, x].mean()) for y, x in ((5, 5), (5, 40), (60, 5), (60, 40))]
    assert (
        max(corners[0], corners[2]) < 20 < corners[3] < 240 < corners[1]
    )  # white was upper left, noise to its right


def test_films_among_other_sources(film, tmp_path):
    make_image(tmp_path / "photo.png")
    (tmp_path / "more").mkdir()
    make_film(tmp_path / "more" / "b.mkv")
    (tmp_path / "list.txt").write_text("film.mp4\nphoto.png\nmore/b.mkv\n")
    assert [s.inside for s in find_sources(tmp_path / "list.txt")] == ["film.mp4", "photo.png", "more/b.mkv"]
    assert [s.name for s in find_sources("*.mp4")] == ["film.mp4"]
    assert [s.name for s in find_sources("**/*.mkv")] == ["more/b.mkv"]
    assert [s.name for s in find_sources(tmp_path)] == [str(tmp_path / "photo.png")]  # of a folder, photos
    assert len(list(find_images([film, str(film), "photo.png"], every=6))) == 3


def test_a_film_behind_an_address(film):
    system = fsspec.filesystem("memory")
    system.pipe("/films/film.mp4", film.read_bytes())
    try:
        assert len(list(find_images("memory://films/film.mp4", every=4))) == 3
        assert [s.name for s in find_sources("memory://films/*.mp4")] == ["memory:///films/film.mp4"]
    finally:
        system.rm("/films", recursive=True)
    (gone,) = locate_many(FakeModel(), "memory://films/film.mp4", "one")
    assert "does not exist, expected a film" in gone.error


def test_the_time_is_in_every_file_of_answers(film, fake):
    for name in ("o.jsonl", "o.csv", "o.coco.json", "o.labelstudio.json", "yolo", "crops", "drawings"):
        piza.write(locate_many(fake, film.name, "one", every=6), name)
    keys, name = {"frame": 6, "timecode": "00:00:00.600"}, "film.mp4#t=00:00:00.600"
    read = {path.name: path.read_text() for path in film.parent.glob("o.*")}
    line = json.loads(read["o.jsonl"].splitlines()[1])
    assert line["image"] == name and keys.items() <= line.items()
    row = list(csv.DictReader(read["o.csv"].splitlines()))[1]
    assert row["image"] == name and row["timecode"] == keys["timecode"] and row["frame"] == "6"
    image = json.loads(read["o.coco.json"])["images"][1]
    assert image["file_name"] == "film.mp4/00-00-00.600.png" and keys.items() <= image.items()
    assert json.loads(read["o.labelstudio.json"])[1]["data"] == {"image": name, "text": "one", **keys}
    for folder, file in [("yolo/labels", "600.txt"), ("crops", "600-1.png"), ("drawings", "600-1.png")]:
        assert (film.parent / folder / "film.mp4" / f"00-00-00.{file}").exists()


def test_the_time_is_in_parquet(film, fake):
    parquet = pytest.importorskip("pyarrow.parquet")
    make_image(film.parent / "photo.png")
    piza.write(locate_many(fake, [film, "photo.png"], "one", every=6), "o.parquet")
    rows = parquet.read_table("o.parquet").to_pylist()
    assert [(row["frame"], row["timecode"]) for row in rows] == [
        (0, "00:00:00.000"), (6, "00:00:00.600"), (None, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "broken, words", [(cut_off, "it ends after 00:00:0"), (damage, "could not be decoded, the first after")]
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_of_a_broken_film_what_was_found_stays(name, broken, words, tmp_path):
    """One sentence says what is missing, at the end; the frames that are whole have answers."""
    whole = make_film(tmp_path / name, frames=60, rate=25, **(FASTSTART if name == "a.mp4" else {}))
    broken(whole)
    *answered, last = locate_many(FakeModel(), whole, "one")
    assert 20 <= len(answered) < 60 and not any(found.error for found in answered)
    assert words in last.error and last.name == str(whole) and "\n" not in last.error
    again = [found.name for found in locate_many(FakeModel(), whole, "one")]
    assert again == [found.name for found in [*answered, last]]
    with pytest.raises(InputError, match=re.escape(name)):
        list(locate_many(FakeModel(), whole, "one", on_error="raise"))


def test_the_command(film, fake, capsys):
    assert cli.main(["locate", "film.mp4", "one", "two", "--every", "5", "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [(a["frame"], a["timecode"], a["expression"]) for a in answers[:3]] == [
        (0, "00:00:00.000", "one"), (0, "00:00:00.000", "two"), (5, "00:00:00.500", "one")
    ]  # fmt: skip
    assert cli.main(["locate", "film.mp4", "one", "--every", "10", "--out", "d.png"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("film.mp4#t=00:00:00.000\none\n") and "drew d-2.png" in err
    cut_off(film)
    assert cli.main(["locate", "film.mp4", "one", "--out", "o.jsonl"]) == 0
    err = capsys.readouterr().err
    assert (
        "piza: 1 of " in err
        and "images failed, such as 'film.mp4' is damaged: " in err
        and err.count("\n") == 2
    )
    lines = [json.loads(line) for line in (film.parent / "o.jsonl").read_text().splitlines()]
    assert lines[0]["found"] and "it ends after" in lines[-1]["error"] and lines[-1]["frame"] is None


def test_progress_knows_how_many_frames_there_are(film, fake, capsys, monkeypatch):
    monkeypatch.setattr("piza.cli.progress.SECONDS_BETWEEN_LINES", 0)
    assert cli.main(["locate", "film.mp4", "one", "--every", "5", "--out", "o.csv"]) == 0
    assert "piza: 2 of 3 images, " in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["locate", "film.mp4", "one", "--every", "5", "--out", "o.csv"]) == 0
    assert "3/3" in capsys.readouterr().err


def sound(path):
    import av
    import numpy as np

    with av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "f4"), "fltp", "mono")
        frame.sample_rate = 8000
        film.mux(stream.encode(frame))
        film.mux(stream.encode())


NO_FILMS = {
    "no film": lambda path: path.write_bytes(b"no film" * 200),
    "nothing": lambda path: path.write_bytes(b""),
    "a list of other files": lambda path: path.write_text("#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n"),
    "sound": sound,
    "a folder": lambda path: path.mkdir() or make_image(path / "a.mp4" / "b.png"),
    "gone": lambda path: None,
}


@pytest.mark.parametrize("case", NO_FILMS)
def test_what_is_no_film_is_one_sentence(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(piza, "load", lambda name, device: pytest.fail("loaded a model"))
    NO_FILMS[case](tmp_path / "bad.mp4")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["locate", "bad.mp4", "one", "--out", "o.jsonl"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("piza: ") and "bad.mp4" in err and err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("every", [0, -1, "5", 2.5, True])
def test_every_is_a_number_of_frames(every, film):
    with pytest.raises(InputError, match="every: expected"):
        locate_many(FakeModel(), film, "one", every=every)


def test_every_without_a_film(tmp_path, fake, capsys):
    make_image(tmp_path / "a.png")
    assert cli.main(["locate", str(tmp_path / "a.png"), "one", "--every", "5"]) == 2
    assert "no film was given" in capsys.readouterr().err


def test_without_pyav(film, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'piza\[video\]'"):
        list(locate_many(FakeModel(), film, "one"))
