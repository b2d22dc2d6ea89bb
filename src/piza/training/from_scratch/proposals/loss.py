"""Losses of the proposal network on the pretrained backbone.

Cells are taught one to many: those whose own box fits an object best and that are surest of its category (Feng et al. 2021,
TOOD, eq. 6 and 8), toward the quality of their boxes (Li et al. 2020, Generalized Focal Loss). What is listed is taught its box
and attributes where it lies on an object. What a source does not say is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from piza.model.nanodet import BINS
from piza.model.nanodet_proposals import CellProposals, cell_grid
from piza.model.tensor_boxes import giou
from piza.model.tensor_boxes import iou as overlaps
from piza.training.from_scratch.proposals.crops import UNKNOWN, CropSample

TOP = 7  # cells of an object
OWNED = 0.45  # a proposal is of an object from this IoU on


@dataclass
class CellTargets:
    """Of one image: cells (p,), the object of each (p,), and the quality that each should answer (p,)."""

    cells: Tensor
    owner: Tensor
    quality: Tensor


def crop_loss(found: CellProposals, samples: Sequence[CropSample]) -> dict[str, Tensor]:
    """Losses by name, "loss" being their weighted sum."""
    centers, strides = cell_grid(found.shapes, found.states)
    size = found.states.new_tensor(found.size)
    zero = found.states.new_zeros(())
    sums = dict.fromkeys(("cell", "cell_box", "cell_sides", "box", "attributes"), zero)
    total = owned = zero
    hits = objects = zero
    for row, sample in enumerate(samples):
        boxes = normalized(torch.from_numpy(sample.boxes), size)
        category = torch.from_numpy(sample.category).to(size)
        targets = assign(found, row, boxes, category, centers / size)
        total = total + targets.quality.sum()
        sums["cell"] = sums["cell"] + cell_loss(
            found.category_logits[row], targets, category, cell_weights(sample, centers)
        )
        wanted, cells = boxes[targets.owner], targets.cells
        fit = 1 - giou(found.cell_boxes[row, cells], wanted)
        sums["cell_box"] = sums["cell_box"] + (fit * targets.quality).sum()
        sides = sides_of(wanted * size.repeat(2), centers[cells], strides[cells])
        sums["cell_sides"] = (
            sums["cell_sides"] + (side_loss(found.distance_logits[row, cells], sides) * targets.quality).sum()
        )
        if not len(boxes):
            continue
        overlap = overlaps(found.boxes[-1, row].detach(), boxes)
        first = overlaps(found.boxes[0, row].detach(), boxes)
        best, owner = torch.maximum(overlap, first).max(1)
        has = best >= OWNED
        owned = owned + has.sum()
        hits, objects = hits + (overlap.max(0)[0] >= 0.5).sum(), objects + len(boxes)
        sums["box"] = sums["box"] + moved_loss(found.boxes[1:, row, has], boxes[owner[has]])
        known = torch.from_numpy(sample.attributes).to(size)[owner[has]]
        said = functional.binary_cross_entropy_with_logits(
            found.attributes[row, has], known.clamp(min=0), reduction="none"
        )
        sums["attributes"] = sums["attributes"] + (said * (known != UNKNOWN)).sum()
    scale = {name: total.clamp(min=1) for name in ("cell", "cell_box", "cell_sides")}
    losses = {
        name: value / torch.as_tensor(scale.get(name, torch.as_tensor(owned).clamp(min=1)))
        for name, value in sums.items()
    }
    weights = {"cell": 1.0, "cell_box": 2.0, "cell_sides": 0.25, "box": 1.0, "attributes": 0.5}
    losses["loss"] = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
    losses["held"] = torch.as_tensor(hits / torch.as_tensor(objects).clamp(min=1))
    return losses


def normalized(boxes: Tensor, size: Tensor) -> Tensor:
    """Xyxy in pixels -> cxcywh, normalized."""
    low, high = boxes[:, :2] / size, boxes[:, 2:] / size
    return torch.cat([(low + high) / 2, high - low], 1)


@torch.no_grad()
def assign(found: CellProposals, row: int, boxes: Tensor, category: Tensor, centers: Tensor) -> CellTargets:
    """Boxes (m, 4) cxcywh, category (m, categories), centers (cells, 2), all normalized."""
    if not len(boxes):
        empty = torch.zeros(0, dtype=torch.long)
        return CellTargets(empty, empty, boxes.new_zeros(0))
    apart = (centers[:, None] - boxes[None, :, :2]).abs()
    inside = (apart < boxes[None, :, 2:] / 2).all(-1)
    fine = found.shapes[0][0] * found.shapes[0][1]
    cell = 0.5 / boxes.new_tensor([found.shapes[0][1], found.shapes[0][0]])
    inside[:fine] |= (apart[:fine] <= cell).all(-1)  # that of its center, however small it is
    overlap = overlaps(found.cell_boxes[row], boxes)
    chance = found.category_logits[row].sigmoid()
    sure = (chance[:, None] * (category > 0)).amax(-1)
    return best_cells((sure.sqrt() * overlap**4 + 1e-9) * inside, overlap)


def best_cells(metric: Tensor, overlap: Tensor) -> CellTargets:
    """The cells that fit each box best: metric (cells, m), 0 where a cell may not have a box; overlap (cells, m) of their boxes."""
    value, cells = metric.topk(min(TOP, len(metric)), dim=0)
    best = value.max(0)[0]
    quality = value / best * overlap.gather(0, cells).max(0)[0].clamp(min=0.2)
    owner = torch.arange(metric.shape[1]).expand_as(cells)
    kept = value > 0
    cells, owner, quality = cells[kept], owner[kept], quality[kept]
    # Of a cell that several objects want, the one that its box fits best has it.
    order = torch.argsort(overlap[cells, owner])
    last = torch.full((len(metric),), -1, dtype=torch.long)
    last[cells[order]] = order
    chosen = last[last >= 0]
    return CellTargets(cells[chosen], owner[chosen], quality[chosen])


def moved_loss(moved: Tensor, wanted: Tensor) -> Tensor:
    """Of the boxes that each layer moved (layers, p, 4) to where they should be (p, 4): summed, the mean of the layers."""
    apart = ((moved - wanted).abs() / wanted[:, 2:].repeat(1, 2)).clamp(max=2).sum(-1)
    loss = torch.stack([2 * (1 - giou(boxes, wanted)) for boxes in moved]) + apart
    return loss.sum() / len(moved)


def cell_weights(sample: CropSample, centers: Tensor) -> Tensor:
    """(cells, categories) the weight of saying that a category is not there."""
    doubtful = torch.from_numpy(sample.doubtful)
    inside = (
        ((centers[:, None] >= doubtful[:, :2] - 4) & (centers[:, None] <= doubtful[:, 2:] + 4)).all(-1).any(1)
    )
    absent, unclear = torch.from_numpy(sample.absent), torch.from_numpy(sample.absent_doubtful)
    return torch.where(inside[:, None], unclear, absent)


def cell_loss(logits: Tensor, targets: CellTargets, category: Tensor, weights: Tensor) -> Tensor:
    """Quality focal loss, summed. Of the categories that an object may be, the likely one is taught, or where none is
    sure the one that the cell holds for the likeliest; of the others nothing is said."""
    labels, weights = torch.zeros_like(logits), weights.clone()
    mine = category[targets.owner]
    weights[targets.cells] = torch.where(mine > 0, 0.0, weights[targets.cells].clamp(min=0.5))
    best = torch.where(mine > 0, logits[targets.cells].detach() + 100 * (mine == 1), -1e4).argmax(1)
    labels[targets.cells, best] = targets.quality
    weights[targets.cells, best] = 1
    loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (loss * (logits.detach().sigmoid() - labels).abs() ** 2 * weights).sum()


def sides_of(boxes: Tensor, centers: Tensor, strides: Tensor) -> Tensor:
    """Distances left, top, right, bottom of boxes (p, 4) cxcywh in pixels, in strides, within what can be answered."""
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    return (torch.cat([centers - low, high - centers], 1) / strides).clamp(0, BINS - 1 - 0.01)


def side_loss(logits: Tensor, sides: Tensor) -> Tensor:
    """Distribution focal loss (p,) of logits (p, 4 * BINS) for distances (p, 4)."""
    logs = logits.view(-1, 4, BINS).log_softmax(-1)
    below = sides.floor().long()
    share = sides - below
    low, high = (logs.gather(-1, (below + step)[..., None])[..., 0] for step in (0, 1))
    return torch.sum(-((1 - share) * low + share * high), -1)
