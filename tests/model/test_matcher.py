"""Sentences matched with objects: each by itself, whatever order the objects come in, with probabilities that share out."""

import copy

import pytest
import torch

from piza.model.matcher import TEMPERATURE, ExpressionMatcher, log_odds, log_odds_of_things


@pytest.fixture(scope="module")
def matcher():
    torch.manual_seed(0)
    made = ExpressionMatcher(vocabulary=50, features=6, width=32, layers=2).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


@pytest.fixture(scope="module")
def asked():
    """Two images of five objects with three sentences each, of three to seven words."""
    torch.manual_seed(1)
    ids = torch.randint(1, 50, (2, 3, 7))
    mask = torch.arange(7) < torch.tensor([[3, 7, 5], [6, 4, 7]])[..., None]
    return ids, mask, torch.randn(2, 5, 6), torch.rand(2, 5, 4) * 0.8 + 0.1, 0.6


@torch.no_grad()
def test_a_batch_reads_each_sentence_as_if_alone(matcher, asked):
    ids, mask, seen, boxes, aspect = asked
    answers, relevance = matcher.read(*asked)
    assert answers.shape == (2, 2, 3, 5) and relevance.shape == (2, 2, 3, 5, 3)
    for picture in (0, 1):
        for number in (0, 1, 2):
            words = ids[picture, number][mask[picture, number]][None, None]
            alone, _ = matcher.read(
                words, torch.ones_like(words).bool(), seen[[picture]], boxes[[picture]], aspect
            )
            torch.testing.assert_close(alone[:, 0, 0], answers[:, picture, number], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_order_of_objects_does_not_matter(matcher, asked):
    ids, mask, seen, boxes, aspect = asked
    order = torch.tensor([3, 0, 4, 2, 1])
    answers, _ = matcher.read(*asked)
    shuffled, _ = matcher.read(ids, mask, seen[:, order], boxes[:, order], aspect)
    torch.testing.assert_close(shuffled, answers[..., order], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_it_hears_the_order_of_words_and_sees_where_the_others_lie(matcher, asked):
    ids, mask, seen, boxes, aspect = asked
    answers, _ = matcher.read(*asked)
    swapped = ids[:, :, [1, 0, 2, 3, 4, 5, 6]]
    assert (matcher.read(swapped, mask, seen, boxes, aspect)[0] - answers).abs().max() > 1e-3
    moved = boxes.clone()
    moved[:, 4, 0] = 1 - moved[:, 4, 0]
    change = (matcher.read(ids, mask, seen, moved, aspect)[0] - answers)[-1, ..., :4]
    assert change.abs().max() > 1e-3


@torch.no_grad()
def test_similarity_is_of_each_word_with_what_is_known_of_each_object(matcher, asked):
    ids, mask, seen, *_ = asked
    similarity = matcher.similarity(ids.flatten(0, 1), mask.flatten(0, 1), seen)
    assert similarity.shape == (6, 5, 7)
    for image, sentence, place, word in ((0, 0, 3, 1), (1, 2, 4, 6), (1, 0, 0, 5)):
        expected = matcher.traits(seen[image, place]) @ matcher.lexicon.weight[ids[image, sentence, word]]
        torch.testing.assert_close(similarity[3 * image + sentence, place, word], expected)
    assert (similarity[0, :, 3:] == 0).all()  # tokens that are not real


@torch.no_grad()
def test_a_words_vector_changes_the_sentences_that_say_it(matcher, asked):
    ids, mask, *_ = asked
    changed = copy.deepcopy(matcher)
    changed.lexicon.weight[ids[0, 1, 2]] += 1.0
    change = (changed.read(*asked)[0] - matcher.read(*asked)[0]).abs().amax((0, 3))
    said = ((ids == ids[0, 1, 2]) & mask).any(-1)
    assert (change[said] > 1e-3).all() and (change[~said] < 1e-6).all()


def test_log_odds_are_of_one_choice():
    answers = torch.tensor([[2.0, -1.0, 0.5], [-3.0, -4.0, -3.5]])
    weights = answers.exp()
    choice = weights / (1 + weights.sum(-1, keepdim=True))
    torch.testing.assert_close(log_odds(answers).sigmoid(), choice)


def test_things_that_are_listed_once_have_the_probability_of_their_box():
    boxes = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.24, 0.2, 0.1, 0.1]])  # IoU 0.43
    answers = torch.tensor([[0.3, -0.4]])
    torch.testing.assert_close(log_odds_of_things(answers, boxes), log_odds(answers / TEMPERATURE))


def test_a_thing_that_is_listed_twice_is_not_less_likely_for_it():
    boxes = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.205, 0.2, 0.1, 0.1], [0.7, 0.7, 0.1, 0.1]])
    answers = torch.tensor([[1.0, 0.9, 1.2]])  # by itself, the third is the likeliest
    odds = log_odds_of_things(answers, boxes)[0]
    alone = log_odds_of_things(answers[:, [0, 2]], boxes[[0, 2]])[0]
    assert odds[0] > odds[2] and alone[0] < alone[1]
    once = log_odds_of_things(answers[:, :1], boxes[:1])
    assert log_odds_of_things(answers[:, :2], boxes[:2])[0, 0] > once[0, 0]
