"""Teaching a first look that finds things and reads sentences against them: samples and losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from piza.data.frames import Frame
from piza.data.scenes.relevance import RELEVANCE
from piza.data.windows import relight
from piza.image import cut
from piza.model.piza import Piza
from piza.model.proposals import Proposals, anchors_of
from piza.search.zoom_path import frame_window
from piza.training.losses import focal, giou, level_of
from piza.training.relevance import cells_of, overlaps

NONE = -1  # the target of a sentence that is true of nothing in the picture
FORCED = 50.0  # added to the score of a cell that must be chosen
SURE = 0.5  # a box is of a thing from this IoU on


@dataclass
class ListedFrame:
    """A picture (height, width, 3) uint8 of the model's input size and what is said of it.

    sentences, target: each with the number of the thing it means, or NONE. things: (m, 4) cxcywh, normalized. looks: (m, words)
    1 for what may be said of a thing, None where that is not known. roles: (sentences, m, 3) in the order of ROLES, 0.5 where it
    is not known.
    """

    picture: NDArray[np.uint8]
    sentences: list[str]
    target: list[int]
    objects: NDArray[np.float32]
    attributes: NDArray[np.float32] | None
    relevance: NDArray[np.float32]


@dataclass
class ListedFrames:
    """Pictures of one size. forced: of which ones all things are to be listed, whatever is found."""

    frames_listed: list[ListedFrame]
    forced: list[bool]


def listed_frame(
    frame: Frame,
    size: tuple[int, int],
    words: dict[str, int],
    rng: np.random.Generator,
    most: int,
    absent: int = 2,
    light: bool = True,
) -> ListedFrame:
    """A frame resized to (width, height), with at most `most` sentences, some `absent` ones among them; in other light.

    words: the places of what may be said of a thing's looks.
    """
    width, height = frame.size
    few = min(absent, len(frame.absent))
    order = rng.permutation(len(frame.rows))[: most - few]
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
    said = [(row[0], place.get(number[row[2]], NONE)) for row in rows]
    relevance = [
        frame.relevance[int(i)][kept] if frame.relevance else np.full((len(kept), len(RELEVANCE)), 0.5)
        for i in order
    ]
    for i in rng.permutation(len(frame.absent))[:few]:
        said.append((frame.absent[i], NONE))
        relevance.append(np.full((len(kept), len(RELEVANCE)), 0.5))
    picture = cut(frame.picture, frame_window(frame.size), size)
    return ListedFrame(
        relight(picture, rng) if light else picture,
        [sentence for sentence, _ in said],
        [target for _, target in said],
        np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1).astype(
            np.float32
        ),
        attributes,
        np.stack(relevance).astype(np.float32),
    )


def listing_loss(model: Piza, batch: ListedFrames, read: bool = True) -> dict[str, Tensor]:
    """The losses of a first look that lists things, "loss" being their sum; without `read`, of the list alone."""
    assert model.proposals is not None and model.matcher is not None
    frames_listed = batch.frames_listed
    pixels = model.pixels([reading.picture for reading in frames_listed])
    found = model.proposals(pixels, lambda shapes: forced_cells(frames_listed, shapes, batch.forced))
    losses, matches = proposal_loss(found, frames_listed)
    total = sum(losses.values())
    if read:
        longest = max(len(reading.sentences) for reading in frames_listed)
        prompts = [
            [sentence]
            for reading in frames_listed
            for sentence in reading.sentences + ["nothing"] * (longest - len(reading.sentences))
        ]
        ids, mask, _ = model.plain_prompter(prompts)
        ids, mask = (t.view(len(frames_listed), longest, -1).to(model.device) for t in (ids, mask.bool()))
        answers, relevance = model.matcher(ids, mask, found)
        more = matching_loss(answers, relevance, frames_listed, matches)
        total = total + more["which"] + more["role_yes"] + more["role_no"]
        losses |= more
    return {**losses, "loss": torch.as_tensor(total)}


def forced_cells(
    frames_listed: Sequence[ListedFrame], shapes: list[tuple[int, int]], which: Sequence[bool]
) -> Tensor:
    """(pictures, cells) to be added to the scores: so that all things of some pictures are chosen, whatever is found."""
    also = torch.zeros(len(frames_listed), sum(h * w for h, w in shapes))
    for row, (reading, forced) in enumerate(zip(frames_listed, which, strict=True)):
        if forced:
            also[row, cells_of(torch.from_numpy(reading.objects), shapes)] = FORCED
    return also


def proposal_loss(
    found: Proposals, frames_listed: Sequence[ListedFrame]
) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
    """Losses of where things are and how they look, and for each picture the thing of each chosen cell (k,), -1 for none, and
    the IoU of its last box with every thing (k, m)."""
    zero = found.cell_logits.new_zeros(())
    losses = {"thing": zero, "box": zero, "attributes": zero}
    count = max(1, sum(len(r.objects) for r in frames_listed))
    matches = []
    owned = seen = 0
    anchors, number = anchors_of(found.shapes, found.states)
    for row, reading in enumerate(frames_listed):
        objects = torch.from_numpy(reading.objects).to(found.states)
        labels = torch.zeros_like(found.cell_logits[row])
        labels[cells_of(objects, found.shapes)] = 1
        losses["thing"] = losses["thing"] + focal(found.cell_logits[row], labels).sum() / count
        cells = found.cells[row]
        per_sentence_queries = (anchors[cells][:, None, :2] - objects[None, :, :2]) / (
            anchors[cells][:, None, 2:] / 3
        )
        per_sentence_queries = per_sentence_queries.abs().amax(-1)
        far = (number[cells][:, None] - level_of(objects, found.shapes)[None]).abs() > 1
        nearest, owner = per_sentence_queries.masked_fill(far, 1e3).min(1)
        overlap = overlaps(found.boxes[-1, row].detach(), objects)
        sure, by_box = overlap.max(1)
        owner = torch.where(nearest <= 1.0, owner, torch.where(sure >= SURE, by_box, NONE))
        has = owner >= 0
        owned += int(has.sum())
        for boxes in found.boxes[1:, row]:
            wanted = objects[owner[has]]
            losses["box"] = losses["box"] + (
                5 * (boxes[has] - wanted).abs().sum() + 2 * (1 - giou(boxes[has], wanted)).sum()
            )
        if reading.attributes is not None:
            labels = torch.from_numpy(reading.attributes).to(owner.device)[owner[has]]
            seen += int(has.sum())
            losses["attributes"] = losses["attributes"] + functional.binary_cross_entropy_with_logits(
                found.attributes[row, has], labels, reduction="sum"
            )
        matches.append((owner, overlap))
    losses["thing"] = 2 * losses["thing"]
    losses["box"] = losses["box"] / max(1, owned) / (len(found.boxes) - 1)
    losses["attributes"] = losses["attributes"] / max(1, seen)
    return losses, matches


def matching_loss(
    answers: Tensor,
    relevance: Tensor,
    frames_listed: Sequence[ListedFrame],
    matches: Sequence[tuple[Tensor, Tensor]],
) -> dict[str, Tensor]:
    """Cross entropy of the thing that is meant, or none of them, at every layer; and of the roles.

    answers (layers, pictures, sentences, k), roles (layers, pictures, sentences, k, 3), as `ExpressionMatcher` gives them.
    """
    right = answers.new_zeros(answers.shape[1:])
    labels = relevance.new_full(relevance.shape[1:], 0.5)
    asked = torch.zeros(answers.shape[1:3], dtype=torch.bool, device=answers.device)
    for row, (reading, (owner, overlap)) in enumerate(zip(frames_listed, matches, strict=True)):
        asked[row, : len(reading.sentences)] = True
        values = torch.from_numpy(reading.relevance).to(labels)
        has = owner >= 0
        labels[row, : len(values), has] = values[:, owner[has]]
        labels[row, : len(values), ~has] = torch.where(
            (values != 0.5).any(-1).any(-1)[:, None, None], 0.0, 0.5
        )
        for k, target in enumerate(reading.target):
            if target >= 0:
                right[row, k] = ((overlap[:, target] >= SURE) | (owner == target)).float()
    none = answers.new_zeros(answers.shape[:-1] + (1,))
    logits = torch.cat([answers, none], -1)
    right = torch.cat([right, (right.sum(-1, keepdim=True) == 0).float()], -1)
    chosen = logits.masked_fill(right == 0, -1e4).logsumexp(-1)
    choice = (logits.logsumexp(-1) - chosen)[:, asked].mean(1)
    loss = functional.binary_cross_entropy_with_logits(
        relevance, labels.expand_as(relevance), reduction="none"
    )
    losses = {"which": 2 * choice.mean()}
    yes, no = ((labels == value) & asked[..., None, None] for value in (1, 0))
    for name, where in (("role_yes", yes), ("role_no", no)):
        losses[name] = loss[:, where].mean() if where.any() else answers.new_zeros(())
    with torch.no_grad():
        there = asked & (right[..., -1] == 0)
        best = answers[-1].argmax(-1, keepdim=True)
        losses["right"] = right[..., :-1].gather(-1, best)[..., 0][there].sum() / max(1, int(there.sum()))
        losses["missing"] = 1 - there.float().sum() / max(
            1, sum(t >= 0 for reading in frames_listed for t in reading.target)
        )
    return losses
