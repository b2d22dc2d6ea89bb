import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piza.data import sorec
from piza.data.sorec import find_image, read_rows
from piza.errors import InputError

GOOD = {"image": "1.jpg", "bbox": [10, 20.5, 30, 40], "ref": "the red car", "id": 7}


def write(tmp_path, content):
    path = tmp_path / "rows.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_row_is_read(tmp_path):
    rows = read_rows(write(tmp_path, [GOOD, {**GOOD, "scene": 3, "tags": ["a"]}]))
    assert rows[0].image == "1.jpg" and rows[0].expression == "the red car" and rows[0].id == 7
    assert rows[0].box_xyxy == (10, 20.5, 40, 60.5)
    assert rows[0].extra == {} and rows[1].extra == {"scene": 3, "tags": ["a"]}


def test_a_row_without_an_id_gets_its_number(tmp_path):
    nameless = {key: value for key, value in GOOD.items() if key != "id"}
    assert [row.id for row in read_rows(write(tmp_path, [GOOD, nameless]))] == [7, 2]


def test_an_empty_list_and_a_byte_order_mark(tmp_path):
    assert read_rows(write(tmp_path, [])) == []
    assert len(read_rows(write(tmp_path, "\ufeff" + json.dumps([GOOD])))) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bbox": [1, 2, 3]}, "'bbox' must be"),
        ({"bbox": "1 2 3 4"}, "'bbox' must be"),
        ({"bbox": [1, 2, 3, "4"]}, "'bbox' must be"),
        ({"bbox": [1, 2, 3, True]}, "'bbox' must be"),
        ({"bbox": [1, 2, 0, 4]}, "sides over 0"),
        ({"bbox": [1, 2, 3, -4]}, "sides over 0"),
        ({"bbox": [-1, 2, 3, 4]}, "at least 0"),
        ({"bbox": [1, 2, 3, float("nan")]}, "finite"),
        ({"bbox": [1, 2, 3, float("inf")]}, "finite"),
        ({"bbox": [1, 2, 3, 10**400]}, "finite"),
        ({"ref": ""}, "'ref' must be"),
        ({"ref": " \n"}, "'ref' must be"),
        ({"ref": ["the car"]}, "'ref' must be"),
        ({"image": 10849}, "'image' must be"),
        ({"id": [1]}, "'id' must be"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_row(tmp_path, change, says):
    with pytest.raises(InputError, match=says) as caught:
        read_rows(write(tmp_path, [GOOD, {**GOOD, **change}]))
    assert "rows.json" in str(caught.value) and "row 2" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("field", ["image", "bbox", "ref"])
def test_a_missing_field_is_named(tmp_path, field):
    with pytest.raises(InputError, match=f"row 1: the field '{field}' is missing"):
        read_rows(write(tmp_path, [{key: value for key, value in GOOD.items() if key != field}]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"rows": [GOOD]}, "a JSON list of rows, but it holds an object"),
        ("7", "holds a number"),
        ([GOOD, "row"], "row 2: a row must be an object, but it is a text"),
        ('[{"image": "1.jpg",', "not valid JSON: .* line 1"),
        ("", "not valid JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[" + "9" * 10_000 + "]", "cannot be read as JSON"),
    ],
)
def test_a_file_that_is_no_list_of_rows(tmp_path, content, says):
    with pytest.raises(InputError, match=says):
        read_rows(write(tmp_path, content))


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x01")
    for path, says in [
        (tmp_path / "missing.json", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "binary.json", "UTF-8"),
        ("x" * 5000, "cannot be read"),
    ]:
        with pytest.raises(InputError, match=says):
            read_rows(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


nearly_rows = st.fixed_dictionaries({key: st.just(value) | json_values for key, value in GOOD.items()})


@given(st.lists(nearly_rows, max_size=3))
def test_whatever_a_row_holds_it_is_read_or_refused(tmp_path_factory, rows):
    path = write(tmp_path_factory.getbasetemp(), rows)
    try:
        read = read_rows(path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert len(read) == len(rows)
        assert all(row.box_xyxy[0] < row.box_xyxy[2] and row.box_xyxy[1] < row.box_xyxy[3] for row in read)


def test_find_image(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "1.jpg").touch()
    assert find_image(tmp_path, "sub/1.jpg") == tmp_path / "sub" / "1.jpg"
    for folder, image, says in [
        (tmp_path, "2.jpg", "no image '2.jpg' in the folder"),
        (tmp_path / "nowhere", "1.jpg", "does not exist"),
        (tmp_path / "sub", "../sub/1.jpg", "leads out"),
        (tmp_path, str(tmp_path / "sub" / "1.jpg"), "leads out"),
        (tmp_path, "\\etc\\hostname", "leads out"),  # absolute once its backslashes are slashes
        (tmp_path, "\\\\server\\share\\1.jpg", "leads out"),
        (tmp_path, "x" * 5000, "cannot be read"),
    ]:
        with pytest.raises(InputError, match=says):
            find_image(folder, image)


def test_an_image_is_found_under_the_name_that_another_system_writes(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "1.jpg").touch()
    (tmp_path / "cafe\u0301.jpg").touch()
    assert find_image(tmp_path, "sub\\1.jpg") == tmp_path / "sub" / "1.jpg"
    assert find_image(tmp_path, "caf\u00e9.jpg") == tmp_path / "cafe\u0301.jpg"
    (tmp_path / "caf\u00e9.jpg").touch()  # another file: the exact name comes first
    assert find_image(tmp_path, "caf\u00e9.jpg") == tmp_path / "caf\u00e9.jpg"


@pytest.mark.parametrize("name", ["..\\1.jpg", "C:\\1.jpg", "/1.jpg", "a\0.jpg", "sub/..\\../1.jpg"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(InputError) as error:
        find_image(tmp_path, name)
    assert "\\\\" not in str(error.value)  # backslashes are shown as they are


def test_a_file_of_another_program_is_recognized(tmp_path):
    path = tmp_path / "rows.json"
    for content, says in (
        ({"images": [], "annotations": []}, "it looks like COCO"),
        ([{"id": 1, "data": {"image": "/data/1.jpg"}, "annotations": []}], "Label Studio"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match=says):
            read_rows(path)


def test_a_file_without_end_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sorec, "MAX_BYTES", 1000)
    (tmp_path / "rows.json").write_text("[" + " " * 998 + "]")
    assert sorec.read_values(tmp_path / "rows.json") == []
    (tmp_path / "rows.json").write_text("[" + " " * 999 + "]")
    with pytest.raises(InputError, match="too large"):
        sorec.read_values(tmp_path / "rows.json")
    with pytest.raises(InputError, match="too large"):
        sorec.read_values("/dev/zero")
