"""Auxiliary losses of the base model: where all objects are, and what each is to a sentence.

"The red car nearest to a bus" is decided among red cars, by the buses. Taught by the answer alone, a query on another red
car learns as little from the sentence as one on a tree. Where a data set knows which objects a sentence weighs, as scenes do,
the state of every query must also tell which of them it lies on. The head that reads it is for training only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from piza.data.scenes.relevance import RELEVANCE
from piza.data.windows import TrainingWindow
from piza.model.grounder import Grounding
from piza.model.tensor_boxes import iou
from piza.training.losses import box_loss, cell_at_center, focal

ON_OBJECT, OFF_OBJECT = 0.4, 0.15  # a query lies on an object from this IoU on, and on none up to that


@dataclass
class Relevance:
    """What the objects of one window are to its sentences.

    Attributes:
        objects: (m, 4) cxcywh, normalized to the window, some of them outside.
        values: (sentences, m, 3), in the order of `RELEVANCE`, 0.5 where it is doubtful.
        known: (sentences,) bool.
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


def relevance_of(window: TrainingWindow) -> Relevance:
    """What is known about the objects of a window's frame, normalized to the window."""
    known = [relevance is not None for relevance in window.relevance]
    unknown = np.full((len(window.frame.objects), len(RELEVANCE)), 0.5)
    values = [unknown if relevance is None else relevance for relevance in window.relevance]
    return Relevance(
        torch.from_numpy(window.normalized(list(window.frame.objects))),
        torch.from_numpy(np.stack(values).astype(np.float32)),
        torch.tensor(known),
    )


def objectness_loss(
    grounding: Grounding, relevance: Sequence[Relevance], shapes: list[tuple[int, int]]
) -> dict[str, Tensor]:
    """Focal loss of a cell looking like an object, and of the box that it proposes: one cell an object, that at its center.

    Returns "object" and "object_box", each divided by the number of objects whose center the window shows.
    """
    zero = grounding.proposal_logits.new_zeros(())
    losses = {"object": zero, "object_box": zero}
    count = 0
    for logits, proposed, of_window in zip(
        grounding.objectness_logits, grounding.proposal_boxes, relevance, strict=True
    ):
        objects = of_window.objects.to(logits)
        objects = objects[((objects[:, :2] > 0) & (objects[:, :2] < 1)).all(-1)]
        if not len(objects):
            continue
        cell = cell_at_center(objects, shapes)
        finite = proposed[cell].isfinite().all(-1)
        cell, objects = cell[finite], objects[finite]
        labels = torch.zeros_like(logits)
        labels[cell] = 1
        losses["object"] = losses["object"] + focal(logits, labels).sum()
        losses["object_box"] = losses["object_box"] + box_loss(proposed[cell].sigmoid(), objects)
        count += len(objects)
    return {name: loss / max(1, count) for name, loss in losses.items()}


def relevance_loss(
    head: RelevanceHead, grounding: Grounding, relevance: Sequence[Relevance]
) -> dict[str, Tensor]:
    """Binary cross entropy of relevance: the mean of positives plus the mean of negatives, summed over the three kinds.

    Sentences must have queries of their own (`per_sentence_queries`). A query has the relevance of the object that its box
    overlaps most, and none where there is no such object; what is between or doubtful is left out.
    """
    layers, rows, queries, _ = grounding.states.shape
    blocks = rows // len(relevance)
    labels = grounding.boxes.new_full((layers, rows, queries, len(RELEVANCE)), 0.5)
    for number, of_window in enumerate(relevance):
        known = of_window.known.nonzero()[:, 0].to(labels.device)
        if len(known) and len(of_window.objects):
            own = number * blocks + known
            values = of_window.values.to(labels)[known]
            labels[:, own] = labels_of(grounding.boxes[:, own], of_window.objects.to(labels), values)
    loss = functional.binary_cross_entropy_with_logits(head(grounding.states), labels, reduction="none")
    # One query in fifty is on an anchor: in a mean over all, a constant "no" is nearly right.
    return {"relevance": torch.stack([_mean(loss, labels == 1), _mean(loss, labels == 0)]).sum()}


def _mean(loss: Tensor, chosen: Tensor) -> Tensor:
    """Of the chosen entries of each kind of relevance, summed over kinds."""
    over = (0, 1, 2)
    return ((loss * chosen).sum(over) / chosen.sum(over).clamp(min=1)).sum()


@torch.no_grad()
def labels_of(boxes: Tensor, objects: Tensor, values: Tensor) -> Tensor:
    """The relevance that each query's box stands for.

    boxes (layers, sentences, queries, 4), objects (m, 4), values (sentences, m, 3) -> (layers, sentences, queries, 3).
    """
    overlap, which = iou(boxes, objects).max(-1)
    found = values[torch.arange(len(values), device=which.device)[None, :, None], which]
    found = torch.where((overlap >= ON_OBJECT)[..., None], found, 0.5)
    return torch.where((overlap <= OFF_OBJECT)[..., None], 0.0, found)
