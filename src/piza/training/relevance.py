"""Losses between the sentence and the answer: where all things are, and what each is to the sentence.

"The red car nearest to a bus" is decided among red cars, by the buses. Taught by the answer alone, a query on another red
car learns as little from the sentence as one on a tree. Where a data set knows which things a sentence weighs, as scenes
do, the state of every query must also tell which of them it lies on. The head that reads it is for training only.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from piza.data.scenes.relevance import RELEVANCE
from piza.model.grounder import Grounding
from piza.training.losses import box_loss, corners, focal, level_of

ON, OFF = 0.4, 0.15  # a query lies on a thing from this IoU on, and on nothing up to that


@dataclass
class Relevance:
    """What the things of one window are to its sentences.

    things: (m, 4) cxcywh, normalized to the window, some of them outside. values: (sentences, m, 3), in the order of
    ROLES, 0.5 where it is doubtful. known: (sentences,) bool.
    """

    objects: Tensor
    values: Tensor
    known: Tensor


class RelevanceHead(nn.Module):
    """Reads three logits from the states of each decoder layer."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, len(RELEVANCE)) for _ in range(layers))

    def forward(self, states: Tensor) -> Tensor:
        """(layers, rows, queries, width) -> (layers, rows, queries, 3)."""
        return torch.stack([layer(state) for layer, state in zip(self.layers, states, strict=True)])


def objectness_loss(
    grounding: Grounding, relevance: list[Relevance], shapes: list[tuple[int, int]]
) -> dict[str, Tensor]:
    """Focal loss of a cell looking like a thing, and the box that it proposes: of one cell a thing, the one at its center."""
    zero = grounding.proposal_logits.new_zeros(())
    losses = {"thing": zero, "thing_box": zero}
    count = 0
    for logits, proposed, of_window in zip(
        grounding.objectness_logits, grounding.proposal_boxes, relevance, strict=True
    ):
        objects = of_window.objects.to(logits)
        objects = objects[((objects[:, :2] > 0) & (objects[:, :2] < 1)).all(-1)]
        if not len(objects):
            continue
        cell = cells_of(objects, shapes)
        may = proposed[cell].isfinite().all(-1)
        cell, objects = cell[may], objects[may]
        labels = torch.zeros_like(logits)
        labels[cell] = 1
        losses["thing"] = losses["thing"] + focal(logits, labels).sum()
        losses["thing_box"] = losses["thing_box"] + box_loss(proposed[cell].sigmoid(), objects)
        count += len(objects)
    return {name: loss / max(1, count) for name, loss in losses.items()}


def cells_of(objects: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    """The cell at the center of each thing (m, 4), at the level of its size: `loss.level_of`."""
    level = level_of(objects, shapes)
    sizes = torch.tensor(shapes, device=objects.device)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    height, width = sizes[level].unbind(1)
    x = (objects[:, 0] * width).long().clamp(max=width - 1)
    y = (objects[:, 1] * height).long().clamp(max=height - 1)
    return starts[level] + y * width + x


def relevance_loss(
    head: RelevanceHead, grounding: Grounding, relevance: list[Relevance]
) -> dict[str, Tensor]:
    """Binary cross entropy of the roles, the mean of those that have a role and of those that have not, sum over roles.

    Sentences must have queries of their own (`per_sentence_queries`). A query has the roles of the thing that its box overlaps most, and
    none where there is none; what is between or doubtful is left out.
    """
    layers, rows, queries, _ = grounding.states.shape
    blocks = rows // len(relevance)
    labels = grounding.boxes.new_full((layers, rows, queries, len(RELEVANCE)), 0.5)
    for number, of_window in enumerate(relevance):
        known = of_window.known.nonzero()[:, 0].to(labels.device)
        if len(known) and len(of_window.objects):
            mine = number * blocks + known
            values = of_window.values.to(labels)[known]
            labels[:, mine] = labels_of(grounding.boxes[:, mine], of_window.objects.to(labels), values)
    loss = functional.binary_cross_entropy_with_logits(head(grounding.states), labels, reduction="none")
    # One query in fifty is on an anchor: in a mean over all, saying no to everything is nearly right.
    return {"relevance": torch.stack([_mean(loss, labels == 1), _mean(loss, labels == 0)]).sum()}


def _mean(loss: Tensor, chosen: Tensor) -> Tensor:
    """Of the chosen ones of each role, summed over roles."""
    over = (0, 1, 2)
    return ((loss * chosen).sum(over) / chosen.sum(over).clamp(min=1)).sum()


@torch.no_grad()
def labels_of(boxes: Tensor, objects: Tensor, values: Tensor) -> Tensor:
    """boxes (layers, sentences, queries, 4), things (m, 4), values (sentences, m, 3) -> (layers, sentences, queries, 3)."""
    overlap, which = overlaps(boxes, objects).max(-1)
    found = values[torch.arange(len(values), device=which.device)[None, :, None], which]
    found = torch.where((overlap >= ON)[..., None], found, 0.5)
    return torch.where((overlap <= OFF)[..., None], 0.0, found)


def overlaps(boxes: Tensor, objects: Tensor) -> Tensor:
    """IoU of cxcywh boxes (..., 4) with things (m, 4): (..., m)."""
    a, b = corners(boxes)[..., None, :], corners(objects)
    inner = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    return inner / (boxes[..., None, 2:].prod(-1) + objects[:, 2:].prod(-1) - inner).clamp(min=1e-9)
