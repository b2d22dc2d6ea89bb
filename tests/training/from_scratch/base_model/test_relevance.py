"""The losses of relevance: they fall for the right answer, and only where something is known."""

import numpy as np
import pytest
import torch

from piza.data.frames import Frame
from piza.data.windows import TrainingWindow
from piza.model.grounder import Grounding
from piza.training.from_scratch.base_model.relevance import (
    Relevance,
    RelevanceHead,
    labels_of,
    objectness_loss,
    relevance_loss,
    relevance_of,
)
from piza.training.from_scratch.base_model.window_batches import collate_scenes, scene_loss
from piza.training.losses import cell_at_center

SHAPES = [(16, 32), (8, 16), (4, 8)]
CELLS = sum(h * w for h, w in SHAPES)
OBJECTS = torch.tensor([[0.25, 0.5, 0.1, 0.1], [0.75, 0.5, 0.5, 0.6]])


def test_a_query_has_the_relevance_of_what_it_lies_on():
    boxes = torch.tensor(
        [[0.25, 0.5, 0.1, 0.1], [0.28, 0.5, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1], [0.75, 0.5, 0.4, 0.6]]
    )
    boxes[1, 0] = 0.305  # a third of it is on the first object
    values = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]]])
    labels = labels_of(boxes[None, None], OBJECTS, values)[0, 0]
    assert labels.tolist() == [[1, 0, 0], [0.5] * 3, [0, 0, 0], [0, 1, 0.5]]


def test_each_object_has_the_cell_at_its_center():
    cells = cell_at_center(torch.tensor([[0.26, 0.52, 0.1, 0.1], [0.99, 0.99, 0.5, 0.6]]), SHAPES)
    assert cells.tolist() == [8 * 32 + 8, 16 * 32 + 8 * 16 + 3 * 8 + 7]


def grounding(logits, states=None):
    proposals = torch.zeros(1, CELLS, 4)
    proposals[0, cell_at_center(OBJECTS, SHAPES)] = torch.logit(OBJECTS)
    boxes = OBJECTS.expand(1, 2, 2, 4)  # one layer, two sentences, a query on each object
    return Grounding(torch.zeros(1, 2, 2, 1), boxes, torch.zeros(1, CELLS, 2), proposals, states, logits)


def relevance(known=True):
    values = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 0], [1, 0, 0]]])
    return Relevance(OBJECTS, values, torch.tensor([known, known]))


def test_objects_in_their_cells_cost_nothing_and_elsewhere_much():
    right = torch.full((1, CELLS), -12.0)
    right[0, cell_at_center(OBJECTS, SHAPES)] = 12.0
    good, bad = (objectness_loss(grounding(v), [relevance()], SHAPES) for v in (right, right.roll(3, 1)))
    assert good["object"] < 1e-3 < 1 < bad["object"] and good["object_box"] < 1e-4


def test_relevance_that_is_found_costs_nothing_and_unknown_ones_nothing_either():
    head = RelevanceHead(8, 1)
    states = torch.zeros(1, 2, 2, 8, requires_grad=True)
    with torch.no_grad():
        head.layers[0].weight.zero_()
        head.layers[0].bias.copy_(torch.tensor([-12.0, -12.0, -12.0]))
        head.layers[0].weight[0, 0] = head.layers[0].weight[1, 1] = 24.0
    expected = torch.zeros_like(states)
    expected[0, 0, 0, 0] = expected[0, 0, 1, 1] = expected[0, 1, 1, 0] = 1
    assert relevance_loss(head, grounding(None, expected), [relevance()])["relevance"] < 1e-3
    loss = relevance_loss(head, grounding(None, states), [relevance()])["relevance"]
    loss.backward()
    assert loss > 1 and states.grad.abs().sum() > 0
    assert relevance_loss(head, grounding(None, states), [relevance(known=False)])["relevance"] == 0


def test_a_window_keeps_what_is_known_of_it():
    objects = np.array([[10.0, 10, 50, 40], [100, 10, 150, 40]])
    frame = Frame(np.zeros((200, 300, 3), np.uint8), [], objects=objects)
    window = TrainingWindow(frame, np.array([0.0, 0.0, 300.0, 200.0]), progress=0.0)
    box = objects[0]
    window.add("the red car", [box], [box], np.array([[1, 0, 0], [0, 1, 0.5]]))
    window.add("a dog", [], [])
    found = relevance_of(window)
    assert found.known.tolist() == [True, False] and found.values[0].tolist() == [[1, 0, 0], [0, 1, 0.5]]
    torch.testing.assert_close(found.objects[0], torch.tensor([0.1, 0.125, 40 / 300, 0.15]))


@pytest.mark.parametrize("known", [True, False])
def test_a_model_learns_from_relevance_where_there_are_any(tiny_object_queries_piza, known):
    objects = np.array([[10.0, 10, 90, 80], [100, 10, 250, 140]]) if known else np.zeros((0, 4))
    frame = Frame(np.zeros((200, 300, 3), np.uint8), [], objects=objects)
    window = TrainingWindow(frame, np.array([0.0, 0.0, 300.0, 200.0]), progress=0.0)
    box = np.array([10.0, 10, 90, 80])
    window.add("the red car", [box], [box], np.array([[1, 0, 0], [0, 1, 0.5]]) if known else None)
    model = tiny_object_queries_piza
    head = RelevanceHead(model.detector.config.d_model, model.detector.config.decoder_layers)
    losses = scene_loss(model, collate_scenes([window], (128, 96), None), head)
    losses["loss"].backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert bool(losses["object"] > 0) == known
    moved = model.relations.objectness.weight.grad
    assert (moved is not None and bool(moved.abs().sum() > 0)) == known
