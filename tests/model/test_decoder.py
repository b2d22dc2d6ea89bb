"""Sentences with queries of their own answer as if each were asked alone; fresh relations change nothing and know left from right."""

import pytest
import torch
from tests.conftest import tiny_detector

from piza.model import grounder
from piza.model.decoder import tokens_of_groups
from piza.model.relations import HIDDEN, Compare, Relations
from piza.model.text import Prompter

SENTENCES = ["the red car left of a blue sign", "a round sign", "the blue car, left of the number"]
PIXELS = (3, 96, 128)


def look(detector, tokenizer, prompts, pixels, **options):
    ids, mask, pooling = Prompter(tokenizer)(prompts)
    with torch.no_grad():
        text = grounder.encode_text(detector, ids, mask)
        picture = grounder.encode_image(detector, pixels)
        return grounder.ground(detector, text, picture, pooling, **options)


@pytest.mark.parametrize("family", ["mm", "gd"])
def test_queries_of_its_own_change_nothing_for_one_sentence(family, tiny_tokenizer):
    detector, pixels = tiny_detector(family), torch.randn(3, *PIXELS)
    prompts = [[sentence] for sentence in SENTENCES]
    usual, own = (
        look(detector, tiny_tokenizer, prompts, pixels, per_sentence_queries=a) for a in (False, True)
    )
    torch.testing.assert_close(own.boxes, usual.boxes, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(own.logits, usual.logits, atol=1e-5, rtol=1e-4)


def test_sentences_of_one_prompt_do_not_meet_in_the_decoder(tiny_tokenizer):
    """The encoder reads a prompt as a whole; behind it, a sentence's queries see that sentence and the window alone."""
    detector = tiny_detector()
    ids, mask, pooling = Prompter(tiny_tokenizer)([SENTENCES])
    with torch.no_grad():
        text = grounder.encode_text(detector, ids, mask)
        picture = grounder.encode_image(detector, torch.randn(1, *PIXELS))
        together = grounder.ground(detector, text, picture, pooling, per_sentence_queries=True)
        for number in range(3):
            only = pooling[:, :, number : number + 1]
            one = grounder.ground(detector, text, picture, only, per_sentence_queries=True)
            torch.testing.assert_close(together.boxes[:, number], one.boxes[:, 0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(together.logits[:, number], one.logits[:, 0], atol=1e-5, rtol=1e-4)


def test_tokens_of_groups_keep_their_order_and_say_which_are_real():
    features = torch.arange(5.0)[None, :, None]
    groups = torch.tensor([[[True, False, True, False, True], [False, True, False, False, False]]])
    words, mask = tokens_of_groups(features, groups)
    assert words.shape == (1, 2, 3, 1) and mask[0].tolist() == [[True] * 3, [True, False, False]]
    assert words[0, 0, :, 0].tolist() == [0, 2, 4] and words[0, 1, 0, 0] == 1


def test_fresh_relations_change_nothing_and_trained_ones_do(tiny_tokenizer):
    detector, pixels = tiny_detector(), torch.randn(3, *PIXELS)
    prompts = [[sentence] for sentence in SENTENCES]
    relations = Relations(32, 4, 2)
    plain, fresh = (
        look(detector, tiny_tokenizer, prompts, pixels, relations=r, local_maxima=True)
        for r in (None, relations)
    )
    torch.testing.assert_close(fresh.boxes, plain.boxes, atol=1e-6, rtol=1e-6)
    for weight in (relations.content.weight, relations.bias.weight, relations.compare[0].out.weight):
        torch.nn.init.normal_(weight)
        moved = look(detector, tiny_tokenizer, prompts, pixels, relations=relations, local_maxima=True)
        assert (moved.boxes - plain.boxes).abs().max() > 1e-4
        torch.nn.init.zeros_(weight)


def test_comparing_sums_over_the_others_in_any_order():
    """Of two alike the one adds as much as the other: what a query gathers tells how many there are."""
    compare = Compare(32)
    torch.nn.init.normal_(compare.out.weight)
    states, pairs = torch.randn(1, 2, 5, 32), torch.randn(1, 5, 5, HIDDEN)

    def gathered(objects: list[int]) -> torch.Tensor:
        some = states[:, :, objects]
        return compare(some, some, pairs[:, objects][:, :, objects])

    whole, order = gathered([0, 1, 2, 3, 4]), [0, 3, 1, 4, 2]
    torch.testing.assert_close(gathered(order), whole[:, :, order])
    fewer, twice = gathered([0, 1, 2, 3])[:, :, 0], gathered([0, 1, 2, 3, 4, 4])[:, :, 0]
    torch.testing.assert_close(twice - whole[:, :, 0], whole[:, :, 0] - fewer)
    assert (twice - whole[:, :, 0]).abs().max() > 1e-3
    alone = compare(states[:, 1:], states[:, 1:], pairs)  # groups do not see each other
    torch.testing.assert_close(alone, whole[:, 1:])


def test_biases_depend_on_relative_positions_alone():
    relations = Relations(32, 4, 2)
    torch.nn.init.normal_(relations.bias.weight)
    boxes = torch.tensor([[[0.2, 0.4, 0.05, 0.1], [0.5, 0.6, 0.05, 0.1], [0.8, 0.8, 0.05, 0.1]]])
    moved, cells = boxes - torch.tensor([0.1, 0.1, 0, 0]), torch.tensor([20, 40])
    one, two = (relations.biases(relations.pairs(each, cells)) for each in (boxes, moved))
    assert len(one) == 2 and one[0].shape == (1, 4, 3, 3)
    for here, there in zip(one, two, strict=True):
        torch.testing.assert_close(here, there, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(here[..., 0, 1], here[..., 1, 2], atol=1e-3, rtol=1e-3)
        assert (here[..., 0, 1] - here[..., 1, 0]).abs().max() > 0.1  # left is not right


def test_some_queries_are_given_to_any_objects():
    relations = Relations(32, 4, 2, object_queries=2)
    seen = torch.randn(1, 6, 32)
    with torch.no_grad():
        relations.objectness.weight.copy_(seen[0, 4:5] * 10)  # cell 4 most likely is an object
    best, logits = relations.with_objects(torch.tensor([[[4, 1, 0, 2], [5, 3, 0, 2]]]), seen)
    assert best[0, :, :2].tolist() == [[4, 1], [5, 3]] and logits.shape == (1, 6)
    assert best[0, 1, 2] == 4 and 4 not in best[0, 0, 2:]  # not a second time
    order = logits[0].argsort(descending=True).tolist()
    assert best[0, 0, 2:].tolist() == [cell for cell in order if cell not in (4, 1)][:2]
    alone = relations.with_objects(torch.tensor([[[3, 1]]]), seen)[0]
    assert alone.tolist() == [[[3, 4]]]  # where there are as few queries, the best is still the sentence's


def test_queries_of_objects_reach_the_decoder(tiny_tokenizer):
    detector, pixels = tiny_detector(), torch.randn(3, *PIXELS)
    prompts = [[sentence] for sentence in SENTENCES]
    relations = Relations(32, 4, 2, object_queries=3)
    plain = look(detector, tiny_tokenizer, prompts, pixels, local_maxima=True)
    with_objects = look(detector, tiny_tokenizer, prompts, pixels, relations=relations, local_maxima=True)
    assert with_objects.boxes.shape == plain.boxes.shape and with_objects.objectness_logits.shape[0] == 3
    assert (with_objects.boxes - plain.boxes).abs().max() > 1e-3
