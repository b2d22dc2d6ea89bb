"""The names of what a first look says of objects: kept with the model, and checked against its outputs."""

import json
import shutil
from pathlib import Path

import pytest

import piza
from piza.errors import InputError
from piza.hub import find_model
from piza.model.io import load_folder, save_folder
from piza.model.object_words import OBJECT_WORDS_FILE


def test_they_are_kept_with_the_model_and_fit_its_outputs(tmp_path):
    model = load_folder(find_model("mini"))
    words = model.object_words
    assert len(words.categories) == model.config.num_categories and "car" in words.categories
    assert len(words.attributes) == model.config.num_attributes and "color=red" in words.attributes
    save_folder(model, tmp_path / "copy", half=True)
    assert load_folder(tmp_path / "copy").object_words == words
    file: Path = tmp_path / "copy" / OBJECT_WORDS_FILE
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "attributes": values["attributes"][:-1]}))
    with pytest.raises(InputError, match=r"objects\.json: attributes: expected 257 words.*got 256"):
        load_folder(tmp_path / "copy")
    file.write_text('{"categories": 3}')
    with pytest.raises(InputError, match=r"objects\.json: categories"):
        load_folder(tmp_path / "copy")


def test_a_model_without_them_lists_no_named_objects(tmp_path):
    from piza.dataset.candidates import model_list

    shutil.copytree(find_model("mini"), tmp_path / "old")
    (tmp_path / "old" / OBJECT_WORDS_FILE).unlink()
    with pytest.raises(InputError, match=r"the model names no objects"):
        model_list(piza.load(str(tmp_path / "old")))
