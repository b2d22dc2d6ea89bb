"""Training a first look that lists objects and matches sentences against them: samples and losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from piza.data.frames import Frame
from piza.data.scenes.relevance import RELEVANCE
from piza.data.windows import photometric_augmentation
from piza.image import cut
from piza.model.piza import Piza
from piza.model.proposals import Proposals, anchors_of
from piza.model.tensor_boxes import giou, iou
from piza.search.zoom_path import frame_window
from piza.training.losses import cell_at_center, focal, level_of

NONE = -1  # the target of a sentence that is true of nothing in the image
FORCED_LOGIT = 50.0  # added to the score of a cell that must be chosen
MATCH_IOU = 0.5  # a box is of an object from this IoU on


@dataclass
class ListedFrame:
    """An image of the model's input size, its objects, and sentences about them.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        sentences: what is asked.
        target: for each sentence the index of its object, or NONE.
        objects: (m, 4) cxcywh, normalized to the frame.
        attributes: (m, words) 1 where a word describes an object's appearance, None where that is not known.
        relevance: (sentences, m, 3) in the order of `RELEVANCE`, 0.5 where it is not known.
    """

    image: NDArray[np.uint8]
    sentences: list[str]
    target: list[int]
    objects: NDArray[np.float32]
    attributes: NDArray[np.float32] | None
    relevance: NDArray[np.float32]


@dataclass
class ListedFrames:
    """Frames of one size. `forced`: in which of them all objects are listed, whatever the scores are."""

    frames_listed: list[ListedFrame]
    forced: list[bool]


def listed_frame(
    frame: Frame,
    size: tuple[int, int],
    words: dict[str, int],
    rng: np.random.Generator,
    max_sentences: int,
    max_absent: int = 2,
    augment: bool = True,
) -> ListedFrame:
    """A frame resized to (width, height), with at most `max_sentences`, up to `max_absent` of them true of nothing.

    `words`: the output index of each attribute word. `augment`: whether the image is photometrically augmented.
    """
    width, height = frame.size
    num_absent = min(max_absent, len(frame.absent))
    order = rng.permutation(len(frame.rows))[: max_sentences - num_absent]
    rows = [frame.rows[int(i)] for i in order]
    known = len(frame.objects) > 0
    if known:
        boxes = np.asarray(frame.objects, dtype=np.float64)
        number = {row[2]: row[2] for row in rows}
    else:
        owners = sorted({row[2] for row in frame.rows})
        boxes = np.array([next(row[1] for row in frame.rows if row[2] == owner) for owner in owners])
        number = {owner: i for i, owner in enumerate(owners)}
    inside = np.minimum(boxes[:, 2:], [width, height]) - np.maximum(boxes[:, :2], 0)
    share = np.clip(inside, 0, None).prod(1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-9)
    kept = np.flatnonzero(share > 0.5)
    place = {int(old): new for new, old in enumerate(kept)}
    boxes = np.clip(boxes[kept], 0, np.tile([width, height], 2)) / np.tile([width, height], 2)
    attributes = None
    if frame.attributes:
        attributes = np.zeros((len(kept), len(words)), np.float32)
        for new, old in enumerate(kept):
            attributes[new, [words[w] for w in frame.attributes[old] if w in words]] = 1
    asked = [(row[0], place.get(number[row[2]], NONE)) for row in rows]
    relevance = [
        frame.relevance[int(i)][kept] if frame.relevance else np.full((len(kept), len(RELEVANCE)), 0.5)
        for i in order
    ]
    for i in rng.permutation(len(frame.absent))[:num_absent]:
        asked.append((frame.absent[i], NONE))
        relevance.append(np.full((len(kept), len(RELEVANCE)), 0.5))
    image = cut(frame.image, frame_window(frame.size), size)
    return ListedFrame(
        photometric_augmentation(image, rng) if augment else image,
        [sentence for sentence, _ in asked],
        [target for _, target in asked],
        np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1).astype(
            np.float32
        ),
        attributes,
        np.stack(relevance).astype(np.float32),
    )


def listing_loss(model: Piza, batch: ListedFrames, match: bool = True) -> dict[str, Tensor]:
    """The losses of a first look that lists objects, "loss" being their sum; without `match`, of the list alone.

    Also returned, but no part of the sum: "right", the share of listed targets that are chosen, and "missing", the share of
    targets that are not listed.
    """
    assert model.proposals is not None and model.matcher is not None
    frames_listed = batch.frames_listed
    images = [listed.image for listed in frames_listed]
    found = model.proposals(
        model.pixels(images), lambda shapes: forced_cells(frames_listed, shapes, batch.forced)
    )
    if match:
        found = model.with_regions(found, images)
    losses, matches = proposal_loss(found, frames_listed)
    total = sum(losses.values())
    if match:
        longest = max(len(listed.sentences) for listed in frames_listed)
        prompts = [
            [sentence]
            for listed in frames_listed
            for sentence in listed.sentences + ["nothing"] * (longest - len(listed.sentences))
        ]
        ids, mask, _ = model.plain_prompter(prompts)
        ids, mask = (t.view(len(frames_listed), longest, -1).to(model.device) for t in (ids, mask.bool()))
        answers, relevance = model.matcher(ids, mask, found)
        more = matching_loss(answers, relevance, frames_listed, matches)
        total = total + more["which"] + more["relevant"] + more["irrelevant"]
        losses |= more
    return {**losses, "loss": torch.as_tensor(total)}


def forced_cells(
    frames_listed: Sequence[ListedFrame], shapes: list[tuple[int, int]], which: Sequence[bool]
) -> Tensor:
    """(frames, cells) to be added to the scores, so that all objects of the frames in `which` are chosen."""
    bonus = torch.zeros(len(frames_listed), sum(h * w for h, w in shapes))
    for row, (listed, forced) in enumerate(zip(frames_listed, which, strict=True)):
        if forced:
            bonus[row, cell_at_center(torch.from_numpy(listed.objects), shapes)] = FORCED_LOGIT
    return bonus


def proposal_loss(
    found: Proposals, frames_listed: Sequence[ListedFrame]
) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
    """Losses of where objects are ("object", "box") and how they look ("attributes").

    Also returned, for each frame: the object of each chosen cell (k,), NONE where there is none, and the IoU of the cell's
    last box with every object (k, m).
    """
    zero = found.cell_logits.new_zeros(())
    losses = {"object": zero, "box": zero, "attributes": zero}
    count = max(1, sum(len(r.objects) for r in frames_listed))
    matches = []
    num_owned = num_described = 0
    anchors, number = anchors_of(found.shapes, found.states)
    for row, listed in enumerate(frames_listed):
        objects = torch.from_numpy(listed.objects).to(found.states)
        labels = torch.zeros_like(found.cell_logits[row])
        labels[cell_at_center(objects, found.shapes)] = 1
        losses["object"] = losses["object"] + focal(found.cell_logits[row], labels).sum() / count
        cells = found.cells[row]
        distance = (anchors[cells][:, None, :2] - objects[None, :, :2]) / (anchors[cells][:, None, 2:] / 3)
        distance = distance.abs().amax(-1)
        far = (number[cells][:, None] - level_of(objects, found.shapes)[None]).abs() > 1
        nearest, owner = distance.masked_fill(far, 1e3).min(1)
        overlap = iou(found.boxes[-1, row].detach(), objects)
        best, by_box = overlap.max(1)
        owner = torch.where(nearest <= 1.0, owner, torch.where(best >= MATCH_IOU, by_box, NONE))
        has = owner >= 0
        num_owned += int(has.sum())
        for boxes in found.boxes[1:, row]:
            expected = objects[owner[has]]
            losses["box"] = losses["box"] + (
                5 * (boxes[has] - expected).abs().sum() + 2 * (1 - giou(boxes[has], expected)).sum()
            )
        if listed.attributes is not None:
            labels = torch.from_numpy(listed.attributes).to(owner.device)[owner[has]]
            num_described += int(has.sum())
            losses["attributes"] = losses["attributes"] + functional.binary_cross_entropy_with_logits(
                found.attributes[row, has], labels, reduction="sum"
            )
        matches.append((owner, overlap))
    losses["object"] = 2 * losses["object"]
    losses["box"] = losses["box"] / max(1, num_owned) / (len(found.boxes) - 1)
    losses["attributes"] = losses["attributes"] / max(1, num_described)
    return losses, matches


def matching_loss(
    answers: Tensor,
    relevance: Tensor,
    frames_listed: Sequence[ListedFrame],
    matches: Sequence[tuple[Tensor, Tensor]],
) -> dict[str, Tensor]:
    """Cross entropy of the object that is meant, or none, at every layer ("which"), and of relevance, the mean over positives
    and over negatives ("relevant", "irrelevant").

    answers (layers, frames, sentences, k), relevance (layers, frames, sentences, k, 3), as `ExpressionMatcher` gives them;
    `matches` as `proposal_loss` returns them.
    """
    right = answers.new_zeros(answers.shape[1:])
    labels = relevance.new_full(relevance.shape[1:], 0.5)
    asked = torch.zeros(answers.shape[1:3], dtype=torch.bool, device=answers.device)
    for row, (listed, (owner, overlap)) in enumerate(zip(frames_listed, matches, strict=True)):
        asked[row, : len(listed.sentences)] = True
        values = torch.from_numpy(listed.relevance).to(labels)
        has = owner >= 0
        labels[row, : len(values), has] = values[:, owner[has]]
        labels[row, : len(values), ~has] = torch.where(
            (values != 0.5).any(-1).any(-1)[:, None, None], 0.0, 0.5
        )
        for k, target in enumerate(listed.target):
            if target >= 0:
                right[row, k] = ((overlap[:, target] >= MATCH_IOU) | (owner == target)).float()
    none = answers.new_zeros(answers.shape[:-1] + (1,))
    logits = torch.cat([answers, none], -1)
    right = torch.cat([right, (right.sum(-1, keepdim=True) == 0).float()], -1)
    chosen = logits.masked_fill(right == 0, -1e4).logsumexp(-1)
    choice = (logits.logsumexp(-1) - chosen)[:, asked].mean(1)
    loss = functional.binary_cross_entropy_with_logits(
        relevance, labels.expand_as(relevance), reduction="none"
    )
    losses = {"which": 2 * choice.mean()}
    for name, value in (("relevant", 1), ("irrelevant", 0)):
        where = (labels == value) & asked[..., None, None]
        losses[name] = loss[:, where].mean() if where.any() else answers.new_zeros(())
    with torch.no_grad():
        there = asked & (right[..., -1] == 0)
        best = answers[-1].argmax(-1, keepdim=True)
        losses["right"] = right[..., :-1].gather(-1, best)[..., 0][there].sum() / max(1, int(there.sum()))
        losses["missing"] = 1 - there.float().sum() / max(
            1, sum(t >= 0 for listed in frames_listed for t in listed.target)
        )
    return losses
