"""Context vectors: words of their own in front of every sentence, and what stays of the base."""

import numpy as np
import pytest
import torch
from tests.conftest import tiny_detector

from piza.config import PizaConfig
from piza.errors import InputError
from piza.methods.context import zoom_embedding
from piza.methods.coop import CoopConfig, apply, prefix_ids, trained_names
from piza.model import grounder
from piza.model.piza import Piza
from piza.model.text import CLS, DOT, SEP, Prompter

PICTURES = np.random.default_rng(0).integers(0, 255, (2, 96, 128, 3), dtype=np.uint8)
PROMPTS = [["the red car", "a round sign with the number"], ["the blue car"]]
PROGRESS = torch.tensor([0.0, 0.6])


def build(tokenizer, family: str = "mm", pooling: str = "mean", **options) -> Piza:
    config = PizaConfig(method="coop", method_options={"embedding_dim": 32, **options}, token_pooling=pooling)
    return Piza(tiny_detector(family), tokenizer, config).eval()


def plain(tokenizer, family: str = "mm", pooling: str = "mean") -> Piza:
    config = PizaConfig(method="full", method_options={"condition": False}, token_pooling=pooling)
    return Piza(tiny_detector(family), tokenizer, config).eval()


def look(model: Piza) -> grounder.Grounding:
    with torch.no_grad():
        text, pooling = model.encode_prompts(PROMPTS)
        return model.ground(text, pooling, model.encode_images(PICTURES), PROGRESS)


def test_every_block_starts_with_the_vectors(tiny_tokenizer) -> None:
    model = build(tiny_tokenizer, tokens=2)
    a, b = model.prompter.prefix
    assert (a, b) == (1040, 1041)  # behind the vocabulary
    ids, mask, pooling = model.prompter(PROMPTS)
    words = [list(tiny_tokenizer(s + ".", add_special_tokens=False)["input_ids"]) for s in PROMPTS[0]]
    assert ids[0].tolist() == [CLS, a, b, *words[0], a, b, *words[1], SEP]
    assert ids[1, :3].tolist() == [CLS, a, b] and mask.sum(1).tolist() == [len(ids[0]), 8]
    assert not pooling[ids >= 1040].any() and torch.allclose(
        pooling.sum(1), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    )

    text, _ = model.encode_prompts(PROMPTS)
    second = 1 + 2 + len(words[0])
    assert text.position_ids[0, 1:second].tolist() == list(range(second - 1))
    assert text.position_ids[0, second : second + 3].tolist() == [0, 1, 2]
    assert text.self_mask[0, 1, 1:second].all() and not text.self_mask[0, 1, second:].any()
    assert (text.word_mask == (mask.bool() & (ids < 1040))).all()


@pytest.mark.parametrize("condition", [False, True])
@pytest.mark.parametrize("family", ["mm", "gd"])
def test_without_vectors_it_is_the_base(family, condition, tiny_tokenizer) -> None:
    """Conditioned too: fresh projections are zero."""
    ours = look(build(tiny_tokenizer, family, tokens=0, condition=condition))
    base = look(plain(tiny_tokenizer, family))
    torch.testing.assert_close(ours.boxes, base.boxes, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.logits, base.logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("condition", [False, True])
def test_vectors_that_start_from_words_are_these_words(condition, tiny_tokenizer) -> None:
    """Equal to the base reading the words in front of each sentence, scores still read off the sentence."""
    start = tuple(tiny_tokenizer("a round sign of", add_special_tokens=False)["input_ids"])
    ours = build(tiny_tokenizer, tokens=len(start), start_ids=start, condition=condition)
    base = plain(tiny_tokenizer)
    assert (
        look(ours).logits - look(base).logits
    ).abs().max() > 1e-3  # with words in front it is another sentence
    base.prompter = Prompter(tiny_tokenizer, 256, prefix=start)
    torch.testing.assert_close(look(ours).boxes, look(base).boxes, atol=1e-5, rtol=0)
    torch.testing.assert_close(look(ours).logits, look(base).logits, atol=1e-5, rtol=0)


def test_a_fresh_conditioned_one_is_the_plain_one(tiny_tokenizer) -> None:
    one, other = (look(build(tiny_tokenizer, tokens=3, condition=c)) for c in (False, True))
    torch.testing.assert_close(one.boxes, other.boxes, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["mm", "gd"])
def test_the_librarys_own_forward_reads_the_vectors_too(family, tiny_tokenizer) -> None:
    model = build(tiny_tokenizer, family, pooling="max", tokens=3)
    ids, mask, _ = model.prompter(PROMPTS)
    with torch.no_grad(), zoom_embedding(model.zoom(PROGRESS)):
        whole = model.detector(pixel_values=model.pixels(PICTURES), input_ids=ids, attention_mask=mask)
        text = grounder.encode_text(model.detector, ids, mask)
        text.word_mask = text.token_mask  # the library does not know that only words answer
        ours = grounder.ground(model.detector, text, model.encode_images(PICTURES))
    torch.testing.assert_close(ours.boxes[-1], whole.pred_boxes, atol=1e-5, rtol=1e-5)


def test_only_words_answer(tiny_tokenizer) -> None:
    model = build(tiny_tokenizer, pooling="max", tokens=3)
    ids, mask, _ = model.prompter(PROMPTS)
    logits = look(model).logits
    silent = (ids >= 1040) | (mask == 0)
    assert (logits == -torch.inf).all(dim=2).equal(silent.expand(len(logits), -1, -1))


def test_the_vectors_matter_and_the_words_table_is_frozen(tiny_tokenizer) -> None:
    model = build(tiny_tokenizer, tokens=3)
    before = look(model)
    table = model.detector.model.text_backbone.embeddings.word_embeddings
    with torch.no_grad():
        table.context.weight.normal_()
    assert (look(model).boxes - before.boxes).abs().max() > 1e-4
    assert (look(model).logits - before.logits).abs().max() > 1e-3
    names = trained_names(model.detector)
    prefix = "model.text_backbone.embeddings.word_embeddings."
    assert prefix + "context.weight" in names and prefix + "words.weight" not in names
    assert prefix_ids(model.detector) == [1040, 1041, 1042]


def test_the_vectors_count_to_the_longest_sentence(tiny_tokenizer) -> None:
    model = build(tiny_tokenizer, tokens=16)
    ids, _, _ = model.prompter([["car " * 237]])  # with a full stop, two marks and 16 vectors: just fits
    assert ids.shape[1] == 256 and (ids == DOT).sum() == 1
    model.encode_prompts([["car " * 237]])
    with pytest.raises(InputError, match="240"):
        model.prompter([["car " * 238]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": -1}, "-1"),
        ({"tokens": 2, "start_ids": (5,)}, "2 start_ids"),
        ({"tokens": 1, "start_ids": (2000,)}, "vocabulary"),
        ({"tokens": 1, "start_ids": (-1,)}, "vocabulary"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message) -> None:
    with pytest.raises(InputError, match=message):
        apply(tiny_detector(), CoopConfig(**options))
