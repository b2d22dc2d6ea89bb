"""One block a sentence, one final full stop, clear words for what cannot be read."""

import pytest
import torch

from piza.errors import InputError
from piza.model.text import DOT, Prompter, normalize


@pytest.mark.parametrize(
    "given, expected",
    [
        ("The red car", "The red car."),
        ("The red car.", "The red car."),
        ("The red car...  ", "The red car."),
        ("Is it red? The car. ", "Is it red The car."),
        ("a 2.5 t sign", "a 2 5 t sign."),
        ("two\nlines", "two lines."),
    ],
)
def test_normalize(given, expected):
    assert normalize(given) == expected
    assert normalize(expected) == expected


@pytest.mark.parametrize("given", ["", "   ", "...", "?!", None, 7, ["the car"]])
def test_no_words_is_an_error(given):
    with pytest.raises(InputError):
        normalize(given)


def test_each_sentence_is_one_block(tiny_tokenizer):
    ids, mask, pooling = Prompter(tiny_tokenizer)([["the red. car", "a sign?"], ["the blue car"]])
    assert (ids == DOT).sum(1).tolist() == [2, 1]
    assert (ids[0] == 1029).sum() == 0
    assert torch.allclose(pooling.sum(1), torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    assert (pooling.sum(-1) * (1 - mask)).sum() == 0


def test_too_long_is_an_error(tiny_tokenizer):
    with pytest.raises(InputError, match="256"):
        Prompter(tiny_tokenizer)([["car " * 300]])
    with pytest.raises(InputError, match="256"):
        Prompter(tiny_tokenizer)([["car " * 10_000]])
    Prompter(tiny_tokenizer)([["car " * 253]])  # 253 words, a full stop and two marks: just fits
