"""Teach the matcher alone, on what a finished region encoder says of listed objects.

    python -m piza.training.from_scratch.regions.matcher_alone --cache CACHE --rows rows.json --written written.json --named named.jsonl
        --scenes POOL --streets DIR --signs DIR --pixels FILE --proposals proposals.safetensors --matcher matcher.safetensors
        --sorec trainS.json val.json --model FOLDER --out RUN

Cutting regions out and encoding them takes half of a step of `regions.train`, where the sentences are few. Here every list of CACHE
(`lists.cached --no-regions`, by the same --proposals) is encoded once in VIEWS views, a little moved and in other light, the last
ones mirrored; CACHE/states.npy and CACHE/moved.npy hold what the encoder says. Then only the matcher learns, with how objects are
described, on as many more sentences. Writes RUN/matcher.safetensors; goes on where it was when called again.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer

from piza.files import atomic_write
from piza.methods import train_only
from piza.model.region_encoder import STATE, RegionEncoder, moved
from piza.model.text import Prompter
from piza.training.from_scratch.lists.batches import ListedBatches
from piza.training.from_scratch.lists.cached import Cache, read_cache
from piza.training.from_scratch.lists.object_lists import ListTeller, ToldLists
from piza.training.from_scratch.lists.reader import (
    ListedFrames,
    ListReader,
    half_precision,
    listed_loss,
    named,
    start_reader,
)
from piza.training.from_scratch.lists.train_matcher import STATES
from piza.training.from_scratch.proposals.train import read_words, source_folders
from piza.training.from_scratch.regions.pixels import RegionPixels
from piza.training.from_scratch.regions.reader import misplaced
from piza.training.from_scratch.regions.train import read_sentences
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

VIEWS, MIRRORED = 5, 2  # of a list: the first as it is, the last ones mirrored
MOVED = 0.03  # of a box: its center, in sides
# A step, as `lists.batches` says it.
SHARES: dict[str, tuple[Any, ...]] = {
    "scenes": (1, 12, 112),
    "photos": (1, 10, 112),
    "written": (8, 20, 144),
    "named": (2, 12, 112),
    "beside": (2, 12, 112),
    "sorec": (5, 16, 8, 1.0),
}


@torch.inference_mode()
def write_states(folder: Path, encoder: RegionEncoder, pixels: RegionPixels) -> None:
    """Write what the encoder says of every list of a cache: states.npy (count, VIEWS, k, STATE) float16 and moved.npy (count, VIEWS,
    k, 4), boxes cxcywh, normalized to the picture or its mirror image. What is done stays; `states.txt` counts it."""
    cache = read_cache(folder)
    jobs = [(row, key) for key, rows in cache.by_key.items() for row in rows]
    shape = (len(cache.boxes), VIEWS, cache.boxes.shape[1])
    arrays = [
        _array(folder / "states.npy", (*shape, STATE), np.float16),
        _array(folder / "moved.npy", (*shape, 4), np.float32),
    ]
    count = folder / "states.txt"
    done = int(count.read_text()) if count.exists() else 0
    encoder.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    for number, (row, key) in enumerate(jobs[done:], start=done + 1):
        torch.manual_seed(row)
        for view in range(VIEWS):
            mirrored = view >= VIEWS - MIRRORED
            boxes = torch.from_numpy(cache.boxes[row].copy())
            if mirrored:
                boxes = torch.cat([1 - boxes[:, :1], boxes[:, 1:]], 1)
            if view:
                boxes = misplaced(boxes, MOVED)
            crops, sizes = pixels.crops([key], boxes, [mirrored], varied=view > 0)
            with half_precision(pixels.device):
                states, moves = encoder(crops, sizes)
            arrays[0][row, view] = states.float().cpu().numpy()
            arrays[1][row, view] = moved(boxes.to(pixels.device), moves.float()).cpu().numpy()
        if number % 50 == 0 or number == len(jobs):
            for array in arrays:
                array.flush()
            with atomic_write(count) as part:
                part.write_text(str(number))


def _array(
    path: Path, shape: tuple[int, ...], kind: type
) -> "np.memmap[tuple[int, ...], np.dtype[np.generic]]":
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)


def moved_cache(folder: Path) -> Cache:
    """The cache with its boxes where the encoder moved them, by which sentences are judged."""
    return replace(read_cache(folder), boxes=np.load(folder / "moved.npy", mmap_mode="r")[:, 0])


class MatcherAlone(nn.Module):
    """A `ListReader` that is told what a finished encoder said of the lists of a cache."""

    def __init__(self, reader: ListReader, cache: Path):
        super().__init__()
        reader.network.regions = None
        self.reader = reader
        self.look_at(cache)

    def look_at(self, cache: Path) -> None:
        """Be told of the lists of this cache."""
        self.states, self.moved = (
            np.load(cache / f"{name}.npy", mmap_mode="r") for name in ("states", "moved")
        )

    def told(self, batch: ListedFrames) -> ListedFrames:
        """The batch with its regions seen: each list in one of its views at random, or, not in training, as it is."""
        plain, k = VIEWS - MIRRORED, batch.boxes.shape[1]
        views = plain * MIRRORED if self.training else 1
        chosen = torch.randint(views, (len(batch.listed),)).tolist()
        at = [
            (row, plain + n % MIRRORED if mirrored else n % plain)
            for row, n, mirrored in zip(batch.listed, chosen, batch.mirrored, strict=True)
        ]
        states = torch.from_numpy(
            np.stack([self.states[row, view, :k] for row, view in at]).astype(np.float32)
        )
        boxes = torch.from_numpy(np.stack([self.moved[row, view, :k] for row, view in at]))
        before, after = batch.features[..., : -STATE - 1], batch.features[..., -1:]
        return replace(batch, features=torch.cat([before, states, after], -1), boxes=boxes)

    def read(self, batch: ListedFrames) -> Tensor:
        """Which object is meant: logits (lists, sentences, k)."""
        return self.reader.read(self.told(batch))


def loss_of(alone: nn.Module, batch: ListedFrames | ToldLists) -> dict[str, Tensor]:
    """`listed_loss`."""
    assert isinstance(alone, MatcherAlone)
    return listed_loss(alone.reader, batch if isinstance(batch, ToldLists) else alone.told(batch))


def start_encoder(proposals: Path) -> RegionEncoder:
    """The region encoder of a network's file."""
    part = "regions."
    weights = {n.removeprefix(part): t.float() for n, t in load_file(proposals).items() if n.startswith(part)}
    encoder = RegionEncoder()
    encoder.load_state_dict(weights)
    return encoder


def main() -> None:
    """The command line."""
    args = _parser().parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    words = {word: place for place, word in enumerate(read_words().words)}
    teller = ListTeller(words, STATES, Prompter(tokenizer))
    device = torch.device("cpu")
    pixels = RegionPixels(
        read_cache(args.cache).by_key,
        source_folders(args.streets, args.signs),
        args.scenes,
        args.pixels,
        device,
    )
    write_states(args.cache, start_encoder(args.proposals), pixels)
    batches = ListedBatches(
        args.cache,
        *read_sentences(args),
        teller,
        tokenizer.unk_token_id,
        args.seed,
        shares=SHARES,
        read=moved_cache,
    )
    alone = MatcherAlone(start_reader(args, states=True), args.cache)
    names = {f"reader.{name}": p for name, p in alone.reader.trained().items()}
    config = TrainerConfig(args.steps, args.lr, weight_decay=1e-3, ema_decay=0.99, seed=args.seed, workers=1)
    trainer = Trainer(
        alone, train_only(alone, names), batches, loss_of, config, args.out, state_names=set(names)
    )
    average = trainer.run(args.stop_after)
    weights = {name.removeprefix("reader."): tensor.float() for name, tensor in average.items()}
    with atomic_write(args.out / "matcher.safetensors") as part:
        save_file(named(weights), part)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="lists, each frame in one view")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--written", type=Path, required=True)
    parser.add_argument("--named", type=Path, required=True)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--streets", type=Path)
    parser.add_argument("--signs", type=Path)
    parser.add_argument("--pixels", type=Path, required=True, help="file to keep the pictures in, uncoded")
    parser.add_argument("--model", type=Path, required=True, help="folder with the tokenizer")
    parser.add_argument("--base", type=Path, default=Path("src/piza/weights/mini"), help="for its settings")
    parser.add_argument("--proposals", type=Path, required=True, help="the network, with its region encoder")
    parser.add_argument("--matcher", type=Path, required=True)
    parser.add_argument("--sorec", type=Path, nargs="*", default=[])
    parser.add_argument("--drawn", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-after", type=int)
    parser.add_argument("--out", type=Path, required=True)
    return parser


if __name__ == "__main__":
    main()
