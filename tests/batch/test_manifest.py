"""Reading the rows of a batch."""

import csv
import json

import pytest

from piza.batch.manifest import read_manifest
from piza.errors import InputError

pyarrow = pytest.importorskip("pyarrow")

ROWS = [
    {"image": "b.png", "sentence": "the red car", "id": "1"},
    {"image": "a/ä.png", "sentence": 'a "quoted, sentence\nof two lines', "id": "x"},
    {"image": "b.png", "sentence": "the dog", "id": "3"},
]


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    elif path.suffix == ".csv":
        with open(path, "w", newline="", encoding="utf-8-sig") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_the_formats_say_the_same(tmp_path):
    found = [read_manifest(write(tmp_path / f"m{suffix}", ROWS)) for suffix in (".jsonl", ".csv", ".parquet")]
    assert len({manifest.digest for manifest in found}) == 1
    for manifest in found:
        assert (manifest.num_rows, manifest.num_images, manifest.has_text_ids) == (3, 2, True)
        first, second = manifest.task(0), manifest.task(1)
        assert (first.image, first.rows, first.ids) == ("b.png", (0, 2), ("1", "3"))
        assert first.sentences == ("the red car", "the dog")
        assert (second.image, second.rows, second.sentences) == ("a/ä.png", (1,), (ROWS[1]["sentence"],))


def test_another_row_is_another_manifest(tmp_path):
    one = read_manifest(write(tmp_path / "m.jsonl", ROWS))
    for changed in (ROWS[:2], [*ROWS[:2], {**ROWS[2], "id": "4"}], ROWS[::-1]):
        assert read_manifest(write(tmp_path / "m.jsonl", changed)).digest != one.digest


def test_ids_are_numbers_if_all_are(tmp_path):
    rows = [{**row, "id": number} for number, row in enumerate(ROWS)]
    manifest = read_manifest(write(tmp_path / "m.jsonl", [*rows, {"image": "c.png", "sentence": "a sign"}]))
    assert not manifest.has_text_ids and manifest.task(0).ids == (0, 2) and manifest.task(2).ids == (None,)
    manifest = read_manifest(write(tmp_path / "m.jsonl", [*rows, {**ROWS[0], "id": "last"}]))
    assert manifest.has_text_ids and manifest.task(0).ids == ("0", "2", "last")


def test_more_rows_than_are_held_as_objects(tmp_path, monkeypatch):
    monkeypatch.setattr("piza.batch.manifest.CHUNK_ROWS", 2)
    rows = [{"image": f"{n % 3}.png", "sentence": f"s{n}", "id": n if n < 4 else "x"} for n in range(5)]
    manifest = read_manifest(write(tmp_path / "m.jsonl", rows))
    tasks = [manifest.task(number) for number in range(manifest.num_images)]
    assert [task.rows for task in tasks] == [(0, 3), (1, 4), (2,)]
    assert [task.ids for task in tasks] == [("0", "3"), ("1", "x"), ("2",)]


GOOD = json.dumps(ROWS[0])


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("m.json", "[]", "ends in .jsonl, .csv or .parquet"),
        ("m.jsonl", "", "no rows"),
        ("m.jsonl", f"{GOOD}\n[1]\n", "row 2: expected an object"),
        ("m.jsonl", f"{GOOD}\n{{\n", "line 2: this is not JSON"),
        ("m.jsonl", '{"image": "a.png", "ref": "the car"}', "row 1: the column 'sentence' is missing.*it has image, ref"),
        ("m.csv", "image,text\na.png,the car\n", "row 1: the column 'sentence' is missing.*it has image, text"),
        ("m.csv", "image,sentence\na.png,the car,left\n", "row 1: expected 2 fields"),
        ("m.csv", 'image,sentence\na.png,"the car\n', "is not CSV"),
        ("m.csv", "image,sentence\n,the car\n", "row 1: 'image' must be a text"),
        ("m.jsonl", '{"image": "a.png", "sentence": " "}', "row 1: 'sentence' must be a text"),
        ("m.jsonl", '{"image": "a.png", "sentence": 5}', "'sentence' must be a text.*got 5"),
        ("m.jsonl", '{"image": "a.png", "sentence": "\\ud800"}', "'sentence' must be a text"),
        ("m.jsonl", '{"image": "a.png", "sentence": "a car", "id": true}', "'id' must be a whole number or a text"),
        ("m.jsonl", '{"image": "../a.png", "sentence": "a car"}', "row 1:.*leads out of the folder"),
        ("m.jsonl", '{"image": "/etc/passwd", "sentence": "a car"}', "row 1:.*leads out of the folder"),
        ("m.jsonl", f"{GOOD}\n{GOOD}\n", "the rows 1 and 2 have one id, '1'"),
        ("m.parquet", "no parquet", "cannot be read as Parquet"),
    ],
)  # fmt: skip
def test_what_is_no_manifest(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=says):
        read_manifest(tmp_path / name)


def test_a_manifest_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_manifest(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="cannot be reached"):
        read_manifest("nosuch://bucket/m.csv")


def test_parquet_without_a_column(tmp_path):
    with pytest.raises(InputError, match=r"'image' is missing.*it has file, sentence"):
        read_manifest(write(tmp_path / "m.parquet", [{"file": "a.png", "sentence": "the car"}]))
