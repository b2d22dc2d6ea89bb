"""Batches of what the proposal network really lists, with sentences about drawn scenes and real photos."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piza.boxes import iou_matrix_xyxy
from piza.training.from_scratch.lists.cached import Cache, read_cache
from piza.training.from_scratch.lists.listed_frames import Frames
from piza.training.from_scratch.lists.object_lists import (
    Blur,
    ListTeller,
    ObjectList,
    swap_sides,
)
from piza.training.from_scratch.lists.reader import ListedFrames
from piza.training.loader import MicroBatches

SURE = 0.5  # IoU from which on a proposal is of an object
CLOSE = 0.85  # of several, those count that overlap it so well, as a share of the best
ABSENT = 0.18  # share of sentences that are true of nothing in the frame
# A step: cached scenes, photos with generated and with written sentences, with names of regions and with what these lie beside
# (lists, sentences a list, proposals at most); then lists without images (lists, entries, sentences, weight of their loss).
LISTED = {
    "scenes": (4, 12, 96),
    "photos": (6, 10, 112),
    "written": (20, 20, 112),
    "named": (10, 12, 112),
    "beside": (15, 12, 112),
}
TOLD = {"sorec": (24, 16, 8, 1.0), "drawn": (2, 40, 12, 0.3)}
FORGOTTEN, LEFT_OUT, MOVED = 0.06, 0.03, 0.02  # shares of words and features; box noise as a share of the box
BLURS = {"drawn": Blur(), "sorec": Blur(keep=(0.25, 0.9))}


class ListedBatches:
    """Batches of cached lists, and of lists without images; a function of the step and the process.

    unknown: the id of a word that is not known. share: of the lists of a step, at least one of each kind. weights: how many times as
    often the photos of a source are taken. shares: what LISTED and TOLD say of a step. read: the cache of a folder.
    """

    def __init__(
        self,
        cache: Path,
        frames: dict[str, Frames],
        told: dict[str, list[ObjectList]],
        teller: ListTeller,
        unknown: int,
        seed: int,
        share: float = 1.0,
        weights: Mapping[str, float] | None = None,
        shares: Mapping[str, tuple[Any, ...]] | None = None,
        read: Callable[[Path], Cache] = read_cache,
    ):
        self.share, self.weights, self.read = share, weights or {}, read
        self.shares: Mapping[str, tuple[Any, ...]] = {**LISTED, **TOLD, **(shares or {})}
        self.cache_folder, self.frames = cache, frames
        self.told, self.teller, self.seed = told, teller, seed
        words = list(teller.words)
        self.unknown = torch.tensor(unknown)
        self.mirror = [teller.words.get(swap_sides(word), place) for place, word in enumerate(words)]
        self.cache: Cache | None = None
        self.read_at = -1

    def __call__(self, step: int, process: int) -> MicroBatches[Any]:
        """The batches of a step."""
        if self.cache is None or step - self.read_at >= 100:  # it may be growing
            self.cache, self.read_at = self.read(self.cache_folder), step
        rng = np.random.default_rng([self.seed, step, process])
        batches: list[Any] = []
        for kind, of_kind in self.frames.items():
            count, rows, k = self.shares[kind]
            frames = of_kind.cached(self.cache)
            if not frames.keys:
                continue
            chance = np.array([min(len(one.rows), rows) for one in frames.lists], float)
            chance *= [self.weights.get(key.split("/")[0], 1.0) for key in frames.keys]
            some = some_of(count, self.share)
            chosen = [int(i) for i in rng.choice(len(frames.keys), some, p=chance / chance.sum())]
            most = int(rng.integers(k // 2, k + 1))
            batches.append(
                self.batch([(frames.keys[i], frames.lists[i]) for i in chosen], most, rows, rng, kind)
            )
        for kind, lists in self.told.items():
            count, k, rows, weight = self.shares[kind]
            chosen = [int(i) for i in rng.integers(len(lists), size=some_of(count, self.share))]
            batches.append(
                self.teller.tell([lists[i] for i in chosen], k, rows, rng, BLURS[kind], kind, weight)
            )
        return MicroBatches(batches)

    def batch(
        self,
        chosen: Sequence[tuple[str, ObjectList]],
        k: int,
        max_rows: int,
        rng: np.random.Generator | None,
        kind: str,
    ) -> ListedFrames:
        """Lists of k proposals each. Without `rng` the first view as it is, and all sentences but those true of nothing."""
        assert self.cache is not None
        asked = [_sentences(one, max_rows, rng) for _, one in chosen]
        longest = max(len(rows) for rows in asked)
        right = torch.zeros(len(chosen), longest, k + 1)
        relevance = torch.full((len(chosen), longest, k, 3), 0.5)
        rivals = torch.ones_like(right)
        parts: list[tuple[Tensor, ...]] = []
        mirrors: list[bool] = []
        listed: list[int] = []
        prompts: list[list[str]] = []
        for number, ((key, one), rows) in enumerate(zip(chosen, asked, strict=True)):
            views = self.cache.by_key[key]
            view = views[int(rng.integers(len(views)))] if rng else views[0]
            mirrored = bool(rng and not key.startswith("signs/") and rng.random() < 0.3)
            mirrors.append(mirrored)
            listed.append(view)
            features, read, seen, boxes = (
                torch.from_numpy(values[view, :k].astype(np.float32))
                for values in (self.cache.features, self.cache.read, self.cache.seen, self.cache.boxes)
            )
            words = torch.tensor(self.mirror) if mirrored else torch.arange(len(self.mirror))
            if mirrored:
                boxes = torch.cat([1 - boxes[:, :1], boxes[:, 1:]], 1)
            overlap = overlaps_of(one, boxes.numpy(), mirrored)
            kept = torch.ones_like(features)
            if rng and kind == "written":
                kept, boxes = blurred(features, boxes, rng)
            aspect = torch.tensor(self.cache.aspect[view], dtype=torch.float32)
            parts.append((features, read, seen, words, kept, boxes, aspect))
            best, owner = overlap.max(1), overlap.argmax(1)
            for row, (ref, index, values) in enumerate(rows):
                prompts.append([swap_sides(ref) if mirrored else ref])
                mine = overlap[:, index] if index >= 0 else np.zeros(k)
                fits = mine >= max(SURE, CLOSE * mine.max())
                right[number, row, :k] = torch.from_numpy(fits.astype(np.float32))
                right[number, row, k] = float(not fits.any())
                if one.doubtful is not None and index >= 0:
                    told = (best >= SURE) & ~np.isin(owner, one.doubtful[ref, index])
                    rivals[number, row, :k] = torch.from_numpy((told | fits).astype(np.float32))
                if values is not None:
                    known = np.where(best[:, None] >= SURE, values[owner], 0.0)
                    relevance[number, row] = torch.from_numpy(known.astype(np.float32))
            prompts += [["nothing"]] * (longest - len(rows))
        features, read, seen, words, kept, boxes, aspect = map(torch.stack, zip(*parts, strict=True))
        ids, mask, _ = self.teller.prompter(prompts)
        if rng and kind == "written":  # of a generated sentence every word decides
            ids = self.forgotten(ids, mask, rng)
        shape = (len(chosen), longest, -1)
        return ListedFrames(
            ids.view(shape),
            mask.bool().view(shape),
            features,
            read,
            seen,
            words,
            kept,
            boxes,
            aspect,
            right,
            right.sum(-1) > 0,
            relevance,
            rivals,
            kind,
            [key for key, _ in chosen],
            listed,
            mirrors,
        )

    def forgotten(self, ids: Tensor, mask: Tensor, rng: np.random.Generator) -> Tensor:
        """Tokens (sentences, tokens) with some of them unknown, so that no single word is relied on."""
        unread = torch.from_numpy(rng.random(ids.shape) < FORGOTTEN) & mask.bool()
        unread[:, 0] = False
        return torch.where(unread, self.unknown, ids)


def some_of(count: int, share: float) -> int:
    """A share of a count, at least one."""
    return max(1, round(share * count))


def blurred(features: Tensor, boxes: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Which features (k, width) are not left out, and boxes (k, 4) moved a little: another look would have seen them so."""
    kept = torch.from_numpy((rng.random(features.shape) >= LEFT_OUT).astype(np.float32))
    moved = torch.from_numpy(rng.normal(0, MOVED, boxes.shape).astype(np.float32)) * boxes[:, [2, 3, 2, 3]]
    return kept, boxes + moved


def _sentences(
    one: ObjectList, max_rows: int, rng: np.random.Generator | None
) -> list[tuple[str, int, NDArray[np.float32] | None]]:
    if rng is None:
        return one.rows[:max_rows]
    few = min(len(one.absent), int(rng.binomial(max_rows, ABSENT)))
    absent = [(one.absent[int(i)], -1, None) for i in rng.permutation(len(one.absent))[:few]]
    return [one.rows[int(i)] for i in rng.permutation(len(one.rows))[: max_rows - few]] + absent


def overlaps_of(one: ObjectList, boxes: NDArray[np.float32], mirrored: bool) -> NDArray[np.float64]:
    """IoU of proposals (k, 4) cxcywh, normalized, with the objects: (k, m)."""
    objects = one.xyxy / np.tile(one.size, 2)
    if mirrored:
        objects = np.stack([1 - objects[:, 2], objects[:, 1], 1 - objects[:, 0], objects[:, 3]], 1)
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    return np.asarray(iou_matrix_xyxy(np.concatenate([low, high], 1).astype(float), objects))


@torch.inference_mode()
def evaluate(
    read: Callable[[ListedFrames], Tensor], batches: ListedBatches, max_rows: int = 40, together: bool = False
) -> dict[str, dict[str, float]]:
    """By source: sentences; percent whose object is listed, is first (IoU 0.5 and 0.75), and is among the best five.

    read: a batch -> logits (lists, sentences, k) of which object is meant. together: all sources as one.
    """
    batches.cache = batches.read(batches.cache_folder)
    found: dict[str, list[tuple[bool, bool, bool, bool]]] = {}
    for kind in batches.frames:
        frames = batches.frames[kind].cached(batches.cache)
        for key, one in zip(frames.keys, frames.lists, strict=True):
            batch = batches.batch([(key, one)], batches.cache.features.shape[1], max_rows, None, kind)
            order = read(batch)[0].argsort(-1, descending=True).cpu().numpy()
            overlap = overlaps_of(one, batch.boxes[0].numpy(), False)
            for row, (_, index, _) in enumerate(one.rows[:max_rows]):
                mine = overlap[order[row], index]
                judged = (mine.max() >= 0.5, mine[0] >= 0.5, mine[0] >= 0.75, mine[:5].max() >= 0.5)
                source = "all" if together else key.split("/")[0]
                found.setdefault(source, []).append(tuple(bool(v) for v in judged))  # type: ignore[arg-type]
    names = ("listed", "Acc50", "Acc75", "best five")
    return {
        source: {
            "rows": len(rows),
            **{n: round(100 * float(v), 1) for n, v in zip(names, np.mean(rows, 0), strict=True)},
        }
        for source, rows in found.items()
    }
