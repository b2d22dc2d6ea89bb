"""`piza data check`: every fault is found once, with row and field; the exit code says whether the file is sound."""

import json

import pytest
from PIL import Image
from tests.conftest import SHARED

from piza.cli import main as cli
from piza.data.check import check
from piza.image import image_size, open_image

GOOD = {"image": "1.png", "bbox": [10, 20, 30, 40], "ref": "The red car.", "id": 1}


def save(folder, rows):
    path = folder / "rows.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows), encoding="utf-8")
    return str(path)


def without(field):
    return {key: value for key, value in GOOD.items() if key != field}


def findings(report):
    return [(f.row, f.fault.field, f.fault.kind) for f in report.findings]


def test_a_sound_file(tmp_path, capsys):
    Image.new("RGB", (50, 60)).save(tmp_path / "1.png")
    assert cli.main(["data", "check", save(tmp_path, [GOOD]), "--images", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "rows      1\n" in out and "errors    0\n" in out and "warnings  0" in out and err == ""
    assert cli.main(["data", "check", save(tmp_path, [{**GOOD, "category": "car"}])]) == 0


@pytest.mark.parametrize(
    ("row", "field", "kind"),
    [
        (7, "row", "no object"),
        (without("image"), "image", "missing field"),
        (without("bbox"), "bbox", "missing field"),
        (without("ref"), "ref", "missing field"),
        (without("id"), "id", "missing field"),
        ({**GOOD, "scene": 4}, "scene", "extra field"),
        ({**without("id"), "scene": 4}, "scene", "extra field"),
        ({**GOOD, "category": 4}, "category", "wrong value"),
        ({**GOOD, "category": " "}, "category", "wrong value"),
        ({**GOOD, "image": 17}, "image", "wrong value"),
        ({**GOOD, "ref": " "}, "ref", "wrong value"),
        ({**GOOD, "ref": "half a \ud83d."}, "ref", "wrong value"),
        ({**GOOD, "id": True}, "id", "wrong value"),
        ({**GOOD, "bbox": "1 2 3 4"}, "bbox", "wrong value"),
        ({**GOOD, "bbox": [1, 2, 3]}, "bbox", "wrong value"),
        ({**GOOD, "bbox": [1, 2, 3, None]}, "bbox", "wrong value"),
        ({**GOOD, "bbox": [1, 2, 3, float("nan")]}, "bbox", "wrong value"),
        ({**GOOD, "bbox": [-1, 2, 3, 4]}, "bbox", "impossible box"),
        ({**GOOD, "bbox": [1, 2, -3, 4]}, "bbox", "impossible box"),
        ({**GOOD, "bbox": [1, 2, 3, 0]}, "bbox", "impossible box"),
        ({**GOOD, "bbox": [1, 2, 3, 4.5]}, "bbox", "float box"),
    ],
)
def test_a_malformed_row_is_an_error(tmp_path, capsys, row, field, kind):
    path = save(tmp_path, [{**GOOD, "id": 5}, row])
    assert (2, field, kind) in findings(check(path))
    assert cli.main(["data", "check", path]) == 1
    out = capsys.readouterr().out
    assert path in out and f"row 2, {field}: " in out


def test_all_faults_of_a_row_are_named(tmp_path):
    report = check(save(tmp_path, [{"bbox": [1, 2, 0, 4], "ref": 3, "id": [], "image": ""}]))
    assert {field for _, field, _ in findings(report)} == {"bbox", "ref", "id", "image"}


@pytest.mark.parametrize(
    ("sentence", "kinds"),
    [
        ("The red car", ["no final dot"]),
        ("The sign that reads 4.5m.", ["inner dot or question mark"]),
        ("Where is the car?.", ["inner dot or question mark"]),
        ('The sign that reads "Exit."', ["no final dot", "inner dot or question mark"]),
        (" The red car.\n", []),
    ],
)
def test_sentences_a_grounding_model_would_cut_are_warnings(tmp_path, sentence, kinds):
    path = save(tmp_path, [{**GOOD, "ref": sentence}])
    report = check(path)
    assert [kind for _, _, kind in findings(report)] == kinds and report.errors == 0
    assert cli.main(["data", "check", path]) == 0


def test_duplicates(tmp_path):
    rows = [GOOD, {**GOOD, "id": 2}, {**GOOD, "bbox": [1, 1, 9, 9], "id": 3}, {**GOOD, "image": "2.png"}]
    report = check(save(tmp_path, rows))
    assert findings(report) == [
        (2, "row", "duplicate row"),
        (3, "ref", "one sentence, two boxes"),
        (4, "id", "duplicate id"),
    ]
    assert "row 1" in report.findings[0].fault.message and report.errors == 2


def test_one_image_in_two_spellings(tmp_path):
    names = [
        "a.png",
        "./a.png",
        "sub\\b.png",
        "sub/b.png",
        "caf\u00e9.png",
        "cafe\u0301.png",
        "a.png",
        "./a.png",
    ]
    rows = [{**GOOD, "image": name, "ref": f"Car {n}.", "id": n} for n, name in enumerate(names)]
    report = check(save(tmp_path, rows))
    assert findings(report) == [(row, "image", "two spellings") for row in (2, 4, 6)]
    assert report.errors == 3 and "row 1" in report.findings[0].fault.message


def test_images_are_measured_by_their_heads(tmp_path, capsys):
    Image.new("RGB", (50, 60)).save(tmp_path / "1.png")
    Image.new("RGB", (900, 900)).save(tmp_path / "cut.jpg", quality=100)
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) * 2 // 3])  # no pixel is read, so this is no fault
    (tmp_path / "text.jpg").write_text("no image")
    names = ["1.png", "1.png", "cut.jpg", "text.jpg", "gone.jpg", "gone.jpg", "../x.jpg"]
    rows = [{**GOOD, "image": name, "ref": f"Car {n}.", "id": n} for n, name in enumerate(names)]
    rows[1]["bbox"] = [21, 20, 30, 40]
    path = save(tmp_path, rows)
    assert cli.main(["data", "check", path, "--images", str(tmp_path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [(f["row"], f["kind"]) for f in report["findings"]] == [
        (2, "box outside its image"),
        (4, "no image"),
        (5, "no image"),
        (7, "no image"),
    ]
    assert "51, 60, but the image is 50 x 60" in report["findings"][0]["message"]
    assert "(2 rows)" in report["findings"][2]["message"]
    assert (report["errors"], report["counts"]["no image"], report["images_checked"]) == (4, 3, True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_the_size_is_that_of_the_upright_image(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    assert image_size(path) == open_image(path).shape[1::-1]


@pytest.mark.parametrize(
    ("content", "says"),
    [('{"rows": []}', "must hold a JSON list"), ("[{", "not valid JSON"), ("", "not valid JSON")],
)
def test_unusable_input(tmp_path, capsys, content, says):
    assert cli.main(["data", "check", save(tmp_path, content)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err and len(err.splitlines()) == 1


def test_no_such_file_or_folder(tmp_path, capsys):
    assert cli.main(["data", "check", str(tmp_path / "gone.json")]) == 2
    assert cli.main(["data", "check", save(tmp_path, [GOOD]), "--images", str(tmp_path / "gone")]) == 2
    assert capsys.readouterr().err.count("does not exist") == 2


def test_the_published_rows(capsys):
    """10,000 and 10,712 rows without an error; some sentences end in a quotation mark."""
    folder = SHARED / "data" / "sorec"
    if not folder.exists():
        pytest.skip("the rows of SOREC are not beside the project")
    for name, rows, warnings in (("trainS", 10_000, 174), ("val", 10_712, 161)):
        report = check(folder / f"{name}.json")
        assert (report.rows, report.errors, report.warnings) == (rows, 0, warnings)
