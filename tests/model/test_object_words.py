"""The names of what a first look says of objects: kept with the model, and checked against its outputs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import piza
from piza.errors import InputError
from piza.hub import CHECKSUMS, find_model
from piza.model.io import load_folder, save_folder
from piza.model.object_words import OBJECT_WORDS_FILE, ObjectWords
from piza.model.region_encoder import STATE


def test_they_are_kept_with_the_model_and_fit_its_outputs(tmp_path):
    model = load_folder(find_model("mini"))
    words = model.object_words
    assert len(words.categories) == model.config.num_categories and "car" in words.categories
    assert len(words.attributes) == model.config.num_attributes and "color=red" in words.attributes
    save_folder(model, tmp_path / "copy", half=True)
    assert load_folder(tmp_path / "copy").object_words == words
    (tmp_path / "copy" / CHECKSUMS).unlink()
    file: Path = tmp_path / "copy" / OBJECT_WORDS_FILE
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "attributes": values["attributes"][:-1]}))
    with pytest.raises(InputError, match=r"objects\.json: attributes: expected 257 words.*got 256"):
        load_folder(tmp_path / "copy")
    file.write_text(json.dumps({**values, "whole": [0.5] * 7}))
    with pytest.raises(InputError, match=r"objects\.json: whole: expected 129 numbers or none, got 7"):
        load_folder(tmp_path / "copy")
    del values["whole"]  # as a folder from before has none
    file.write_text(json.dumps(values))
    assert load_folder(tmp_path / "copy").object_words.whole_chances(np.zeros((3, STATE))) is None
    file.write_text('{"categories": 3}')
    with pytest.raises(InputError, match=r"objects\.json: categories"):
        load_folder(tmp_path / "copy")


def test_chances_are_those_of_a_logistic_regression():
    words = ObjectWords((), (), (2.0, *[0.0] * (STATE - 1), -1.0))
    regions = np.zeros((3, STATE), np.float32)
    regions[:, 0] = 0.5, 2, 1e9
    assert words.whole_chances(regions) == pytest.approx([0.5, 1 / (1 + np.exp(-3)), 1])


def test_a_model_without_them_lists_no_named_objects(tmp_path):
    from piza.dataset.candidates import model_list

    shutil.copytree(find_model("mini"), tmp_path / "old")
    for name in (OBJECT_WORDS_FILE, CHECKSUMS):
        (tmp_path / "old" / name).unlink()
    with pytest.raises(InputError, match=r"the model names no objects"):
        model_list(piza.load(str(tmp_path / "old")))
