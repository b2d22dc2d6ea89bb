"""Losses of a look: Hungarian matching on every decoder layer, and a dense one-to-many loss on the encoder's proposals.

The decoder may answer all sentences of a window together, or each with queries of its own (`per_sentence_queries`). Boxes are
cxcywh normalized to the window. Logits are one number a sentence (block of the prompt), averaged over its tokens.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from piza.model.grounder import Grounding
from piza.model.tensor_boxes import corners, giou


@dataclass
class Targets:
    """What the model should answer in one window, for n targets.

    Attributes:
        positive: (n, blocks) 1 where a sentence of the prompt is true of a target. A sentence of no target teaches "not
            here", and a target may have several sentences.
        answer: (n, 4) the box to predict: the next window, or the object itself; cxcywh normalized to the window.
        target: (n, 4) the object itself, in the same form. Proposals are taught at its place, whatever the answer's size.
    """

    positive: Tensor
    answer: Tensor
    target: Tensor

    def to(self, device: torch.device) -> "Targets":
        """The same on a device."""
        return Targets(self.positive.to(device), self.answer.to(device), self.target.to(device))


def focal(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss, elementwise (Lin et al. 2017, eq. 5)."""
    loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    probability = logits.sigmoid()
    miss = probability * (1 - labels) + (1 - probability) * labels
    return (alpha * labels + (1 - alpha) * (1 - labels)) * miss**gamma * loss


def class_cost(logits: Tensor) -> Tensor:
    """The focal loss of a positive less that of a negative, elementwise."""
    probability = logits.sigmoid()
    yes = 0.25 * (1 - probability) ** 2 * -(probability + 1e-8).log()
    return yes - 0.75 * probability**2 * -(1 - probability + 1e-8).log()


@torch.no_grad()
def match_rows(logits: Tensor, boxes: Tensor, row: Tensor, answer: Tensor) -> Tensor:
    """Pairs each answer (n, 4) of a row (n,) with a query of that row, no two of a row with the same one.

    logits: (rows, queries); boxes: (rows, queries, 4). Returns (n,) queries.
    """
    boxes, expected = boxes[row], answer[:, None]
    cost = 2 * class_cost(logits[row]) + 5 * (boxes - expected).abs().sum(-1) - 2 * giou(boxes, expected)
    query = cost.argmin(1)
    # Most sentences have one target; only for the others is there an assignment to solve.
    for several in (row.bincount() > 1).nonzero()[:, 0]:
        mine = (row == several).nonzero()[:, 0]
        which, taken = linear_sum_assignment(cost[mine].cpu().numpy())
        query[mine[torch.as_tensor(which)]] = torch.as_tensor(taken, device=query.device)
    return query


def match(logits: Tensor, boxes: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Pairs queries with targets of one window: cost = class (2) + L1 (5) + GIoU (2). Returns (query, target) indices."""
    with torch.no_grad():
        named = class_cost(logits[:, : targets.positive.shape[1]])
        named = named @ (targets.positive / targets.positive.sum(1, keepdim=True)).T
        cost = 2 * named + 5 * torch.cdist(boxes, targets.answer, p=1)
        cost = cost - 2 * giou(boxes[:, None], targets.answer[None])
        query, target = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(query, device=boxes.device), torch.as_tensor(target, device=boxes.device)


def cell_at_center(objects: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    """(m,) the index of the cell at the center of each object (m, 4), at its level (`level_of`), over all levels' cells."""
    level = level_of(objects, shapes)
    sizes = torch.tensor(shapes, device=objects.device)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    height, width = sizes[level].unbind(1)
    x = (objects[:, 0] * width).long().clamp(max=width - 1)
    y = (objects[:, 1] * height).long().clamp(max=height - 1)
    return starts[level] + y * width + x


def level_of(boxes: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    """(n,) the level whose cells are between a third and a sixth of a box (n, 4) wide, as far as there is one."""
    height, width = shapes[0]
    size = (boxes[:, 2] * width * boxes[:, 3] * height).clamp(min=1e-6).sqrt()  # in finest cells
    return (size / 3).clamp(min=1).log2().floor().clamp(max=len(shapes) - 1).long()


def dense_positives(targets: Targets, shapes: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """The few cells nearest each object's center, at the level of its size. Returns (cell, target) indices."""
    cells, owners = [], []
    start = 0
    levels = level_of(targets.target, shapes)
    for level, (height, width) in enumerate(shapes):
        chosen = (levels == level).nonzero()[:, 0]
        if len(chosen):
            scale = targets.target.new_tensor([width, height])
            center = targets.target[chosen, :2] * scale - 0.5
            base = center.floor()
            for dx in (0, 1):
                for dy in (0, 1):
                    xy = base + center.new_tensor([dx, dy])
                    inside = ((xy >= 0) & (xy < scale)).all(-1)
                    cells.append((start + xy[inside, 1] * width + xy[inside, 0]).long())
                    owners.append(chosen[inside])
        start += height * width
    if not cells:
        empty = torch.zeros(0, dtype=torch.long, device=targets.target.device)
        return empty, empty
    return torch.cat(cells), torch.cat(owners)


NEAR = 0.6  # IoU with the planned next window from which another window is not counted as wrong


@torch.no_grad()
def near_answers(boxes: Tensor, targets: Targets, columns: int) -> Tensor:
    """(boxes, columns) 1 where a box is nearly the next window of a sentence's path (IoU >= NEAR).

    A window beside the planned one shows the object as well, and the next look decides; so such a box is not wrong. Where
    the answer is the object itself, only one box is right.
    """
    windows = targets.answer[:, 2:].prod(1) > 2 * targets.target[:, 2:].prod(1)
    if not windows.any():
        return boxes.new_zeros(len(boxes), columns)
    positive = torch.zeros(len(targets.positive), columns, device=boxes.device)
    positive[windows, : targets.positive.shape[1]] = targets.positive[windows]
    a, b = corners(boxes)[:, None], corners(targets.answer)[None]
    overlap = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    union = boxes[:, None, 2:].prod(-1) + targets.answer[None, :, 2:].prod(-1) - overlap
    return ((overlap >= NEAR * union).float() @ positive).clamp(max=1)


def counted(labels: Tensor, near: Tensor) -> Tensor:
    """1 where focal loss counts: where a box is the right one, or not even near it."""
    return torch.maximum(labels, 1 - near)


def box_loss(predicted: Tensor, expected: Tensor) -> Tensor:
    """L1 (5) + GIoU (2), summed over boxes."""
    return 5 * (predicted - expected).abs().sum() + 2 * (1 - giou(predicted, expected)).sum()


def choice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of choosing any of the right ones along the last axis, mean over the rows that have a right one.

    Used over the boxes for each sentence (which of the look-alikes is meant) and over the sentences of the prompt for each
    box (is it the red or the blue car). Focal loss sees each pair by itself and learns both slowly.
    """
    has = labels.any(-1)
    if not has.any():
        return logits.new_zeros(())
    logits, labels = logits[has], labels[has]
    return (logits.logsumexp(-1) - logits.masked_fill(labels == 0, float("-inf")).logsumexp(-1)).mean()


def look_loss(
    grounding: Grounding,
    targets: list[Targets],
    shapes: list[tuple[int, int]],
    per_sentence_queries: bool = False,
) -> dict[str, Tensor]:
    """Losses of a batch of looks, each divided by the number of targets; "loss" is their sum.

    The decoder's layers together weigh twice what the proposals do, however many they are. `shapes`: (height, width) of the
    levels of features; `per_sentence_queries`: as it was given to `grounder.ground`.
    """
    present = grounding.proposal_logits.new_zeros(len(targets), 1, grounding.proposal_logits.shape[-1])
    for i, t in enumerate(targets):
        present[i, 0, : t.positive.shape[1]] = 1
    losses = (separate_queries_loss if per_sentence_queries else shared_queries_loss)(
        grounding, targets, present
    )
    for name in losses:
        losses[name] = losses[name] * (2 / len(grounding.logits))
    losses |= dense_loss(grounding, targets, shapes, present)
    losses["loss"] = torch.stack(list(losses.values())).sum()
    return losses


def _hidden(present: Tensor) -> Tensor:
    return torch.where(present == 1, 0.0, -1e4)  # padding sentences cannot be chosen


def shared_queries_loss(grounding: Grounding, targets: list[Targets], present: Tensor) -> dict[str, Tensor]:
    """The decoder's losses, summed over its layers, where each query answers all sentences of its window."""
    count = max(1, sum(int(t.positive.sum()) for t in targets))
    num_targets = max(1, sum(len(t.positive) for t in targets))
    losses = {name: grounding.logits.new_zeros(()) for name in ("class", "which", "name", "box")}
    for logits, boxes in zip(grounding.logits, grounding.boxes, strict=True):
        labels = torch.zeros_like(logits)
        near = torch.zeros_like(logits)
        for i, t in enumerate(targets):
            if len(t.positive):
                near[i] = near_answers(boxes[i], t, labels.shape[-1])
                query, target = match(logits[i], boxes[i], t)
                labels[i, query, : t.positive.shape[1]] = t.positive[target]
                losses["box"] = losses["box"] + box_loss(boxes[i, query], t.answer[target]) / num_targets
        losses["class"] = (
            losses["class"] + 2 * (focal(logits, labels) * present * counted(labels, near)).sum() / count
        )
        labels = torch.maximum(labels, near)
        losses["which"] = losses["which"] + choice_loss(logits.transpose(1, 2), labels.transpose(1, 2))
        losses["name"] = losses["name"] + 2 * choice_loss(logits + _hidden(present), labels)
    return losses


def separate_queries_loss(grounding: Grounding, targets: list[Targets], present: Tensor) -> dict[str, Tensor]:
    """The same where each sentence has queries of its own: row i * blocks + k of the decoder's is sentence k of window i."""
    blocks = present.shape[-1]
    rows, answers = [], []
    near = torch.zeros_like(grounding.logits[..., 0])
    for i, t in enumerate(targets):
        target, sentence = t.positive.nonzero(as_tuple=True)
        rows.append(i * blocks + sentence)
        answers.append(t.answer[target])
        if (t.answer[:, 2:].prod(1) > 2 * t.target[:, 2:].prod(1)).any():
            for layer, boxes in enumerate(grounding.boxes):
                for k in range(t.positive.shape[1]):
                    near[layer, i * blocks + k] = near_answers(boxes[i * blocks + k], t, blocks)[:, k]
    row, answer = torch.cat(rows), torch.cat(answers)
    count = max(1, len(row))
    is_sentence = present[:, 0].flatten()[:, None]
    losses = {name: grounding.logits.new_zeros(()) for name in ("class", "which", "box")}
    for logits, boxes, nearly in zip(grounding.logits[..., 0], grounding.boxes, near, strict=True):
        labels = torch.zeros_like(logits)
        if len(row):
            query = match_rows(logits, boxes, row, answer)
            labels[row, query] = 1
            losses["box"] = losses["box"] + box_loss(boxes[row, query], answer) / count
        weight = counted(labels, nearly) * is_sentence
        losses["class"] = losses["class"] + 2 * (focal(logits, labels) * weight).sum() / count
        losses["which"] = losses["which"] + choice_loss(logits, torch.maximum(labels, nearly))
    return losses


def dense_loss(
    grounding: Grounding, targets: list[Targets], shapes: list[tuple[int, int]], present: Tensor
) -> dict[str, Tensor]:
    """The dense losses of the proposals, which answer all sentences of a window together."""
    labels = torch.zeros_like(grounding.proposal_logits)
    near = torch.zeros_like(labels)
    predicted, expected = [], []
    for i, t in enumerate(targets):
        if len(t.positive):
            near[i] = near_answers(grounding.proposal_boxes[i].sigmoid(), t, labels.shape[-1])
        cell, owner = dense_positives(t, shapes)
        may = grounding.proposal_boxes[i, cell].isfinite().all(-1)
        cell, owner = cell[may], owner[may]
        for k in range(t.positive.shape[1]):  # two objects may share a cell
            labels[i, cell[t.positive[owner, k] == 1], k] = 1
        predicted.append(grounding.proposal_boxes[i, cell].sigmoid())
        expected.append(t.answer[owner])
    positives = max(1, sum(map(len, predicted)))
    weight = present * counted(labels, near)
    losses = {"dense_class": 2 * (focal(grounding.proposal_logits, labels) * weight).sum() / positives}
    labels = torch.maximum(labels, near)
    losses["dense_which"] = choice_loss(grounding.proposal_logits.transpose(1, 2), labels.transpose(1, 2))
    losses["dense_name"] = 2 * choice_loss(grounding.proposal_logits + _hidden(present), labels)
    losses["dense_box"] = box_loss(torch.cat(predicted), torch.cat(expected)) / positives
    return losses
