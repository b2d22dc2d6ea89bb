"""Teach the matcher on what the proposal network really lists, with sentences about drawn scenes and real photos.

    $RUN train --cache CACHE --rows rows.json --scenes POOL --proposals proposals.safetensors --model FOLDER
        --matcher matcher.safetensors --out RUN [--written rows.json] [--named named.jsonl] [--sorec trainS.json val.json --drawn drawn.jsonl]
    $RUN evaluate --cache CACHE --rows rows.json --scenes POOL --proposals proposals.safetensors --model FOLDER
        --matcher matcher.safetensors --out report.json

where RUN="python -m piza.training.from_scratch.listed_sentences". CACHE is what `cached_lists` wrote of the same frames with the same
--proposals, whose last part, that describes objects, learns with the matcher; --model a folder with the tokenizer. Lists without
images (--sorec, --drawn) go on being told, so that their language is not forgotten.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from piza.files import atomic_write
from piza.methods import train_only
from piza.model.text import Prompter
from piza.training.from_scratch.cached_lists import LISTED as MOST_LISTED
from piza.training.from_scratch.cached_lists import Cache, read_cache
from piza.training.from_scratch.list_reader import ListedFrames, ListReader, listed_loss, named, start_matcher
from piza.training.from_scratch.listed_frames import Frames, photo_frames, scene_frames
from piza.training.from_scratch.named_sentences import named_frames
from piza.training.from_scratch.object_lists import (
    Blur,
    ListTeller,
    ObjectList,
    read_drawn,
    sorec_lists,
    swap_sides,
)
from piza.training.from_scratch.street_labels import iou
from piza.training.from_scratch.train_matcher import STATES
from piza.training.from_scratch.train_proposals import new_network, read_words
from piza.training.loader import MicroBatches
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

SURE = 0.5  # IoU from which on a proposal is of an object
CLOSE = 0.85  # of several, those count that overlap it so well, as a share of the best
ABSENT = 0.12  # share of sentences that are true of nothing in the frame
# A step: cached scenes, photos with generated and with written sentences, and with names of regions (lists, sentences a list, proposals at most); then lists
# without images, with the weight of their loss.
LISTED = {"scenes": (1, 12, 96), "photos": (2, 8, 112), "written": (3, 8, 112), "named": (3, 10, 112)}
TOLD = {"sorec": (8, 16, 8, 1.0), "drawn": (1, 40, 12, 0.3)}
FORGOTTEN, LEFT_OUT, MOVED = 0.06, 0.03, 0.02  # shares of words and features; box noise as a share of the box
BLURS = {"drawn": Blur(), "sorec": Blur(keep=(0.25, 0.9))}


class ListedBatches:
    """Batches of cached lists, and of lists without images; a function of the step and the process.

    unknown: the id of a word that is not known.
    """

    def __init__(
        self,
        cache: Path,
        frames: dict[str, Frames],
        told: dict[str, list[ObjectList]],
        teller: ListTeller,
        unknown: int,
        seed: int,
    ):
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
            self.cache, self.read_at = read_cache(self.cache_folder), step
        rng = np.random.default_rng([self.seed, step, process])
        batches: list[Any] = []
        for kind, of_kind in self.frames.items():
            count, rows, k = LISTED[kind]
            frames = of_kind.cached(self.cache)
            if not frames.keys:
                continue
            chance = np.array([min(len(one.rows), rows) for one in frames.lists], float)
            chosen = [int(i) for i in rng.choice(len(frames.keys), count, p=chance / chance.sum())]
            most = int(rng.integers(k // 2, k + 1))
            batches.append(
                self.batch([(frames.keys[i], frames.lists[i]) for i in chosen], most, rows, rng, kind)
            )
        for kind, lists in self.told.items():
            count, k, rows, weight = TOLD[kind]
            chosen = [int(i) for i in rng.integers(len(lists), size=count)]
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
        prompts: list[list[str]] = []
        for number, ((key, one), rows) in enumerate(zip(chosen, asked, strict=True)):
            views = self.cache.by_key[key]
            view = views[int(rng.integers(len(views)))] if rng else views[0]
            mirrored = bool(rng and not key.startswith("signs/") and rng.random() < 0.3)
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
                    told = (best >= SURE) & ~np.isin(owner, one.doubtful[index])
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
        )

    def forgotten(self, ids: Tensor, mask: Tensor, rng: np.random.Generator) -> Tensor:
        """Tokens (sentences, tokens) with some of them unknown, so that no single word is relied on."""
        unread = torch.from_numpy(rng.random(ids.shape) < FORGOTTEN) & mask.bool()
        unread[:, 0] = False
        return torch.where(unread, self.unknown, ids)


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
    return np.asarray(iou(np.concatenate([low, high], 1).astype(float), objects))


@torch.inference_mode()
def evaluate(reader: ListReader, batches: ListedBatches, max_rows: int = 40) -> dict[str, dict[str, float]]:
    """By source: sentences; percent whose object is listed, is first (IoU 0.5 and 0.75), and is among the best five."""
    batches.cache = read_cache(batches.cache_folder)
    found: dict[str, list[tuple[bool, bool, bool, bool]]] = {}
    for kind in batches.frames:
        frames = batches.frames[kind].cached(batches.cache)
        for key, one in zip(frames.keys, frames.lists, strict=True):
            batch = batches.batch([(key, one)], batches.cache.features.shape[1], max_rows, None, kind)
            features, _ = reader.features(batch)
            answers, _ = reader.matcher.read(batch.ids, batch.mask, features, batch.boxes, batch.aspect)
            order = answers[-1, 0].argsort(-1, descending=True).numpy()
            overlap = overlaps_of(one, batch.boxes[0].numpy(), False)
            for row, (_, index, _) in enumerate(one.rows[:max_rows]):
                mine = overlap[order[row], index]
                judged = (mine.max() >= 0.5, mine[0] >= 0.5, mine[0] >= 0.75, mine[:5].max() >= 0.5)
                found.setdefault(key.split("/")[0], []).append(tuple(bool(v) for v in judged))  # type: ignore[arg-type]
    names = ("listed", "Acc50", "Acc75", "best five")
    return {
        source: {
            "rows": len(rows),
            **{n: round(100 * float(v), 1) for n, v in zip(names, np.mean(rows, 0), strict=True)},
        }
        for source, rows in found.items()
    }


def start_reader(args: argparse.Namespace, states: bool) -> ListReader:
    """The proposal network of a file, with what --matcher says of how it describes objects, and the matcher."""
    network = new_network(args.base, read_words(), MOST_LISTED)
    weights = {name: weight.float() for name, weight in load_file(args.proposals).items()}
    described = {
        name.removeprefix("proposals."): tensor.float()
        for name, tensor in load_file(args.matcher).items()
        if name.startswith("proposals.")
    }
    network.load_state_dict(weights | described)
    return ListReader(network, start_matcher(args.matcher, states))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["train", "evaluate"])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--rows", type=Path, help="of photos, as `street_rows` writes them")
    parser.add_argument("--written", type=Path, help="the same of sentences that somebody wrote")
    parser.add_argument("--named", type=Path, help="regions with what people call them: `named_regions`")
    parser.add_argument("--scenes", type=Path, nargs="*", default=[])
    parser.add_argument("--model", type=Path, required=True, help="folder with the tokenizer")
    parser.add_argument("--attributes", type=Path, required=True, help="JSON list of attribute words")
    parser.add_argument(
        "--proposals", type=Path, required=True, help="the network whose lists the cache holds"
    )
    parser.add_argument("--base", type=Path, default=Path("src/piza/weights/mini"), help="for its settings")
    parser.add_argument("--matcher", type=Path, required=True, help="weights to begin with, or to evaluate")
    parser.add_argument(
        "--go-on", action="store_true", help="train: --matcher knows the states of lists already"
    )
    parser.add_argument("--sorec", type=Path, nargs="*", default=[])
    parser.add_argument("--drawn", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, or the report")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-after", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    words = {word: place for place, word in enumerate(json.loads(args.attributes.read_text()))}
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    teller = ListTeller(words, STATES, Prompter(tokenizer))
    frames = {"scenes": scene_frames(args.scenes)}
    for kind, path in (("photos", args.rows), ("written", args.written)):
        frames |= {kind: photo_frames(path)} if path else {}
    if args.named:
        frames["named"] = named_frames(args.named)
    told: dict[str, list[ObjectList]] = {}
    if args.sorec:
        told["sorec"] = sorec_lists(args.sorec, held_out=False)
    if args.drawn:
        told["drawn"] = read_drawn(args.drawn)
    batches = ListedBatches(args.cache, frames, told, teller, tokenizer.unk_token_id, args.seed)
    reader = start_reader(args, states=args.what == "evaluate" or args.go_on)
    if args.what == "evaluate":
        report = evaluate(reader.eval(), batches)
        with atomic_write(args.out) as part:
            part.write_text(json.dumps(report, indent=1))
        for source, row in report.items():
            print(source, row)
        return
    print({kind: sum(len(one.absent) for one in found.lists) for kind, found in frames.items()}, flush=True)
    config = TrainerConfig(steps=args.steps, lr=args.lr, ema_decay=0.995, save_every=120.0)
    trained = reader.trained()
    parameters = train_only(reader, trained)
    trainer = Trainer(reader, parameters, batches, listed_loss, config, args.out, state_names=set(trained))
    average = trainer.run(args.stop_after)
    with atomic_write(args.out / "matcher.safetensors") as part:
        save_file(named(average), part)


if __name__ == "__main__":
    main()
