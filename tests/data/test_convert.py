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
from piza.data.parquet_reader import extract_images, read_hf
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


def test_sizes_of_the_source_are_used_where_there_are_no_images(tmp_path, images):
    convert(save(tmp_path, ROWS), tmp_path / "coco.json", "sorec", "coco", images)
    convert(tmp_path / "coco.json", tmp_path / "odvg.jsonl", "coco", "odvg")
    assert exactly(read_odvg(tmp_path / "odvg.jsonl")[0]) == exactly(ROWS)


def test_embedded_images_are_the_files_byte_for_byte(tmp_path, images, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("piza.data.parquet.GROUP_BYTES", 2 * (images / "a.png").stat().st_size)
    rows = ROWS + [{**ROWS[0], "image": "sub/c.jpg", "id": 20 + n} for n in range(30)]
    options = ["--from", "sorec", "--to", "hf", "--images", str(images), "--embed", "--split", "val"]
    source, out = save(tmp_path, rows), tmp_path / "hf"
    assert cli.main(["data", "convert", str(source), "--out", str(out), *options]) == 0
    file = out / "data" / "val-00000-of-00001.parquet"
    table = parquet.read_table(file)
    assert parquet.ParquetFile(file).num_row_groups > 1
    for row, stored in zip(rows, table.column("image").to_pylist(), strict=True):
        assert stored == {"path": row["image"], "bytes": (images / row["image"]).read_bytes()}
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"} and set(features) == set(table.column_names)

    back = ["--from", "hf", "--to", "sorec", "--split", "val", "--out", str(tmp_path / "back.json")]
    assert cli.main(["data", "convert", str(out), *back, "--extract", str(tmp_path / "out")]) == 0
    assert exactly(read_values(tmp_path / "back.json")) == exactly(rows)
    for name in ("a.png", "b.png", "sub/c.jpg"):
        assert (tmp_path / "out" / name).read_bytes() == (images / name).read_bytes()


def test_an_image_of_many_rows_is_stored_once(tmp_path, images):
    pytest.importorskip("pyarrow")
    once = convert(save(tmp_path, ROWS[:1]), tmp_path / "1", "sorec", "hf", images, embed=True)
    rows = [{**ROWS[0], "id": n} for n in range(100)]
    often = convert(save(tmp_path, rows), tmp_path / "2", "sorec", "hf", images, embed=True)
    assert often.path.stat().st_size < once.path.stat().st_size + 4000


def test_images_by_reference_are_a_column_of_paths(tmp_path, images):
    parquet = pytest.importorskip("pyarrow.parquet")
    convert(save(tmp_path, ROWS[:1]), tmp_path / "hf", "sorec", "hf")
    table = parquet.read_table(tmp_path / "hf" / "data" / "train-00000-of-00001.parquet")
    assert table.column_names == ["image_path", "bbox", "ref", "id"]
    assert table.to_pylist() == [
        {"image_path": "a.png", "bbox": [10, 20, 5, 6], "ref": "The red car.", "id": 7}
    ]
    parquet.write_table(table.rename_columns(["image", "bbox", "ref", "number"]), tmp_path / "other.parquet")
    assert read_hf(tmp_path / "other.parquet") == [{**ROWS[0], "id": 1}]


def test_missing_images_are_left_out_if_asked(tmp_path, images, capsys):
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
def test_a_size_that_is_not_known_names_its_image(tmp_path, name):
    with pytest.raises(InputError, match=r"needs the size of the image 'a.png'.*--images"):
        convert(save(tmp_path, ROWS), tmp_path / "out", "sorec", name)
    assert not (tmp_path / "out").exists()


BAD = {
    "coco": [
        ("[]", "must hold a COCO object"),
        ("{", "not valid JSON"),
        ('{"images": []}', "no list 'annotations'"),
        ('{"images": [3], "annotations": []}', "images, entry 1"),
        ('{"images": [{"id": 1}], "annotations": []}', "image 1: expected an 'id'"),
        ('{"images": [], "annotations": [{"image_id": [1], "caption": "a"}]}', "annotation 1: there is no image"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1}]}', "annotation 1: it has no sentence, the field 'caption' is missing"),
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
        ('{"filename": "a", "grounding": {"regions": [{"bbox": [[1]]}]}}', "line 1: 'bbox' must be [left"),
        ('{"filename": "a", "grounding": {"regions": [{"bbox": [1, 2, 3], "phrase": "b"}]}}', "line 1: 'bbox' must be [left"),
        ('{"filename": "a", "grounding": {"regions": [{"bbox": [[1, 2, 3, 4], 2]}]}}', "line 1: 'bbox' must be"),
        ('{"filename": "a", "grounding": {"regions": [{"bbox": [5, 5, 1, 9], "phrase": "b"}]}}', "right > left"),
        ('{"filename": "a", "grounding": {"regions": [{"bbox": [1, 2, 3, 4]}]}}', "line 1, region 1: 'phrase'"),
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


TWO_IMAGES = {
    "coco": {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "caption": "the car"}],
    },
    "refcoco": {
        "images": [{"id": 1, "file_name": "a.jpg", "caption": "a"}, {"id": True, "file_name": "b.jpg", "caption": "b"}],
        "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4]}],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TWO_IMAGES)
def test_two_images_of_one_id_never_become_one(tmp_path, name):
    source = save(tmp_path, TWO_IMAGES[name])
    with pytest.raises(InputError, match=r"image 2: the 'id' (1|true) of \"b.jpg\" is that of \"a.jpg\" too"):
        convert(source, tmp_path / "out.json", name, "sorec")
    assert not (tmp_path / "out.json").exists()


def odvg_line(width, **changes):
    regions = [{"bbox": [1, 2, 4, 6], "phrase": "the car"}]
    return {"filename": "a.png", "height": 8, "width": width, "grounding": {"regions": regions}, **changes}


def test_two_images_of_one_name_never_become_one(tmp_path):
    coco = {
        "images": [{"id": n, "file_name": "a.jpg", "width": n, "height": 9} for n in (1, 2)],
        "annotations": [],
    }
    with pytest.raises(InputError, match=r"image 2: .*two images of one name"):
        read_coco(save(tmp_path, coco))
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(odvg_line(width)) for width in (9, 9, 7)))
    with pytest.raises(InputError, match=r"line 3: .*two images of one name"):
        read_odvg(tmp_path / "in.jsonl")


def embedded(folder, *images, name="in.parquet"):
    """A file of `datasets` with these images, (path, bytes) each."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    images = [{"path": path, "bytes": data} for path, data in images]
    columns = {"image": images, "bbox": [[1, 2, 3, 4]] * len(images), "ref": ["the car"] * len(images)}
    parquet.write_table(pyarrow.table(columns), folder / name)
    return folder / name


@pytest.mark.parametrize("other", ["a.jpg", "./a.jpg"])
def test_embedded_images_of_one_name_never_become_one(tmp_path, other):
    same = embedded(tmp_path, ("a.jpg", b"one"), (other, b"one"), name="same.parquet")
    assert len(read_hf(same)) == 2 and extract_images(same, tmp_path / "same") == 1
    file = embedded(tmp_path, ("a.jpg", b"one"), ("b.jpg", b"two"), (other, b"two"))
    for read in (read_hf, lambda path: extract_images(path, tmp_path / "out")):
        with pytest.raises(InputError, match="two different images are embedded under one name"):
            read(file)


def test_embedded_images_without_a_name_get_one(tmp_path):
    file = embedded(tmp_path, (None, b"\xff\xd8one"), (None, b"\x89PNGtwo"), (None, b"\xff\xd8one"))
    names = [row["image"] for row in read_hf(file)]
    assert names[0] == names[2] != names[1] and names[0].endswith(".jpg") and names[1].endswith(".png")
    assert extract_images(file, tmp_path / "out") == 2
    assert (tmp_path / "out" / names[0]).read_bytes() == b"\xff\xd8one"


def test_several_sentences_a_box(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {"image": ["a.jpg"], "bbox": [[1, 2, 3, 4]], "ref": [["the car", "a car"]]}
    parquet.write_table(pyarrow.table(table), tmp_path / "in.parquet")
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": "640", "height": 480.0}],
        "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "caption": ["the car", "a car"]}],
    }
    rows, sizes = read_coco(save(tmp_path, coco))
    assert sizes == {"a.jpg": (640, 480)}
    assert rows == read_hf(tmp_path / "in.parquet")
    assert [(row["ref"], row["id"]) for row in rows] == [("the car", "1-1"), ("a car", "1-2")]


def test_absolute_names_become_relative_to_the_folder(tmp_path, images):
    rows = [{**ROWS[0], "image": str(images / "sub" / "c.jpg")}, {**ROWS[0], "image": "b.png"}]
    convert(save(tmp_path, rows), tmp_path / "out.json", "sorec", "sorec", images)
    assert [row["image"] for row in read_values(tmp_path / "out.json")] == ["sub/c.jpg", "b.png"]
    with pytest.raises(InputError, match="expected a name relative"):
        convert(
            save(tmp_path, [{**ROWS[0], "image": "/etc/c.jpg"}]), tmp_path / "no", "sorec", "coco", images
        )


HOSTILE = {
    "no numbers": ({"bbox": ["1,2,3,4"]}, "the column 'bbox' must hold lists of four numbers, but it is string"),
    "dates": ({"id": [2**40]}, "the column 'id' must hold whole numbers or texts, but it is timestamp"),
    "no texts": ({"ref": [7]}, "the column 'ref' must hold texts, but it is int64"),
    "no image": ({"image": [{"url": "x"}]}, "the column 'image' has neither 'bytes' nor 'path'"),
    "a zero byte": ({"image": [{"path": "a\0.jpg", "bytes": b"x"}]}, "holds a zero byte"),
    "extra": ({"extra": ["[1]"]}, "row 1: the column 'extra' must hold JSON objects"),
    "a long box": ({"bbox": [[1.0] * 5]}, "row 1: 'bbox' must be"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_columns_are_one_sentence(tmp_path, capsys, case):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    changes, says = HOSTILE[case]
    columns = {
        "image": [{"path": "a.jpg", "bytes": b"x"}],
        "bbox": [[1, 2, 3, 4]],
        "ref": ["the car"],
        "id": [1],
    }
    columns |= changes
    if case == "dates":
        columns["id"] = pyarrow.array(columns["id"], pyarrow.timestamp("s"))
    parquet.write_table(pyarrow.table(columns), tmp_path / "in.parquet")
    command = ["data", "convert", str(tmp_path / "in.parquet"), "--from", "hf", "--to", "sorec"]
    assert cli.main([*command, "--out", str(tmp_path / "out"), "--extract", str(tmp_path / "images")]) == 2
    _, err = capsys.readouterr()
    assert says in err and len(err.splitlines()) == 1


def test_a_small_file_that_expands_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    count = 600
    text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * count, pyarrow.int32()), ["x" * 10**6])
    plain = {"image": ["a.jpg"] * count, "bbox": [[1, 2, 3, 4]] * count, "ref": ["the car"] * count}
    long_list = [[1] * 20_000_000, *plain["bbox"][1:]]
    for name, changes in (("texts", {"ref": text}), ("lists", {"bbox": long_list})):
        file = tmp_path / f"{name}.parquet"
        parquet.write_table(pyarrow.table({**plain, **changes}), file, compression="zstd")
        assert file.stat().st_size < 100_000
        with pytest.raises(InputError, match="expands to over 512 MB"):
            read_hf(file)


def test_the_command_knows_all_formats():
    assert cli_data.FORMATS == NAMES  # written twice, so that --help imports nothing


@pytest.mark.parametrize("name", NAMES)
def test_no_such_file(tmp_path, name):
    if name == "hf":
        pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="does not exist"):
        convert(tmp_path / "gone", tmp_path / "out", name, "sorec")


def test_embedding_needs_images_and_hf(tmp_path, images):
    for to, folder, says in [
        ("coco", images, "in hf only"),
        ("hf", None, "the folder of images is needed"),
    ]:
        with pytest.raises(InputError, match=says):
            convert(save(tmp_path, ROWS), tmp_path / "out", "sorec", to, folder, embed=True)


def test_images_are_not_extracted_out_of_the_folder_or_onto_others(tmp_path, images):
    parquet = pytest.importorskip("pyarrow.parquet")
    source = save(tmp_path, ROWS[:1])
    with pytest.raises(InputError, match="holds no images"):
        extract_images(convert(source, tmp_path / "names", "sorec", "hf").path, tmp_path / "out")
    file = convert(source, tmp_path / "hf", "sorec", "hf", images, embed=True).path
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="another image"):
        extract_images(file, tmp_path / "out")
    assert (tmp_path / "out" / "a.png").read_bytes() == b"mine"
    table = parquet.read_table(file)
    rows = [{**row, "image": {**row["image"], "path": "../evil.png"}} for row in table.to_pylist()]
    parquet.write_table(table.from_pylist(rows, table.schema), file)
    with pytest.raises(InputError, match="leads out"):
        extract_images(file, tmp_path / "out")
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


def test_boxes_that_leave_their_images_are_written_but_not_without_a_word(tmp_path, capsys):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    row = {"image": "a.png", "bbox": [40, 30, 60, 40], "ref": "the car.", "id": 1}
    (tmp_path / "corners.json").write_text(json.dumps([row]))
    command = [
        "data",
        "convert",
        str(tmp_path / "corners.json"),
        "--from",
        "sorec",
        "--out",
        str(tmp_path / "c.json"),
    ]
    assert cli.main([*command, "--to", "coco", "--images", str(tmp_path)]) == 0
    assert "look like corners" in (said := capsys.readouterr().err) and "--box-format xyxy" in said
    back = [
        "data",
        "convert",
        str(tmp_path / "c.json"),
        "--from",
        "coco",
        "--to",
        "sorec",
        "--out",
        str(tmp_path / "r.json"),
    ]
    assert cli.main(back) == 0
    assert "1 leave their image" in (said := capsys.readouterr().err) and "--box-format" not in said
    assert json.loads((tmp_path / "r.json").read_text())[0]["bbox"] == row["bbox"]
