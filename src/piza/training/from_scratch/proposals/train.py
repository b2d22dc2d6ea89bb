"""How the first look of `mini` learned real streets: the proposal network on NanoDet's weights.

    $RUN labels --streets DIR --signs DIR --teacher teacher.jsonl --splits splits.json   # what is known of all photos
    $RUN train --streets DIR --signs DIR --nanodet nanodet_g.onnx --scenes POOL          # goes on where it was
    $RUN export --out proposals.safetensors

where RUN="python -m piza.training.from_scratch.proposals.train". POOL is a folder that `recipes/train_first_look.py scenes` has written. A training that is
interrupted goes on where it was when called again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from piza.files import atomic_write
from piza.model import accelerate
from piza.model.io import load_folder
from piza.model.nanodet import COCO_CLASSES, normalized
from piza.model.nanodet_proposals import NanoDetProposals
from piza.training.checkpoint import averaged_weights
from piza.training.from_scratch.proposals.crops import CropSample, Sources, Vocabulary, load_photos
from piza.training.from_scratch.proposals.loss import crop_loss
from piza.training.from_scratch.proposals.nanodet_weights import load_nanodet
from piza.training.from_scratch.streets.labels import street_photos
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

WORDS = Path(__file__).with_name("street_words.json")
CROP = (640, 384)  # width, height
AREA = 960 * 960  # pixels of a whole frame at the scale of a first look
LISTED = 48  # of a crop, in training
SHARES = {
    "dawn": 0.28,
    "unsplash": 0.07,
    "highway": 0.06,
    "camvid": 0.13,
    "tl_china": 0.06,
    "signs": 0.15,
    "scenes": 0.25,
}
# The class of COCO that a category starts from, and what is added to its bias; others start from nothing.
START = {
    "person": (0, 0.0), "cyclist": (1, -1.0), "bicycle": (1, 0.0), "car": (2, 0.0), "van": (2, -1.5),
    "motorcycle": (3, 0.0), "motorcyclist": (3, -1.0), "bus": (5, 0.0), "truck": (7, 0.0),
    "traffic light": (9, 0.0), "pedestrian light": (9, -1.0), "lamp": (9, -2.0), "hydrant": (10, 0.0),
    "sign": (11, 0.5), "bench": (13, -0.5), "dog": (16, 0.0), "planter": (58, -0.5), "tree": (58, -2.0),
}  # fmt: skip


def new_network(base: Path, words: Vocabulary, count: int, regions: bool = True) -> NanoDetProposals:
    """A fresh network that lists `count` objects, in the widths of the model folder `base`, with a region encoder or without."""
    detector = load_folder(base).detector
    torch.manual_seed(0)
    network = NanoDetProposals(detector, len(words.words), len(words.categories), count, regions=regions)
    accelerate.apply(network, training=True)
    return network


def network_of(base: Path, weights: dict[str, Tensor], count: int) -> NanoDetProposals:
    """A network with weights, in the widths of `base`; it has a region encoder if the weights have one."""
    regions = any(name.startswith("regions.") for name in weights)
    network = new_network(base, read_words(), count, regions)
    network.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return network


@torch.no_grad()
def start_from_nanodet(network: NanoDetProposals, onnx: Path, words: Vocabulary) -> None:
    """The detector's weights; each category starts as the class of COCO that is nearest to it."""
    backbone, answers = load_nanodet(onnx)
    network.backbone.load_state_dict(backbone.state_dict())
    for answer, category, distance in zip(
        _convolutions(answers.levels),
        _convolutions(network.category),
        _convolutions(network.distance),
        strict=True,
    ):
        assert answer.bias is not None and category.bias is not None and distance.bias is not None
        nn.init.zeros_(category.weight)
        nn.init.constant_(category.bias, -5.0)
        for name, (number, more) in START.items():
            place = words.category[name]
            category.weight[place] = answer.weight[number]
            category.bias[place] = answer.bias[number] + more
        distance.weight.copy_(answer.weight[COCO_CLASSES:])
        distance.bias.copy_(answer.bias[COCO_CLASSES:])


def _convolutions(levels: nn.ModuleList) -> list[nn.Conv2d]:
    return [layer for layer in levels if isinstance(layer, nn.Conv2d)]


class CropBatches:
    """Crops, a function of the step and the process."""

    def __init__(self, sources: Sources, seed: int, crops: int):
        self.sources, self.seed, self.crops = sources, seed, crops

    def __call__(self, step: int, process: int) -> list[CropSample]:
        """The crops of a step."""
        import cv2
        import numpy as np

        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, step, process])
        return [self.sources.sample(CROP, AREA, rng) for _ in range(self.crops)]


def normalized_pixels(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(height, width, 3) uint8 RGB of one size -> (batch, 3, height, width), as the backbone's input."""
    return normalized(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float())


def loss_of(network: nn.Module, samples: list[CropSample]) -> dict[str, Tensor]:
    """The losses of some crops of one size."""
    return crop_loss(network(normalized_pixels([sample.image for sample in samples])), samples)


def source_folders(streets: Path | None, signs: Path | None) -> dict[str, Path]:
    """Where the photos of each source are."""
    found = {path.name: path / "images" for path in streets.iterdir() if path.is_dir()} if streets else {}
    return {**found, "signs": signs / "images"} if signs else found


def read_words() -> Vocabulary:
    """The attribute words of the proposal network."""
    return Vocabulary(json.loads(WORDS.read_text()))


def read_photos(work: Path, part: str) -> list[Any]:
    """The photos of a part ("train") that the stage `labels` wrote."""
    lines = [json.loads(line) for line in (work / "photos.jsonl").read_text().splitlines()]
    return load_photos([line["photo"] for line in lines if line["part"] == part])


def write_labels(args: argparse.Namespace) -> None:
    """The stage `labels`."""
    parts = {key: part for part, keys in json.loads(args.splits.read_text()).items() for key in keys}
    args.work.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.work / "photos.jsonl") as path, open(path, "w") as out:
        for photo in street_photos(args.streets, args.signs, args.teacher, args.colors):
            out.write(json.dumps({"part": parts.get(photo.key, "train"), "photo": asdict(photo)}) + "\n")


def run(args: argparse.Namespace) -> None:
    """The stage `train`."""
    torch.set_num_threads(1)
    words = read_words()
    network = new_network(args.base, words, LISTED, regions=False)
    start_from_nanodet(network, args.nanodet, words)
    network.half_precision = args.half
    photos = read_photos(args.work, "train")
    sources = Sources(photos, source_folders(args.streets, args.signs), args.scenes, words, SHARES)
    sources.signs()
    backbone = [
        p for part in (network.backbone, network.category, network.distance) for p in part.parameters()
    ]
    config = TrainerConfig(
        steps=args.steps,
        lr=args.lr,
        backbone_lr=0.25,
        muon=False,
        ema_decay=0.997,
        warmup=100,
        save_every=180.0,
    )
    parameters = list(network.parameters())
    batches = CropBatches(sources, args.seed, args.crops)
    trainer = Trainer(
        network, parameters, batches, loss_of, config, args.work / "proposals", backbone_params=backbone
    )
    trainer.run(args.stop_after)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["labels", "train", "export"])
    parser.add_argument("--work", type=Path, default=Path("runs/streets"), help="checkpoints and logs")
    parser.add_argument("--base", type=Path, default=Path("src/piza/weights/mini"), help="for its settings")
    parser.add_argument("--streets", type=Path, help="SOURCE/images and SOURCE/boxes.jsonl")
    parser.add_argument("--signs", type=Path, help="images/ and train.json in SOREC's format")
    parser.add_argument("--teacher", type=Path, help="JSON lines of a detector's boxes")
    parser.add_argument("--colors", type=Path, help="JSON lines of boxes whose color is clear")
    parser.add_argument("--splits", type=Path, help='{"train": [KEY, ...], "val": ..., "test": ...}')
    parser.add_argument("--nanodet", type=Path, help="nanodet_g.onnx")
    parser.add_argument("--scenes", type=Path, nargs="*", default=[], help="caches of drawn scenes")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--crops", type=int, default=4, help="of a step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--half", action="store_true", help="convolutions in bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-after", type=int, help="leave after this step")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.stage == "labels":
        write_labels(args)
    elif args.stage == "train":
        run(args)
    else:
        with atomic_write(args.out) as part:
            save_file(
                {name: tensor.half() for name, tensor in averaged_weights(args.work / "proposals").items()},
                part,
            )


if __name__ == "__main__":
    main()
