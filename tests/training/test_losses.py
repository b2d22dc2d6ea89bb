"""The loss falls to nothing for right answers and rises for wrong ones; empty windows are fine."""

import numpy as np
import pytest
import torch

from piza.model.grounder import Grounding
from piza.model.tensor_boxes import giou
from piza.training.losses import (
    Targets,
    choice_loss,
    dense_positives,
    look_loss,
    match_rows,
    near_answers,
    separate_queries_loss,
    shared_queries_loss,
)

SHAPES = [(16, 32), (8, 16), (4, 8)]
CELLS = sum(h * w for h, w in SHAPES)


def grounding(answer, hot_block, blocks=2, queries=5):
    """A look whose query 0 says `answer` for block `hot_block`, and whose proposals say the same everywhere."""
    logits = torch.full((1, 1, queries, blocks), -12.0)
    logits[..., 0, hot_block] = 12.0
    boxes = torch.full((1, 1, queries, 4), 0.1)
    boxes[..., 0, :] = answer
    proposals = torch.logit(answer).expand(1, CELLS, 4)
    return Grounding(logits, boxes, torch.full((1, CELLS, blocks), -12.0), proposals)


def target(box, block):
    return Targets(torch.eye(2)[[block]], box[None], box[None])


def test_right_answer_beats_wrong_block_and_wrong_box():
    box = torch.tensor([0.4, 0.5, 0.1, 0.2])
    right = look_loss(grounding(box, 1), [target(box, 1)], SHAPES)
    wrong_block = look_loss(grounding(box, 0), [target(box, 1)], SHAPES)
    wrong_box = look_loss(grounding(box + 0.1, 1), [target(box, 1)], SHAPES)
    assert float(right["box"]) < 1e-5 and float(right["class"]) < 1e-3
    assert float(wrong_block["class"]) > 1 and float(wrong_box["box"]) > 0.5
    assert float(right["dense_box"]) < 1e-4 < float(wrong_box["dense_box"])


def test_a_window_without_targets_teaches_not_here():
    box = torch.tensor([0.4, 0.5, 0.1, 0.2])
    empty = Targets(torch.zeros(0, 2), torch.zeros(0, 4), torch.zeros(0, 4))
    losses = look_loss(grounding(box, 1), [empty], SHAPES)
    assert float(losses["class"]) > 1 and float(losses["box"]) == 0 and float(losses["dense_box"]) == 0
    assert torch.isfinite(losses["loss"])


def test_padding_blocks_cost_nothing():
    box = torch.tensor([0.4, 0.5, 0.1, 0.2])
    one = Targets(torch.ones(1, 1), box[None], box[None])
    losses = look_loss(grounding(box, 1), [one], SHAPES)  # block 1 does not exist in this prompt
    shouted = grounding(box, 1)
    shouted.logits[..., 1] = 50.0
    assert float(losses["class"]) == pytest.approx(float(look_loss(shouted, [one], SHAPES)["class"]))


def test_dense_positives_are_the_cells_around_the_center():
    target_box = torch.tensor([[0.5, 0.5, 0.05, 0.05], [0.0, 0.0, 0.02, 0.02], [0.3, 0.6, 0.9, 0.9]])
    cells, owners = dense_positives(Targets(torch.eye(3), target_box, target_box), SHAPES)
    assert sorted(cells[owners == 0].tolist()) == [7 * 32 + 15, 7 * 32 + 16, 8 * 32 + 15, 8 * 32 + 16]
    assert cells[owners == 1].tolist() == [0]  # at the corner only one of the four exists
    assert (cells[owners == 2] >= 16 * 32 + 8 * 16).all()  # a large object is taught at the coarsest level


def test_giou_of_known_boxes():
    a = torch.tensor([0.5, 0.5, 0.2, 0.2])
    assert float(giou(a, a)) == pytest.approx(1)
    b = torch.tensor([0.9, 0.5, 0.2, 0.2])  # hull 0.6 x 0.2, union 0.08
    assert float(giou(a, b)) == pytest.approx(-(0.12 - 0.08) / 0.12, abs=1e-6)
    rng = np.random.default_rng(0)
    boxes = torch.tensor(rng.uniform(0.1, 0.9, (50, 4)))
    assert torch.allclose(giou(boxes[:25], boxes[25:]), giou(boxes[25:], boxes[:25]))


def test_choice_prefers_what_is_right():
    labels = torch.tensor([[[0.0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]])  # the last row has no right one
    logits = torch.zeros(1, 3, 4, requires_grad=True)
    even = choice_loss(logits, labels)
    assert even.item() == pytest.approx((np.log(4 / 2) + np.log(4)) / 2)
    even.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 0, 1] < 0 < logits.grad[0, 0, 0] and (logits.grad[0, 2] == 0).all()
    assert choice_loss(10 * labels, labels).item() < 0.01
    assert choice_loss(logits, torch.zeros_like(labels)).item() == 0


def test_one_box_may_answer_several_sentences():
    """Two sentences of one object are one target, and the query that finds it is right for both."""
    box = torch.tensor([0.4, 0.5, 0.1, 0.2])
    both = Targets(torch.ones(1, 2), box[None], box[None])
    look = grounding(box, 0)
    look.logits[..., 0, :] = 12.0  # query 0 says yes to both
    assert look_loss(look, [both], SHAPES)["class"].item() < 1e-3
    assert look_loss(grounding(box, 0), [both], SHAPES)["class"].item() > 0.5


def test_a_window_beside_the_planned_one_is_not_wrong():
    target_box, window = torch.tensor([[0.5, 0.5, 0.02, 0.02]]), torch.tensor([[0.5, 0.5, 0.2, 0.2]])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.52, 0.5, 0.2, 0.2], [0.7, 0.5, 0.2, 0.2]])
    zooming = Targets(torch.tensor([[0.0, 1.0]]), window, target_box)
    assert near_answers(boxes, zooming, 3).tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    answering = Targets(torch.tensor([[0.0, 1.0]]), window, window)
    assert near_answers(boxes, answering, 3).sum() == 0


def test_sentences_with_queries_of_their_own_cost_what_each_would_alone():
    """Two windows, of two sentences and of one; the padded third place is not counted."""
    torch.manual_seed(0)
    boxes = torch.rand(2, 4) * 0.2 + 0.3
    targets = [Targets(torch.eye(2), boxes, boxes), Targets(torch.ones(1, 1), boxes[:1], boxes[:1])]
    logits, answers = torch.randn(3, 4, 5, 1), torch.rand(3, 4, 5, 4) * 0.2 + 0.3
    present = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])

    def separate(logits):
        return separate_queries_loss(Grounding(logits, answers, None, None), targets, present)

    alone = {"class": 0.0, "which": 0.0, "box": 0.0}
    for row, box in ((0, boxes[0]), (1, boxes[1]), (2, boxes[0])):
        one = Grounding(logits[:, row : row + 1], answers[:, row : row + 1], None, None)
        single = [Targets(torch.ones(1, 1), box[None], box[None])]
        for name, value in shared_queries_loss(one, single, torch.ones(1, 1, 1)).items():
            if name in alone:
                alone[name] += float(value) / 3
    found = separate(logits)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(alone, rel=1e-5)
    shouted = logits.clone()
    shouted[:, 3] = 50.0  # what is no sentence
    assert {n: float(v) for n, v in separate(shouted).items()} == pytest.approx(alone, rel=1e-5)


def test_an_absent_sentence_with_its_own_queries_teaches_no():
    empty = [Targets(torch.zeros(0, 1), torch.zeros(0, 4), torch.zeros(0, 4))]
    boxes = torch.full((1, 1, 5, 4), 0.2)
    yes, no = (
        separate_queries_loss(
            Grounding(torch.full((1, 1, 5, 1), v), boxes, None, None), empty, torch.ones(1, 1, 1)
        )
        for v in (5.0, -5.0)
    )
    assert (
        float(yes["class"]) > 1 > 0.01 > float(no["class"]) and float(yes["box"]) == float(yes["which"]) == 0
    )


def test_two_objects_of_one_sentence_get_queries_of_their_own():
    boxes = torch.tensor([[[0.2, 0.2, 0.1, 0.1], [0.25, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1]]]).repeat(
        2, 1, 1
    )
    row = torch.tensor([0, 0, 1])
    answer = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.21, 0.2, 0.1, 0.1], [0.2, 0.2, 0.1, 0.1]])
    assert match_rows(torch.zeros(2, 3), boxes, row, answer).tolist() == [0, 1, 0]
