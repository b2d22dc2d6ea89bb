"""Teach region encoder and matcher together: the encoder learns to see what sentences ask about.

    python -m piza.training.from_scratch.regions.train --cache CACHE --rows rows.json --written written.json --named named.jsonl
        --scenes POOL --streets DIR --signs DIR --proposals proposals.safetensors --matcher matcher.safetensors --nanodet nanodet_g.onnx
        --vectors words.npz --model FOLDER --sorec trainS.json val.json --drawn drawn.jsonl --out RUN [--device cuda]

CACHE is what `lists.cached` wrote of the same frames with the same --proposals, whose last part, that describes objects, learns with
the matcher. At every step the regions are cut out of the pictures anew, moved a little and in another light. The first
--only-names steps teach the encoder alone: to tell the words of each name, and which name of a batch belongs to which region. Lists
without images (--sorec, --drawn) go on being told, so that their language is not forgotten. Writes RUN/proposals.safetensors, the network with its encoder, and
RUN/matcher.safetensors. Goes on where it was when called again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoTokenizer

from piza.devices import check_device
from piza.files import atomic_write
from piza.methods import train_only
from piza.model.text import Prompter
from piza.training.checkpoint import averaged_weights
from piza.training.from_scratch.frames.cache import FrameCache
from piza.training.from_scratch.lists.batches import ListedBatches, evaluate, some_of
from piza.training.from_scratch.lists.cached import read_cache
from piza.training.from_scratch.lists.listed_frames import Frames, photo_frames, scene_frames
from piza.training.from_scratch.lists.object_lists import ListTeller, ObjectList, read_drawn, sorec_lists
from piza.training.from_scratch.lists.reader import start_reader
from piza.training.from_scratch.lists.train_matcher import STATES
from piza.training.from_scratch.proposals.train import read_words, source_folders
from piza.training.from_scratch.regions.named import (
    WORDS,
    NamedRegion,
    RegionTargets,
    asked_words,
    drawn_regions,
    labeled_regions,
    may_mirror,
    named_regions,
    placed,
)
from piza.training.from_scratch.regions.namer import RegionNamer
from piza.training.from_scratch.regions.namer import evaluate as evaluate_names
from piza.training.from_scratch.regions.neighbors import neighbor_frames
from piza.training.from_scratch.regions.pixels import RegionPixels
from piza.training.from_scratch.regions.reader import JointReader, RegionsAt, exported, joint_loss
from piza.training.from_scratch.regions.sentences import named_frames
from piza.training.from_scratch.streets.rows import SOURCES
from piza.training.from_scratch.words.vocabulary import read_vectors
from piza.training.loader import MicroBatches
from piza.training.trainer import Callbacks, Trainer
from piza.training.trainer_config import TrainerConfig

NAMED, TIGHT, LABELED, DRAWN_ONES = 900, 500, 160, 200  # regions of a step


class JointBatches:
    """Batches of lists and of regions; a function of the step and the process."""

    def __init__(
        self,
        lists: ListedBatches,
        sources: Sequence[tuple[Sequence[NamedRegion], int]],
        targets: RegionTargets,
        sizes: dict[str, tuple[int, int]],
        only_names: int,
    ):
        self.lists, self.targets, self.sizes, self.only_names = lists, targets, sizes, only_names
        self.sources = [([one for one in regions if one.key in sizes], count) for regions, count in sources]

    def __call__(self, step: int, process: int) -> MicroBatches[Any]:
        """The batches of a step: in the first ones regions alone."""
        rng = np.random.default_rng([self.lists.seed, 1, step, process])
        regions = self.regions(
            [
                of_kind[int(i)]
                for of_kind, count in self.sources
                if of_kind
                for i in rng.integers(len(of_kind), size=count)
            ],
            rng,
        )
        if step < self.only_names:
            return MicroBatches([regions])
        return MicroBatches([*self.lists(step, process).batches, regions])

    def regions(self, chosen: Sequence[NamedRegion], rng: np.random.Generator | None) -> RegionsAt:
        """Regions of a batch; without `rng` as they are."""
        mirrored = [bool(rng and rng.random() < 0.3 and may_mirror(one)) for one in chosen]
        boxes = placed(chosen, self.sizes)
        boxes[:, 0] = torch.where(torch.tensor(mirrored), 1 - boxes[:, 0], boxes[:, 0])
        said, attributes, known = self.targets.of(chosen, mirrored)
        return RegionsAt(
            [one.key for one in chosen],
            boxes,
            mirrored,
            said,
            torch.tensor([bool(one.phrase) for one in chosen]),
            attributes,
            known,
            torch.tensor([one.tight for one in chosen]),
        )


def start_joint(
    args: argparse.Namespace, vocabulary: dict[str, int], words: Sequence[str], pixels: RegionPixels
) -> JointReader:
    """The parts as they were; of the encoder what a network with one has learned, or the pretrained backbone."""
    reader = start_reader(args, states=args.go_on)
    namer = RegionNamer(words, len(read_words().words))
    namer.start(args.nanodet, words, read_vectors(args.vectors))
    if args.start:
        learned = averaged_weights(args.start)
        part = "namer."
        namer.load_state_dict({n.removeprefix(part): t for n, t in learned.items() if n.startswith(part)})
    if args.encoder:
        weights = load_file(args.encoder)
        part = "regions."
        namer.encoder.load_state_dict(
            {n.removeprefix(part): t for n, t in weights.items() if n.startswith(part)}
        )
    joint = JointReader(reader, namer, pixels)
    if not args.go_on:
        joint.start_lexicon(vocabulary, words, read_words().words)
    return joint.to(pixels.device)


@dataclass
class Checks:
    """What a training is judged by now and then: rows and names of photos to choose on.

    frames: by the name of their file; cache: of their lists; tell: the teller and the id of an unknown word.
    """

    frames: dict[str, Frames]
    names: list[NamedRegion]
    cache: Path
    teller: ListTeller
    unknown: int

    def report(self, step: int, joint: JointReader, batches: JointBatches) -> None:
        """Print how well the model does."""
        for name, found in self.frames.items():
            lists = ListedBatches(self.cache, {name: found}, {}, self.teller, self.unknown, 0)
            print(step, name, evaluate(joint.read, lists, together=True), flush=True)
        if self.names:
            found_names = evaluate_names(
                joint.namer, lambda some: joint.regions(batches.regions(some, None)), self.names
            )
            print(step, "names", found_names, flush=True)


def read_sentences(args: argparse.Namespace) -> tuple[dict[str, Frames], dict[str, list[ObjectList]]]:
    """All lists that sentences are about, by kind: those with frames, and those that are told."""
    frames = {
        "scenes": scene_frames([args.scenes] if args.scenes else []),
        "photos": photo_frames(args.rows),
        "written": photo_frames(args.written),
        "named": named_frames(args.named),
        "beside": neighbor_frames(args.named),
    }
    told = {"sorec": sorec_lists(args.sorec, held_out=False)} if args.sorec else {}
    if args.drawn:
        told["drawn"] = read_drawn(args.drawn)
    return frames, told


def train(
    args: argparse.Namespace, joint: JointReader, batches: JointBatches, checks: Checks
) -> dict[str, Tensor] | None:
    """The averaged weights, in the first process."""

    def check(step: int) -> None:
        if trainer.process or (step % args.check_every and step != args.steps):
            return
        exported(trainer.average.tensors, args.out, args.proposals, f"_{step}")
        held = {name: value.clone() for name, value in joint.state_dict().items()}
        trainer.average.apply()
        checks.report(step, joint.eval(), batches)
        joint.load_state_dict(held)
        joint.train()

    config = TrainerConfig(
        steps=args.steps,
        lr=args.lr,
        weight_decay=args.weight_decay,
        backbone_lr=0.25,
        ema_decay=args.ema_decay,
        seed=args.seed,
        workers=args.workers,
    )
    trained = joint.trained()
    trainer = Trainer(
        joint,
        train_only(joint, trained),
        batches,
        joint_loss,
        config,
        args.out,
        Callbacks(after_step=check),
        backbone_params=list(joint.namer.encoder.backbone.parameters()),
        state_names=set(trained),
    )
    average = trainer.run(args.stop_after)
    return None if trainer.process else average


def main() -> None:
    """The command line."""
    args = _parser().parse_args()
    torch.set_num_threads(1)
    attributes = read_words().words
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    teller = ListTeller({word: place for place, word in enumerate(attributes)}, STATES, Prompter(tokenizer))
    lists = ListedBatches(
        args.cache,
        *read_sentences(args),
        teller,
        tokenizer.unk_token_id,
        args.seed,
        args.share,
        dict(args.weight),
    )
    regions = named_regions(args.named)
    words = asked_words(regions, args.start or args.out)
    checks = Checks(
        {path.stem: photo_frames(path) for path in args.check},
        named_regions(args.check_names) if args.check_names else [],
        args.check_cache,
        teller,
        tokenizer.unk_token_id,
    )
    cached = read_cache(args.cache)
    keys = {key for of_kind in lists.frames.values() for key in of_kind.cached(cached).keys}
    keys |= {key for of_kind in checks.frames.values() for key in of_kind.keys}
    keys |= {one.key for one in checks.names}
    device = torch.device(check_device(args.device))
    pixels = RegionPixels(keys, source_folders(args.streets, args.signs), args.scenes, args.pixels, device)
    drawn = drawn_regions(FrameCache(args.scenes) if args.scenes else ())
    sources = [
        (of_kind, some_of(count, args.share))
        for of_kind, count in (
            (regions, NAMED),
            ([one for one in regions if one.tight], TIGHT),
            (labeled_regions(args.rows), LABELED),
            (drawn, DRAWN_ONES),
        )
    ]
    batches = JointBatches(lists, sources, RegionTargets(words, attributes), pixels.sizes, args.only_names)
    joint = start_joint(args, tokenizer.get_vocab(), words, pixels)
    args.out.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.out / WORDS) as part:
        part.write_text(json.dumps(words))
    print(f"{len(pixels.sizes)} pictures, {len(regions)} named regions, {len(words)} words", flush=True)
    average = train(args, joint, batches, checks)
    if average is not None:
        exported(average, args.out, args.proposals)


def _weight(text: str) -> tuple[str, float]:
    source, _, times = text.partition("=")
    if source not in SOURCES or not 0 < float(times) < float("inf"):
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(SOURCES)} and a number, got {text!r}")
    return source, float(times)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True, help="of photos, as `streets.rows` writes them")
    parser.add_argument(
        "--written", type=Path, required=True, help="the same of sentences that somebody wrote"
    )
    parser.add_argument("--named", type=Path, required=True, help="regions with what people call them")
    parser.add_argument("--scenes", type=Path, help="a cache of drawn scenes")
    parser.add_argument("--streets", type=Path)
    parser.add_argument("--signs", type=Path)
    parser.add_argument("--pixels", type=Path, required=True, help="file to keep the pictures in, uncoded")
    parser.add_argument("--model", type=Path, required=True, help="folder with the tokenizer")
    parser.add_argument("--base", type=Path, default=Path("src/piza/weights/mini"), help="for its settings")
    parser.add_argument(
        "--proposals", type=Path, required=True, help="the network whose lists the cache holds"
    )
    parser.add_argument("--encoder", type=Path, help="a network whose region encoder is begun with")
    parser.add_argument("--start", type=Path, help="folder of a run whose encoder and words are gone on with")
    parser.add_argument("--nanodet", type=Path, help="what the encoder begins with, without --encoder")
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--matcher", type=Path, required=True)
    parser.add_argument(
        "--go-on", action="store_true", help="--matcher knows the states and regions of lists already"
    )
    parser.add_argument("--sorec", type=Path, nargs="*", default=[])
    parser.add_argument("--drawn", type=Path)
    parser.add_argument("--check", type=Path, nargs="*", default=[], help="rows of photos to choose on")
    parser.add_argument("--check-names", type=Path, help="names of regions of photos to choose on")
    parser.add_argument("--check-cache", type=Path)
    parser.add_argument("--check-every", type=int, default=400)
    parser.add_argument("--only-names", type=int, default=0, help="the first steps teach the encoder alone")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the lists and regions of a step: fewer suit a CPU"
    )
    parser.add_argument(
        "--weight",
        metavar="SOURCE=TIMES",
        type=_weight,
        action="append",
        default=[],
        help="take the photos of a source so many times as often",
    )
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--ema-decay", type=float, default=0.99, help="of the running average of weights")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-after", type=int)
    parser.add_argument("--out", type=Path, required=True)
    return parser


if __name__ == "__main__":
    main()
