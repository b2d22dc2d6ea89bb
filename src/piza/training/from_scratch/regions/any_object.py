"""Teach the proposal network to list whatever people name, beyond its categories, and to fit its boxes to that.

    python -m piza.training.from_scratch.regions.any_object --proposals weights.safetensors --work runs/streets --streets DIR
        --signs DIR --named named.jsonl [...] --written written.jsonl [...] [--scenes POOL] --run RUN --out proposals.safetensors

Trains each `AnyObjectHead` of the network of --proposals and the last layers that move boxes, and nothing else, so that what is
told of an object stays as it is. What people name: labeled objects (`train labels` wrote them into --work), regions with phrases, and
what sentences are about. A region that is named "-" shows nothing; of what nobody named little is said. Boxes of whole pixels
were drawn by a person, those of labels too: these teach the sides. Goes on where it was when called again.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from piza.boxes import iou_matrix_xyxy
from piza.data.windows import photometric_augmentation
from piza.files import atomic_write
from piza.image import open_image
from piza.methods import train_only
from piza.model import accelerate
from piza.model.nanodet_proposals import CellProposals, NanoDetProposals, cell_grid
from piza.model.tensor_boxes import giou
from piza.model.tensor_boxes import iou as overlaps
from piza.training.from_scratch.frames.cache import FrameCache
from piza.training.from_scratch.proposals.crops import LabeledFrame, crop, flipped, haze
from piza.training.from_scratch.proposals.loss import (
    OWNED,
    CellTargets,
    best_cells,
    moved_loss,
    normalized,
    side_loss,
    sides_of,
)
from piza.training.from_scratch.proposals.train import (
    network_of,
    normalized_pixels,
    read_photos,
    source_folders,
)
from piza.training.from_scratch.regions.kinds import kind_of
from piza.training.from_scratch.regions.named import LOOSE, NOTHING, read_named, whole_pixels
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

CROP = (640, 384)  # width, height
AREA = 1120 * 1120  # pixels of a whole frame at the scale of a first look
LISTED = 64  # of a crop
SHARES = {"unsplash": 0.25, "highway": 0.12, "tl_china": 0.11, "dawn": 0.22, "signs": 0.2, "scenes": 0.1}
DRAWN = "scenes"
SAME = 0.6  # IoU from which on two boxes are of one thing
MOVING_LR = 0.03  # of the layers that move boxes, which are trained already, as a share of the rate
UNNAMED = 0.1  # weight of saying that a cell holds nothing where nobody said so
# What is known of a box, in the place of categories: whether it holds something, and whether a person drew it.
OBJECT, TIGHT = 0, 1


@dataclass
class PhotoBoxes:
    """What people named in a photo. boxes: (n, 4) xyxy in its pixels; kinds: (n, 2) OBJECT and TIGHT; unclear: (m, 4), of
    which nothing is said."""

    boxes: NDArray[np.float64]
    kinds: NDArray[np.float32]
    unclear: NDArray[np.float64]


def named_boxes(work: Path, named: Iterable[Path], written: Iterable[Path]) -> dict[str, PhotoBoxes]:
    """What people named, by photo; of several boxes of one thing the one that a person drew."""
    found: dict[str, list[tuple[tuple[float, ...], bool | None, bool]]] = {}
    for photo in read_photos(work, "train"):
        drawn = photo.source not in LOOSE
        known = [(tuple(o.box), True, drawn and bool(o.label)) for o in photo.objects]
        found.setdefault(photo.key, []).extend(
            [*known, *((tuple(box), None, False) for box in photo.doubtful)]
        )
    for path in written:
        for line in path.read_text(encoding="utf-8").splitlines():
            content = json.loads(line)
            if content["xyxy"] is not None:
                box = tuple(content["xyxy"])
                found.setdefault(content["key"], []).append((box, True, whole_pixels(box)))
    for path in named:
        for of_photo in read_named(path):
            for region in of_photo.regions:
                kind = kind_of(region.phrase)
                holds = False if region.phrase == NOTHING else None if kind == "nothing" else True
                box = tuple(region.xyxy)
                found.setdefault(of_photo.key, []).append((box, holds, bool(holds) and whole_pixels(box)))
    return {key: _without_doubles(boxes) for key, boxes in found.items()}


def _without_doubles(told: list[tuple[tuple[float, ...], bool | None, bool]]) -> PhotoBoxes:
    rank = {True: 0, None: 1, False: 2}
    told = sorted(told, key=lambda one: (rank[one[1]], not one[2]))
    kept: list[int] = []
    boxes = np.array([one[0] for one in told], float).reshape(-1, 4)
    for number in range(len(told)):
        if not kept or iou_matrix_xyxy(boxes[number : number + 1], boxes[kept]).max() < SAME:
            kept.append(number)
    said = [number for number in kept if told[number][1] is not None]
    unclear = [number for number in kept if told[number][1] is None]
    kinds = [[float(bool(told[number][1])), float(told[number][2])] for number in said]
    return PhotoBoxes(boxes[said], np.array(kinds, np.float32).reshape(-1, 2), boxes[unclear])


@dataclass
class NamedCrop:
    """A crop: image uint8 (height, width, 3), boxes and kinds as in `PhotoBoxes`, in its pixels."""

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    kinds: NDArray[np.float32]
    unclear: NDArray[np.float32]


class NamedCrops:
    """Batches of crops, a function of the step and the process."""

    def __init__(
        self,
        photos: dict[str, PhotoBoxes],
        folders: dict[str, Path],
        scenes: FrameCache | None,
        seed: int,
        crops: int,
    ):
        self.photos, self.folders, self.scenes = photos, folders, scenes
        self.seed, self.crops = seed, crops
        self.keys: dict[str, list[str]] = {}
        self.chance: dict[str, NDArray[np.float64]] = {}
        for source in {key.split("/")[0] for key in photos} & set(SHARES):
            of_source = [key for key in sorted(photos) if key.startswith(source + "/")]
            # Photos in which people drew boxes themselves are shown more often.
            weight = np.array([1.0 + 3.0 * bool(_by_hand(photos[key])) for key in of_source])
            self.keys[source], self.chance[source] = of_source, weight / weight.sum()
        shares = {name: SHARES[name] for name in self.keys} | ({DRAWN: SHARES[DRAWN]} if scenes else {})
        self.sources, share = list(shares), np.array(list(shares.values()))
        self.share = share / share.sum()

    def __call__(self, step: int, process: int) -> list[NamedCrop]:
        """The crops of a step."""
        rng = np.random.default_rng([self.seed, step, process])
        return [self.sample(rng) for _ in range(self.crops)]

    def sample(self, rng: np.random.Generator) -> NamedCrop:
        """A crop of a photo or of a drawn scene, in any light."""
        source = self.sources[int(rng.choice(len(self.sources), p=self.share))]
        if source == DRAWN and self.scenes is not None:
            frame = self.scenes[int(rng.integers(len(self.scenes)))]
            kinds = np.ones((len(frame.objects), 2), np.float32)
            told = PhotoBoxes(np.asarray(frame.objects, float), kinds, np.zeros((0, 4)))
            image = np.asarray(frame.image)
        else:
            key = self.keys[source][int(rng.choice(len(self.keys[source]), p=self.chance[source]))]
            told, image = self.photos[key], open_image(self.folders[source] / key.split("/")[1])
        nothing = np.zeros((len(told.boxes), 0), np.float32)
        whole = LabeledFrame(image, told.boxes, told.kinds, nothing, told.unclear)
        scale = np.sqrt(AREA / (image.shape[0] * image.shape[1])) * np.exp(
            rng.uniform(np.log(0.7), np.log(1.5))
        )
        part = crop(whole, CROP, scale, rng)
        if rng.random() < 0.5:
            part = flipped(part)
        pixels = haze(photometric_augmentation(part.image, rng), rng)
        return NamedCrop(
            pixels, part.boxes.astype(np.float32), part.category, part.doubtful.astype(np.float32)
        )


def _by_hand(told: PhotoBoxes) -> bool:
    return any(whole_pixels(box) for box in told.boxes[told.kinds[:, TIGHT] > 0])


def loss_of(network: NanoDetProposals, samples: list[NamedCrop]) -> dict[str, Tensor]:
    """Losses by name, "loss" being their weighted sum."""
    found: CellProposals = network(normalized_pixels([sample.image for sample in samples]))
    centers, strides = cell_grid(found.shapes, found.states)
    size = found.states.new_tensor(found.size)
    zero = found.states.new_zeros(())
    sums = dict.fromkeys(("cell", "cell_box", "cell_sides", "box"), zero)
    quality_sum = drawn_sum = moved = hits = objects = zero
    for row, sample in enumerate(samples):
        boxes = normalized(torch.from_numpy(sample.boxes), size)
        kinds = torch.from_numpy(sample.kinds)
        holds, drawn = kinds[:, OBJECT] > 0, (kinds[:, TIGHT] > 0) & (kinds[:, OBJECT] > 0)
        overlap = (
            overlaps(found.cell_boxes[row].detach(), boxes)
            if len(boxes)
            else zero.new_zeros((len(centers), 0))
        )
        targets = assigned(found.object_logits[row], overlap, boxes, holds, centers / size)
        cells, owner, quality = targets.cells, targets.owner, targets.quality
        quality_sum = quality_sum + quality.sum()
        sums["cell"] = sums["cell"] + cell_loss(
            found.object_logits[row], cells, quality, cell_weights(sample, overlap, holds, centers)
        )
        own = drawn[owner]
        cells, owner, quality = cells[own], owner[own], quality[own]
        drawn_sum = drawn_sum + quality.sum()
        wanted = boxes[owner]
        sums["cell_box"] = (
            sums["cell_box"] + ((1 - giou(found.cell_boxes[row, cells], wanted)) * quality).sum()
        )
        sides = sides_of(wanted * size.repeat(2), centers[cells], strides[cells])
        sums["cell_sides"] = (
            sums["cell_sides"] + (side_loss(found.distance_logits[row, cells], sides) * quality).sum()
        )
        if not holds.any():
            continue
        last = overlaps(found.boxes[-1, row].detach(), boxes)
        hits, objects = hits + (last[:, holds].amax(0) >= 0.5).sum(), objects + holds.sum()
        best, owner = torch.maximum(last, overlaps(found.boxes[0, row].detach(), boxes)).max(1)
        has = (best >= OWNED) & drawn[owner]
        moved = moved + has.sum()
        sums["box"] = sums["box"] + moved_loss(found.boxes[1:, row, has], boxes[owner[has]])
    scale = {"cell": quality_sum, "cell_box": drawn_sum, "cell_sides": drawn_sum, "box": moved}
    losses = {name: value / torch.as_tensor(scale[name]).clamp(min=1) for name, value in sums.items()}
    weights = {"cell": 1.0, "cell_box": 2.0, "cell_sides": 0.25, "box": 1.0}
    losses["loss"] = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
    losses["held"] = torch.as_tensor(hits / torch.as_tensor(objects).clamp(min=1))
    return losses


@torch.no_grad()
def assigned(logits: Tensor, overlap: Tensor, boxes: Tensor, holds: Tensor, centers: Tensor) -> CellTargets:
    """As `loss.assign`, of one kind of object.

    logits: (cells,). overlap: (cells, m) of the cells' boxes. boxes: (m, 4) cxcywh; centers: (cells, 2); both normalized. holds:
    (m,), which boxes hold something.
    """
    if not holds.any():
        empty = torch.zeros(0, dtype=torch.long)
        return CellTargets(empty, empty, logits.new_zeros(0))
    apart = (centers[:, None] - boxes[None, :, :2]).abs()
    # A cell beside a small thing may be the nearest one.
    inside = (apart < (boxes[None, :, 2:] / 2).clamp(min=0.006)).all(-1) & holds
    metric = (logits.sigmoid().sqrt()[:, None] * overlap**4 + 1e-9) * inside
    return best_cells(metric, overlap)


def cell_weights(sample: NamedCrop, overlap: Tensor, holds: Tensor, centers: Tensor) -> Tensor:
    """(cells,) the weight of saying that a cell holds nothing: 1 where somebody said so of the cell's box."""
    empty = (
        overlap[:, ~holds].amax(1) >= SAME if (~holds).any() else torch.zeros(len(centers), dtype=torch.bool)
    )
    weights = torch.where(empty, 1.0, UNNAMED)
    if holds.any():  # another box of something named
        weights = torch.where((overlap[:, holds].amax(1) >= 0.5) & ~empty, 0.0, weights)
    if len(sample.unclear):
        unclear = torch.from_numpy(sample.unclear)
        inside = ((centers[:, None] > unclear[:, :2]) & (centers[:, None] < unclear[:, 2:])).all(-1).any(1)
        weights = torch.where(inside & ~empty, 0.0, weights)
    return weights


def cell_loss(logits: Tensor, cells: Tensor, quality: Tensor, weights: Tensor) -> Tensor:
    """Quality focal loss (Li et al. 2020), summed."""
    labels, weights = torch.zeros_like(logits), weights.clone()
    labels[cells], weights[cells] = quality, 1.0
    loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (loss * (logits.detach().sigmoid() - labels).abs() ** 2 * weights).sum()


def prepared(base: Path, proposals: Path) -> tuple[NanoDetProposals, set[str]]:
    """The network of a file, in the widths of the model folder `base`, and the names of what is trained of it."""
    network = network_of(base, load_file(proposals), LISTED)
    names = {name for name, _ in network.named_parameters() if name.startswith("any_object.") or _moves(name)}
    return network, names


def _moves(name: str) -> bool:
    return name.startswith("refinement.") and ".box." in name


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, default=Path("src/piza/weights/mini"), help="for its settings")
    parser.add_argument("--proposals", type=Path, required=True, help="the network to begin with")
    parser.add_argument("--work", type=Path, required=True, help="where `train labels` wrote photos.jsonl")
    parser.add_argument("--streets", type=Path)
    parser.add_argument("--signs", type=Path)
    parser.add_argument("--named", type=Path, nargs="+", required=True)
    parser.add_argument("--written", type=Path, nargs="+", required=True)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--crops", type=int, default=4, help="of a step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-after", type=int)
    parser.add_argument("--run", type=Path, required=True, help="folder of the checkpoint and the log")
    parser.add_argument("--out", type=Path, help="write the network there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network, names = prepared(args.base, args.proposals)
    batches = NamedCrops(
        named_boxes(args.work, args.named, args.written),
        source_folders(args.streets, args.signs),
        FrameCache(args.scenes) if args.scenes else None,
        args.seed,
        args.crops,
    )
    config = TrainerConfig(
        steps=args.steps, lr=args.lr, backbone_lr=MOVING_LR, muon=False, ema_decay=0.995, save_every=180.0
    )
    moving = [parameter for name, parameter in network.named_parameters() if _moves(name)]
    trainer = Trainer(
        network.train(),
        train_only(network, names),
        batches,
        loss_of,
        config,
        args.run,
        backbone_params=moving,
        state_names=names,
    )
    average = trainer.run(args.stop_after)
    if args.out:
        accelerate.undo(network)
        network.load_state_dict(average, strict=False)
        with atomic_write(args.out) as part:
            save_file({name: tensor.half() for name, tensor in network.state_dict().items()}, part)


if __name__ == "__main__":
    main()
