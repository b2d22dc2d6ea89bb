"""Proposals: each image by itself, boxes inside it, local maxima first, and all that are forced."""

import pytest
import torch
from tests.conftest import tiny_detector

from piza.model.grounder import encode_image, local_maxima_only
from piza.model.proposals import BESIDE, ProposalNetwork, anchors_of


@pytest.fixture(scope="module")
def proposals():
    made = ProposalNetwork(tiny_detector(), num_attributes=5, num_proposals=7, layers=2).eval()
    with torch.no_grad():  # a fresh one moves no box
        for layer in made.refinement:
            layer.box.weight.normal_(std=0.3)
    return made


@pytest.fixture(scope="module")
def pixels():
    torch.manual_seed(1)
    return torch.randn(2, 3, 96, 160)


def test_a_batch_finds_what_each_image_holds(proposals, pixels):
    with torch.no_grad():
        both = proposals(pixels)
        for row in (0, 1):
            alone = proposals(pixels[row : row + 1])
            assert torch.equal(both.cells[row], alone.cells[0])
            torch.testing.assert_close(both.features[row : row + 1], alone.features, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(both.boxes[:, row : row + 1], alone.boxes, atol=1e-5, rtol=1e-4)
    assert both.features.shape == (2, 7, 32 + 5 + 1) and both.size == (160, 96)
    assert not torch.equal(both.cells[0], both.cells[1])


def test_boxes_start_at_their_cells_and_move(proposals, pixels):
    with torch.no_grad():
        found = proposals(pixels)
    anchors, _ = anchors_of(found.shapes, found.states)
    torch.testing.assert_close(found.boxes[0, 0], anchors[found.cells[0]])
    assert (found.boxes[1:] > 0).all() and (found.boxes[1:] < 1).all()
    assert (found.boxes[-1] - found.boxes[0]).abs().max() > 1e-3


def test_a_cell_beside_a_better_one_must_be_better_by_so_much(proposals, pixels):
    with torch.no_grad():
        found = proposals(pixels)
    beside = local_maxima_only(found.cell_logits, found.shapes) < found.cell_logits
    scores = found.cell_logits - BESIDE * beside
    chosen = torch.zeros_like(beside).scatter(1, found.cells, True)
    for row in (0, 1):
        assert scores[row][chosen[row]].min() >= scores[row][~chosen[row]].max()
    assert beside.any()


def test_what_is_forced_is_chosen_first(proposals, pixels):
    with torch.no_grad():
        found = proposals(pixels)
        bonus = torch.zeros_like(found.cell_logits)
        lowest = found.cell_logits.argmin(1)
        bonus[torch.arange(2), lowest] = 50
        assert torch.equal(proposals(pixels, lambda shapes: bonus).cells[:, 0], lowest)


def test_its_pyramid_is_the_grounders_until_it_is_trained(pixels):
    detector = tiny_detector()
    proposals = ProposalNetwork(detector, num_attributes=1)
    levels = []
    proposals.project[-1].register_forward_hook(lambda module, given, answer: levels.append(answer))
    with torch.no_grad():
        proposals.eval()(pixels)
        features = encode_image(detector, pixels).features
    coarsest = levels[0].flatten(2).transpose(1, 2)
    torch.testing.assert_close(features[:, -coarsest.shape[1] :], coarsest)


def test_everything_in_it_learns(proposals, pixels):
    found = proposals(pixels)
    (found.features.sum() + found.boxes[1:].sum() + found.cell_logits.sum()).backward()
    silent = [name for name, p in proposals.named_parameters() if p.grad is None]
    assert silent == [
        f"backbone.model.swin.layernorm.{kind}" for kind in ("weight", "bias")
    ]  # of no stage that is read
    proposals.zero_grad()
