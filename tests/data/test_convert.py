"""There and back through every format: ids, order, sentences, boxes and further fields are as they were."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.conftest import SHARED

from piza.cli import data as cli_data
from piza.cli import main as cli
from piza.data.convert import NAMES, convert
from piza.data.formats import read_coco, read_odvg, read_refcoco
from piza.data.parquet import read_hf
from piza.data.sorec import read_values
from piza.errors import InputError

FORMATS = [name for name in NAMES if name != "sorec"]
ROWS = [
    {"image": "a.png", "bbox": [10, 20, 5, 6], "ref": "The red car.", "id": 7},
    {"image": "b.png", "bbox": [0.1, 0.2, 0.7, 0.3], "ref": "The sign that reads \"4.5m\", não à é 漢字 😀.", "id": 3},
    {"image": "a.png", "bbox": [10, 20.0, 5, 6], "ref": "The blue car.\u2028Left", "id": 9, "scene": {"n": [1, None]}},
]  # fmt: skip


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (90, 70)), ("b.png", (60, 80)), ("sub/c.jpg", (64, 48))):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(folder / name)
    return folder


def save(folder, rows, name="rows.json"):
    path = folder / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def exactly(rows):
    """Tells 1 from 1.0, and keeps the order of rows but not of fields."""
    return json.dumps(rows, sort_keys=True)


def there_and_back(folder, rows, name, images, **options):
    if name == "hf":
        pytest.importorskip("pyarrow")
    source, there, back = save(folder, rows), folder / f"there-{name}", folder / "back.json"
    convert(source, there, "sorec", name, images, **options)
    convert(there, back, name, "sorec")
    return read_values(back)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost(tmp_path, images, name):
    assert exactly(there_and_back(tmp_path, ROWS, name, images)) == exactly(ROWS)


IDS = {
    "texts": ["b", "a", "7"],
    "texts and numbers": ["7", 7, 8],
    "the same twice": [1, 1, 2],
    "none": [None, None, None],
    "one missing": [3, None, 1],
    "zero and below": [0, -5, 2**70],
}


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("name", FORMATS)
def test_ids_of_all_kinds(tmp_path, images, name, ids):
    rows = [{key: value for key, value in {**row, "id": i}.items() if value is not None} for row, i in zip(ROWS, IDS[ids])]  # fmt: skip
    assert exactly(there_and_back(tmp_path, rows, name, images)) == exactly(rows)


sides = st.floats(0.001, 1e6) | st.integers(1, 10**6)
places = st.floats(0, 1e6) | st.integers(0, 10**6)
some_rows = st.fixed_dictionaries(
    {
        "image": st.sampled_from(["a.png", "b.png", "sub/c.jpg"]),
        "bbox": st.tuples(places, places, sides, sides).map(list),
        "ref": st.text(min_size=1).filter(str.strip),
        "id": st.integers() | st.text(),
    },
    optional={"extra": st.none() | st.text(), "caption": st.integers(), "row": st.booleans()},
)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25)
@given(rows=st.lists(some_rows, max_size=4))
def test_whatever_rows_hold(tmp_path_factory, images, name, rows):
    folder = tmp_path_factory.mktemp("hypothesis")
    assert exactly(there_and_back(folder, rows, name, images)) == exactly(rows)


@pytest.mark.parametrize("name", FORMATS)
def test_the_real_rows(tmp_path, name):
    source = SHARED / "data" / "signs" / "train.json"
    if not source.exists():
        pytest.skip("the photos of signs are not beside the project")
    rows = json.loads(source.read_text())[:400]
    assert there_and_back(tmp_path, rows, name, source.parent / "images") == rows


def test_coco_is_what_its_readers_expect(tmp_path, images):
    out = tmp_path / "coco.json"
    convert(save(tmp_path, ROWS), out, "sorec", "coco", images)
    content = json.loads(out.read_text())
    assert content["images"] == [
        {"id": 1, "file_name": "a.png", "width": 90, "height": 70},
        {"id": 2, "file_name": "b.png", "width": 60, "height": 80},
    ]
    assert content["annotations"][0] == {
        "id": 7, "image_id": 1, "category_id": 1, "bbox": [10, 20, 5, 6], "area": 30, "iscrowd": 0,
        "caption": "The red car.",
    }  # fmt: skip
    assert [a["image_id"] for a in content["annotations"]] == [1, 2, 1]
    assert content["categories"][0]["id"] == 1


def test_refcoco_has_an_image_a_sentence(tmp_path, images):
    out = tmp_path / "refcoco.json"
    convert(save(tmp_path, ROWS), out, "sorec", "refcoco", images)
    content = json.loads(out.read_text())
    assert [image["caption"] for image in content["images"]] == [row["ref"] for row in ROWS]
    assert [image["original_id"] for image in content["images"]] == [1, 2, 1]
    assert {"dataset_name", "width", "height"} <= set(content["images"][0])
    for image, annotation in zip(content["images"], content["annotations"]):
        assert annotation["image_id"] == image["id"]
        assert annotation["tokens_positive"][0][0] == 0
    start, end = content["annotations"][0]["tokens_positive"][0]
    assert content["images"][0]["caption"][start:end] == "The red car"


def test_odvg_has_corners_and_a_phrase(tmp_path, images):
    out = tmp_path / "odvg.jsonl"
    convert(save(tmp_path, ROWS), out, "sorec", "odvg", images)
    first = json.loads(out.read_text(encoding="utf-8").split("\n")[0])
    assert (first["filename"], first["height"], first["width"]) == ("a.png", 70, 90)
    region = first["grounding"]["regions"][0]
    assert first["grounding"]["caption"] == region["phrase"] == "The red car."
    assert region["bbox"] == [10, 20, 15, 26] and region["tokens_positive"] == [[0, 11]]


def test_files_of_others_are_read(tmp_path):
    coco = {
        "images": [{"id": "x", "file_name": "a.png"}],
        "annotations": [{"image_id": "x", "bbox": [1, 2, 3, 4], "ref": "the car", "segmentation": []}],
    }
    expected = [{"image": "a.png", "bbox": [1, 2, 3, 4], "ref": "the car", "id": 1}]
    assert read_coco(save(tmp_path, coco)) == (expected, {})
    mdetr = {
        "images": [{"id": 4, "file_name": "a.png", "width": 9, "height": 8, "caption": "the car"}],
        "annotations": [{"id": 5, "image_id": 4, "bbox": [1, 2, 3, 4]}],
    }
    assert read_refcoco(save(tmp_path, mdetr)) == ([{**expected[0], "id": 5}], {"a.png": (9, 8)})
    regions = [
        {"bbox": [1, 2, 4, 6], "phrase": "the car"},
        {"bbox": [[1, 2, 4, 6], [0, 0, 1, 1]], "phrase": "a"},
    ]
    odvg = {
        "filename": "a.png",
        "height": 8,
        "width": 9,
        "grounding": {"caption": "the car, a", "regions": regions},
    }
    rows, sizes = read_odvg(save(tmp_path, odvg))
    assert rows[0] == expected[0] and [row["id"] for row in rows] == [1, 2, 3]
    assert rows[2]["bbox"] == [0, 0, 1, 1] and sizes == {"a.png": (9, 8)}


def test_sizes_of_the_source_are_used_where_there_are_no_pictures(tmp_path, images):
    convert(save(tmp_path, ROWS), tmp_path / "coco.json", "sorec", "coco", images)
    convert(tmp_path / "coco.json", tmp_path / "odvg.jsonl", "coco", "odvg")
    assert exactly(read_odvg(tmp_path / "odvg.jsonl")[0]) == exactly(ROWS)


def test_embedded_pictures_are_the_files_byte_for_byte(tmp_path, images, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("piza.data.parquet.GROUP_BYTES", 2 * (images / "a.png").stat().st_size)
    rows = ROWS + [{**ROWS[0], "image": "sub/c.jpg", "id": 20 + n} for n in range(30)]
    options = ["--from", "sorec", "--to", "hf", "--images", str(images), "--embed", "--split", "val"]
    source, out = save(tmp_path, rows), tmp_path / "hf"
    assert cli.main(["data", "convert", str(source), "--out", str(out), *options]) == 0
    file = out / "data" / "val-00000-of-00001.parquet"
    table = parquet.read_table(file)
    assert parquet.ParquetFile(file).num_row_groups > 1
    for row, picture in zip(rows, table.column("image").to_pylist(), strict=True):
        assert picture == {"path": row["image"], "bytes": (images / row["image"]).read_bytes()}
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"} and set(features) == set(table.column_names)

    back = ["--from", "hf", "--to", "sorec", "--split", "val", "--out", str(tmp_path / "back.json")]
    assert cli.main(["data", "convert", str(out), *back, "--extract", str(tmp_path / "out")]) == 0
    assert exactly(read_values(tmp_path / "back.json")) == exactly(rows)
    for name in ("a.png", "b.png", "sub/c.jpg"):
        assert (tmp_path / "out" / name).read_bytes() == (images / name).read_bytes()


def test_a_picture_of_many_rows_is_stored_once(tmp_path, images):
    pytest.importorskip("pyarrow")
    once = convert(save(tmp_path, ROWS[:1]), tmp_path / "1", "sorec", "hf", images, embed=True)
    rows = [{**ROWS[0], "id": n} for n in range(100)]
    often = convert(save(tmp_path, rows), tmp_path / "2", "sorec", "hf", images, embed=True)
    assert often.path.stat().st_size < once.path.stat().st_size + 4000


def test_pictures_by_reference_are_a_column_of_paths(tmp_path, images):
    parquet = pytest.importorskip("pyarrow.parquet")
    convert(save(tmp_path, ROWS[:1]), tmp_path / "hf", "sorec", "hf")
    table = parquet.read_table(tmp_path / "hf" / "data" / "train-00000-of-00001.parquet")
    assert table.column_names == ["image_path", "bbox", "ref", "id"]
    assert table.to_pylist() == [
        {"image_path": "a.png", "bbox": [10, 20, 5, 6], "ref": "The red car.", "id": 7}
    ]
    parquet.write_table(table.rename_columns(["image", "bbox", "ref", "number"]), tmp_path / "other.parquet")
    assert read_hf(tmp_path / "other.parquet") == [{**ROWS[0], "id": 1}]


def test_missing_pictures_are_left_out_if_asked(tmp_path, images, capsys):
    source = save(tmp_path, [*ROWS, {**ROWS[0], "image": "gone.png", "id": 50}])
    command = ["data", "convert", str(source), "--from", "sorec", "--to", "coco", "--images", str(images)]
    command += ["--out", str(tmp_path / "coco.json")]
    assert cli.main(command) == 2
    out, err = capsys.readouterr()
    assert out == "" and "'gone.png'" in err and not (tmp_path / "coco.json").exists()
    assert cli.main([*command, "--missing", "skip"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 rows in ") and "left out 1 rows" in err
    assert exactly(read_coco(tmp_path / "coco.json")[0]) == exactly(ROWS)


@pytest.mark.parametrize("name", ["coco", "refcoco", "odvg"])
def test_a_size_that_is_not_known_names_its_picture(tmp_path, name):
    with pytest.raises(InputError, match=r"needs the size of the picture 'a.png'.*--images"):
        convert(save(tmp_path, ROWS), tmp_path / "out", "sorec", name)
    assert not (tmp_path / "out").exists()


BAD = {
    "coco": [
        ("[]", "must hold a COCO object"),
        ("{", "not valid JSON"),
        ('{"images": []}', "no list 'annotations'"),
        ('{"images": [3], "annotations": []}', "images, entry 1"),
        ('{"images": [{"id": 1}], "annotations": []}', "image 1: the fields 'id' and 'file_name'"),
        ('{"images": [], "annotations": [{"image_id": [1], "caption": "a"}]}', "annotation 1: there is no image"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1}]}', "annotation 1: the field 'caption'"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "ref": "b"}]}', "annotation 1: 'bbox' must be"),
    ],
    "refcoco": [
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1}]}', "image \"a\" has no 'caption'"),
    ],
    "odvg": [
        ("{", "line 1: this is no JSON"),
        ("\n7", "line 2: a line must be an object"),
        ('{"filename": "a", "detection": {}}', "'grounding' with a list of 'regions' is missing"),
        ('{"filename": "a", "grounding": {"regions": [{"bbox": 3}]}}', "line 1: a region must be"),
        ('{"filename": "a", "grounding": {"regions": [{"bbox": [[1]]}]}}', "line 1, region 1: 'ref'"),
        ('{"filename": "a", "grounding": {"regions": [{"bbox": [1, 2, 3], "phrase": "b"}]}}', "line 1, region 1: 'bbox'"),
        ('{"filename": "a", "grounding": {"regions": [{"bbox": [[1, 2, 3, 4], 2]}]}}', "line 1: 'bbox' must be"),
        ('{"filename": "a", "grounding": {"regions": [{"bbox": [5, 5, 1, 9], "phrase": "b"}]}}', "sides over 0"),
        ('{"filename": "a", "grounding": {"regions": [{"bbox": [1, 2, 3, 4]}]}}', "line 1, region 1: 'ref'"),
    ],
    "hf": [("PAR1 but not really", "cannot be read as Parquet")],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "says"), [(n, *case) for n, cases in BAD.items() for case in cases])
def test_what_is_not_in_its_format_is_refused(tmp_path, capsys, name, text, says):
    if name == "hf":
        pytest.importorskip("pyarrow")
    (tmp_path / "in").write_text(text)
    command = ["data", "convert", str(tmp_path / "in"), "--from", name, "--to", "sorec"]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_command_knows_all_formats():
    assert cli_data.FORMATS == NAMES  # written twice, so that --help imports nothing


@pytest.mark.parametrize("name", NAMES)
def test_no_such_file(tmp_path, name):
    if name == "hf":
        pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="does not exist"):
        convert(tmp_path / "gone", tmp_path / "out", name, "sorec")


def test_embedding_needs_pictures_and_hf(tmp_path, images):
    for to, folder, says in [
        ("coco", images, "in hf only"),
        ("hf", None, "the folder of pictures is needed"),
    ]:
        with pytest.raises(InputError, match=says):
            convert(save(tmp_path, ROWS), tmp_path / "out", "sorec", to, folder, embed=True)


def test_pictures_are_not_extracted_out_of_the_folder_or_onto_others(tmp_path, images):
    parquet = pytest.importorskip("pyarrow.parquet")
    from piza.data.parquet import extract_pictures

    source = save(tmp_path, ROWS[:1])
    with pytest.raises(InputError, match="holds no pictures"):
        extract_pictures(convert(source, tmp_path / "names", "sorec", "hf").path, tmp_path / "out")
    file = convert(source, tmp_path / "hf", "sorec", "hf", images, embed=True).path
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="another picture"):
        extract_pictures(file, tmp_path / "out")
    assert (tmp_path / "out" / "a.png").read_bytes() == b"mine"
    table = parquet.read_table(file)
    rows = [{**row, "image": {**row["image"], "path": "../evil.png"}} for row in table.to_pylist()]
    parquet.write_table(table.from_pylist(rows, table.schema), file)
    with pytest.raises(InputError, match="leads out"):
        extract_pictures(file, tmp_path / "out")
    assert not (tmp_path / "evil.png").exists()


def test_a_split_that_is_not_there(tmp_path):
    pytest.importorskip("pyarrow")
    convert(save(tmp_path, ROWS), tmp_path / "hf", "sorec", "hf", split="val")
    with pytest.raises(InputError, match="no split 'train': there is val"):
        read_hf(tmp_path / "hf")


def test_without_pyarrow_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'piza\[data\]'"):
        convert(save(tmp_path, ROWS), tmp_path / "hf", "sorec", "hf")
    assert not (tmp_path / "hf").exists()
