"""Which cells are taught what."""

import numpy as np
import torch

from piza.training.from_scratch.proposals.crops import CropSample
from piza.training.from_scratch.proposals.loss import (
    CellTargets,
    cell_loss,
    cell_weights,
    side_loss,
    sides_of,
)


def sample(doubtful: list[list[float]]) -> CropSample:
    return CropSample(
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((0, 4), np.float32),
        np.zeros((0, 2), np.float32),
        np.zeros((0, 3), np.float32),
        np.array(doubtful, np.float32).reshape(-1, 4),
        np.array([1.0, 0.1], np.float32),
        np.array([1.0, 0.0], np.float32),
    )


def test_inside_a_doubtful_box_only_what_the_source_labels_is_absent() -> None:
    centers = torch.tensor([[4.0, 4.0], [28.0, 28.0]])
    found = cell_weights(sample([[0, 0, 16, 16]]), centers)
    assert found.tolist() == [[1.0, 0.0], [1.0, np.float32(0.1)]]


def test_a_category_that_may_be_is_not_taught_as_absent() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    targets = CellTargets(torch.tensor([0]), torch.tensor([0]), torch.tensor([1.0]))
    cell_loss(logits, targets, torch.tensor([[1.0, 0.5, 0.0]]), torch.ones(1, 3)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] < 0 and logits.grad[0, 1] == 0 and logits.grad[0, 2] > 0


def test_sides_are_best_where_the_box_ends() -> None:
    sides = sides_of(
        torch.tensor([[10.0, 10.0, 8.0, 16.0]]), torch.tensor([[10.0, 10.0]]), torch.tensor([[4.0]])
    )
    assert sides.tolist() == [[1.0, 2.0, 1.0, 2.0]]
    right, wrong = torch.zeros(1, 4, 11), torch.zeros(1, 4, 11)
    right[0, [0, 2], 1] = right[0, [1, 3], 2] = 9.0
    wrong[0, :, 5] = 9.0
    assert side_loss(right.flatten(1), sides) < 0.1 < side_loss(wrong.flatten(1), sides)
