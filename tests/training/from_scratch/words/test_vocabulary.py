"""New words come after the old ones, which keep their ids and embeddings, and start near words of similar meaning."""

import json
from pathlib import Path

import numpy as np
import torch

import piza
from piza.hub import CHECKSUMS
from piza.model.io import load_folder
from piza.model.object_words import read_object_words
from piza.training.from_scratch.words import vocabulary

MINI = Path(piza.__file__).parent / "weights" / "mini"


def unit(*values):
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


VECTORS = {
    "car": unit(1, 0, 0), "vehicle": unit(0.9, 0.3, 0), "tree": unit(0, 0, 1), "hatchback": unit(1, 0.1, 0),
    "quux": unit(0, 1, -0.2),
}  # fmt: skip
COUNTS = {"zeppelin": 5, "rarely": 2, "car": 9, "tree": 1}


def test_words_are_appended(tmp_path):
    known = json.loads((MINI / "tokenizer.json").read_text())["model"]["vocab"]
    words = vocabulary.new_words(known, COUNTS, VECTORS)
    assert "zeppelin" in words and "rarely" not in words and "car" not in words
    assert "quux" not in words  # near to nothing that is known
    extended = vocabulary.extend_tokenizer(MINI, words, tmp_path)
    assert {word: extended[word] for word in known} == known
    assert sorted(extended.values()) == list(range(len(extended)))


def test_every_latin_word_can_be_read(tmp_path):
    from transformers import AutoTokenizer

    vocabulary.extend_tokenizer(MINI, ["zeppelin"], tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("zeppelin") == ["zeppelin"]
    for word in ("zorgle", "xylophonists", "abcdefghijklmnopqrstuvwxyz"):
        assert tokenizer.unk_token_id not in tokenizer(word)["input_ids"]


def test_embeddings_start_near_similar_words():
    old = {"[PAD]": 0, "car": 1, "vehicle": 2, "tree": 3}
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 9.0]])
    table = vocabulary.extend_embedding(weight, {**old, "hatchback": 4, "quux": 5, "sedan": 6}, VECTORS)
    assert torch.equal(table[:4], weight)
    assert table.shape == (7, 2) and table.isfinite().all()
    assert (table[4] - torch.tensor([1.5, 0.0])).norm() < 1  # of car and vehicle
    assert (table[6] - weight[1]).norm() < 1  # named similar to car
    assert (table[5] - weight[1:].mean(0)).norm() < 3


def test_extended_weights_leave_the_rest_alone():
    weights = {"matcher.words.weight": torch.randn(4, 2), "matcher.box.weight": torch.randn(4, 2)}
    old = {"[PAD]": 0, "car": 1, "vehicle": 2, "tree": 3}
    extended = vocabulary.extend_weights(weights, {**old, "hatchback": 4}, VECTORS)
    assert extended["matcher.words.weight"].shape == (5, 2)
    assert extended["matcher.box.weight"] is weights["matcher.box.weight"]


def test_an_extended_model_is_read_with_all_that_belongs_to_it(tmp_path):
    np.savez(tmp_path / "vectors.npz", words=list(VECTORS), vectors=np.stack(list(VECTORS.values())))
    vocabulary.extend_tokenizer(MINI, ["zeppelin"], tmp_path / "words")
    vocabulary.extend_folder(MINI, tmp_path / "words", tmp_path / "vectors.npz", tmp_path / "model")
    named = {line.split()[1] for line in (tmp_path / "model" / CHECKSUMS).read_text().splitlines()}
    assert named == {path.name for path in (tmp_path / "model").iterdir()} - {CHECKSUMS, "piza.json"}
    model = load_folder(tmp_path / "model")
    assert "zeppelin" in model.tokenizer.get_vocab()
    assert model.object_words == read_object_words(MINI, model.config) is not None
