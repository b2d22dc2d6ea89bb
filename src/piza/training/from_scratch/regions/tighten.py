"""Teach the region encoder where things end, and nothing else: boxes are moved better, and what it says of things stays.

    python -m piza.training.from_scratch.regions.tighten --proposals proposals.safetensors --named named.jsonl --rows rows.json
        [--scenes POOL] --streets DIR --signs DIR --pixels PIXELS --run RUN --out proposals.safetensors

Boxes that a person drew, those of labels and of drawn scenes are misplaced as far as a list misses them, and the last part of the
encoder (`BoxTightener`) is taught to move them back. Goes on where it was when called again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from piza.devices import check_device
from piza.files import atomic_write
from piza.methods import train_only
from piza.model import accelerate
from piza.model.region_encoder import moved
from piza.model.tensor_boxes import giou
from piza.training.from_scratch.frames.cache import FrameCache
from piza.training.from_scratch.lists.cached import LISTED
from piza.training.from_scratch.lists.reader import half_precision
from piza.training.from_scratch.proposals.loss import moved_loss
from piza.training.from_scratch.proposals.train import network_of, source_folders
from piza.training.from_scratch.regions.named import (
    NamedRegion,
    drawn_regions,
    labeled_regions,
    named_regions,
    placed,
)
from piza.training.from_scratch.regions.pixels import RegionPixels
from piza.training.from_scratch.regions.reader import FAR, misplaced
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

BY_HAND, LABELED, DRAWN_ONES = 192, 32, 32  # boxes of a step
PART = "regions.tighten."


class TightBatches:
    """Boxes of things, a function of the step and the process: keys of pictures, and boxes (n, 4) cxcywh, normalized."""

    def __init__(
        self, sources: Sequence[tuple[list[NamedRegion], int]], sizes: dict[str, tuple[int, int]], seed: int
    ):
        self.sources = [(some, count) for some, count in sources if some]
        self.sizes, self.seed = sizes, seed

    def __call__(self, step: int, process: int) -> tuple[list[str], Tensor]:
        """The boxes of a step."""
        rng = np.random.default_rng([self.seed, step, process])
        chosen = [some[int(i)] for some, n in self.sources for i in rng.integers(len(some), size=n)]
        return [one.key for one in chosen], placed(chosen, self.sizes)


class Tightening(nn.Module):
    """The encoder of a network with the pictures that its crops are cut out of."""

    def __init__(self, encoder: nn.Module, pixels: RegionPixels):
        super().__init__()
        self.encoder, self.pixels = encoder, pixels


def loss_of(model: nn.Module, batch: tuple[list[str], Tensor]) -> dict[str, Tensor]:
    """How far misplaced boxes are from where they should be once they are moved: "loss"; mean generalized IoU before and after."""
    assert isinstance(model, Tightening)
    keys, wanted = batch
    low, high = FAR
    boxes = misplaced(wanted, low + (high - low) * torch.rand(len(wanted), 1))
    crops, sizes = model.pixels.crops(keys, boxes, [False] * len(keys), varied=True)
    boxes, wanted = boxes.to(crops.device), wanted.to(crops.device)
    with half_precision(crops.device):
        _, moves = model.encoder(crops, sizes)
    there = moved(boxes, moves.float())
    return {
        "loss": moved_loss(there[None], wanted) / len(wanted),
        "before": giou(boxes, wanted).mean(),
        "after": giou(there.detach(), wanted).mean(),
    }


def main() -> None:
    """The command line."""
    args = _parser().parse_args()
    torch.set_num_threads(1)
    network = network_of(args.base, load_file(args.proposals), LISTED)
    assert network.regions is not None
    names = {name for name, _ in network.named_parameters() if name.startswith(PART)}
    drawn = drawn_regions(FrameCache(args.scenes)) if args.scenes else []
    sources = [
        ([one for path in args.named for one in named_regions(path) if one.tight], BY_HAND),
        ([one for one in labeled_regions(args.rows) if one.tight], LABELED),
        (drawn, DRAWN_ONES),
    ]
    keys = {one.key for some, _ in sources for one in some}
    device = torch.device(check_device(args.device))
    pixels = RegionPixels(keys, source_folders(args.streets, args.signs), args.scenes, args.pixels, device)
    model = Tightening(network.regions, pixels).to(device).train()
    learned = {name.replace("regions", "encoder", 1) for name in names}
    config = TrainerConfig(
        steps=args.steps,
        lr=args.lr,
        weight_decay=0.05,
        muon=False,
        ema_decay=0.99,
        seed=args.seed,
        save_every=180.0,
    )
    trainer = Trainer(
        model,
        train_only(model, learned),
        TightBatches(sources, pixels.sizes, args.seed),
        loss_of,
        config,
        args.run,
        state_names=learned,
    )
    average = trainer.run(args.stop_after)
    accelerate.undo(network)
    network.load_state_dict(
        {name.replace("encoder", "regions", 1): tensor for name, tensor in average.items()}, strict=False
    )
    with atomic_write(args.out) as part:
        save_file({name: tensor.half() for name, tensor in network.state_dict().items()}, part)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, default=Path("src/piza/weights/mini"), help="for its settings")
    parser.add_argument("--proposals", type=Path, required=True, help="the network to begin with")
    parser.add_argument(
        "--named", type=Path, nargs="+", required=True, help="regions with what people call them"
    )
    parser.add_argument("--rows", type=Path, required=True, help="of photos, as `streets.rows` writes them")
    parser.add_argument("--scenes", type=Path, help="a cache of drawn scenes")
    parser.add_argument("--streets", type=Path)
    parser.add_argument("--signs", type=Path)
    parser.add_argument("--pixels", type=Path, required=True, help="file to keep the pictures in, uncoded")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-after", type=int)
    parser.add_argument("--run", type=Path, required=True, help="folder of the checkpoint and the log")
    parser.add_argument("--out", type=Path, required=True, help="write the network there")
    return parser


if __name__ == "__main__":
    main()
