"""Teach the region encoder what things look like, with what people call them.

    python -m piza.training.from_scratch.named_regions --named named.jsonl --labels rows.json --nanodet nanodet_g.onnx
        --vectors words.npz --streets DIR --signs DIR [--scenes POOL] --proposals proposals.safetensors --work DIR
    python -m piza.training.from_scratch.named_regions ... --evaluate named_val.jsonl

--named has a line for each photo: {"key", "size", "regions"}, a region [x1, y1, x2, y2, phrase] in pixels: "silver hatchback
from behind", or "-" where it shows nothing. The encoder has to tell the words of each phrase, and which phrase of a batch belongs to which region; of drawn
objects and labeled signs, also their attributes. Writes WORK/proposals.safetensors, the proposal network with the encoder. Goes on
where it was when called again.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from piza.files import atomic_write
from piza.model.region_encoder import STATE, RegionEncoder
from piza.training.checkpoint import averaged_weights
from piza.training.from_scratch.nanodet_weights import load_nanodet
from piza.training.from_scratch.object_lists import swap_sides
from piza.training.from_scratch.region_frames import NamedRegion, RegionFrames, region_of
from piza.training.from_scratch.train_proposals import normalized_pixels, read_words, source_folders
from piza.training.from_scratch.vocabulary import read_vectors
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

WORDS = "words.json"
NOTHING = "-"  # the phrase of a region that shows no thing
MIN_COUNT = 5  # a word in so many phrases is asked for
NO_WORDS = frozenset("a an the of in on at to and with by from for its his her is are it".split())
PHRASES, LABELS, DRAWN = 176, 32, 48  # regions of a batch
ALIKE = 0.4  # share of words in common from which on two phrases may mean the same
WORD_VECTOR = 128


@dataclass
class RegionBatch:
    """crops (n, SIDE, SIDE, 3) uint8, sizes (n, 2); said (n, words) 1 for words of the phrase, named (n,) whether there is
    one; attributes (n, attributes) and known, 1 where it is known whether they are true."""

    crops: NDArray[np.uint8]
    sizes: Tensor
    said: Tensor
    named: Tensor
    attributes: Tensor
    known: Tensor


def words_of(phrase: str) -> list[str]:
    """The words of a phrase that say something."""
    return [word for word in re.findall(r"[a-z0-9]+", phrase.lower()) if word not in NO_WORDS]


@dataclass
class NamedPhoto:
    """A photo of a size (width, height) in pixels with regions that have phrases."""

    key: str
    size: tuple[int, int]
    regions: list[NamedRegion]


def read_named(path: Path) -> list[NamedPhoto]:
    """Photos with named regions."""
    photos = []
    for line in path.read_text(encoding="utf-8").splitlines():
        content = json.loads(line)
        key = content["key"]
        regions = [NamedRegion(key, tuple(box), phrase) for *box, phrase in content["regions"]]
        photos.append(NamedPhoto(key, tuple(content["size"]), regions))
    return photos


def named_regions(path: Path) -> list[NamedRegion]:
    """The regions of all photos."""
    return [region for photo in read_named(path) for region in photo.regions]


def labeled_regions(path: Path) -> list[NamedRegion]:
    """Objects of `street_rows` of which more than the category is known."""
    return [
        NamedRegion(photo["key"], tuple(one["xyxy"]), "", tuple(one["attributes"]), frozenset(one["known"]))
        for photo in json.loads(path.read_text())["photos"]
        for one in photo["objects"]
        if one["certain"] and len(one["known"]) > 1
    ]


class RegionNamer(nn.Module):
    """The encoder, and what it is taught with: words, attributes, and phrases to choose from."""

    def __init__(self, words: Sequence[str], attributes: int):
        super().__init__()
        self.encoder = RegionEncoder()
        self.said = nn.Linear(STATE, len(words))
        self.attributes = nn.Linear(STATE, attributes)
        nn.init.constant_(self.said.bias, -4.0)
        nn.init.constant_(self.attributes.bias, -4.0)
        self.vectors = nn.Parameter(torch.randn(len(words), WORD_VECTOR) * WORD_VECTOR**-0.5)
        self.phrase = nn.Sequential(nn.Linear(WORD_VECTOR, STATE), nn.GELU(), nn.Linear(STATE, STATE))
        self.look = nn.Linear(STATE, STATE)
        self.scale = nn.Parameter(torch.tensor(2.3))
        self.bias = nn.Parameter(torch.tensor(-3.0))

    def start(self, nanodet: Path, words: Sequence[str], vectors: dict[str, NDArray[np.float32]]) -> None:
        """Pretrained weights of the backbone, and word vectors."""
        backbone, _ = load_nanodet(nanodet)
        own = self.encoder.backbone.state_dict()
        self.encoder.backbone.load_state_dict({k: v for k, v in backbone.state_dict().items() if k in own})
        with torch.no_grad():
            for place, word in enumerate(words):
                if word in vectors:
                    self.vectors[place] = torch.from_numpy(vectors[word])

    def fits(self, states: Tensor, said: Tensor) -> Tensor:
        """Logits (n, m) whether each region (n, STATE) is what each phrase (m, words) says."""
        phrases = (said @ self.vectors) / said.sum(-1, keepdim=True).clamp(min=1)
        phrases = functional.normalize(self.phrase(phrases), dim=-1)
        return self.scale.exp() * functional.normalize(self.look(states), dim=-1) @ phrases.T + self.bias


def naming_loss(namer: nn.Module, batch: RegionBatch) -> dict[str, Tensor]:
    """Binary cross entropy of words, of attributes, and of which phrase fits which region (Zhai et al. 2023, SigLIP)."""
    assert isinstance(namer, RegionNamer)
    states = namer.encoder(normalized_pixels(list(batch.crops)), batch.sizes)
    cross_entropy = functional.binary_cross_entropy_with_logits
    named = batch.named
    words = cross_entropy(namer.said(states[named]), batch.said[named], reduction="sum") / named.sum()
    attributes = cross_entropy(
        namer.attributes(states), batch.attributes, weight=batch.known, reduction="sum"
    ) / (batch.known.amax(-1).sum() + 1)
    true = batch.said.sum(-1) > 0
    said = batch.said[true]
    common = said @ said.T
    alike = common / (said.sum(-1)[:, None] + said.sum(-1) - common)
    same = torch.eye(len(said))
    fits = namer.fits(states[true], said)
    each = cross_entropy(fits, same, reduction="none") * ((alike < ALIKE) | (same > 0))
    which = each.sum() / len(said)
    right = (
        fits.masked_fill((alike >= ALIKE) & (same == 0), -1e4).argmax(0) == torch.arange(len(said))
    ).float()
    return {
        "loss": words + attributes + which,
        "words": words,
        "attributes": attributes,
        "which": which,
        "right": right.mean(),
    }


class RegionBatches:
    """Batches of regions, a function of the step and the process."""

    def __init__(
        self,
        frames: RegionFrames,
        named: Sequence[NamedRegion],
        others: Sequence[tuple[Sequence[NamedRegion], int]],
        words: Sequence[str],
        attributes: Sequence[str],
        seed: int,
    ):
        self.frames, self.seed = frames, seed
        self.sources = [(named, PHRASES), *((regions, count) for regions, count in others if regions)]
        self.words = {word: place for place, word in enumerate(words)}
        self.attributes = {word: place for place, word in enumerate(attributes)}
        self.kinds = np.array([word.partition("=")[0] for word in attributes])

    def __call__(self, step: int, process: int) -> RegionBatch:
        """The regions of a step."""
        rng = np.random.default_rng([self.seed, step, process])
        chosen = [
            regions[int(i)] for regions, count in self.sources for i in rng.integers(len(regions), size=count)
        ]
        return self.batch(chosen, rng)

    def batch(self, regions: Sequence[NamedRegion], rng: np.random.Generator | None) -> RegionBatch:
        """A batch; without `rng` the regions as they are."""
        crops, sizes = [], []
        said = torch.zeros(len(regions), len(self.words))
        attributes = torch.zeros(len(regions), len(self.attributes))
        known = torch.zeros_like(attributes)
        for row, one in enumerate(regions):
            mirrored = bool(rng and rng.random() < 0.3 and _may_mirror(one))
            crop, size = region_of(self.frames.frame(one.key), one.xyxy, mirrored, rng)
            crops.append(crop)
            sizes.append(size)
            phrase = swap_sides(one.phrase) if mirrored else one.phrase
            for word in words_of(phrase):
                if word in self.words:
                    said[row, self.words[word]] = 1
            for word in one.attributes:
                word = swap_sides(word) if mirrored else word
                if word in self.attributes:
                    attributes[row, self.attributes[word]] = 1
            if one.attributes:
                told = np.isin(self.kinds, list(one.known)) if one.known else np.ones(len(self.kinds), bool)
                known[row] = torch.from_numpy(told.astype(np.float32))
        named = torch.tensor([bool(one.phrase) for one in regions])
        return RegionBatch(
            np.stack(crops),
            torch.tensor(np.array(sizes), dtype=torch.float32),
            said,
            named,
            attributes,
            known,
        )


def _may_mirror(one: NamedRegion) -> bool:
    """Whether a mirrored one is still what is said of it: what is written or pointed at on signs is not."""
    return "sign" not in one.phrase and "plate" not in one.phrase and "category=sign" not in one.attributes


@torch.inference_mode()
def evaluate(namer: RegionNamer, batches: RegionBatches, named: Sequence[NamedRegion]) -> dict[str, float]:
    """Of each photo: how often the phrase is matched with its own region among those that are named otherwise, by phrases and
    by words."""
    namer.eval()
    by_photo: dict[str, list[NamedRegion]] = {}
    for one in named:
        by_photo.setdefault(one.key, []).append(one)
    right: list[tuple[float, float, float]] = []
    for regions in by_photo.values():
        batch = batches.batch(regions, None)
        states = namer.encoder(normalized_pixels(list(batch.crops)), batch.sizes)
        true = (batch.said.sum(-1) > 0).nonzero()[:, 0]
        if not len(true):
            continue
        said = batch.said[true]
        common = said @ batch.said.T
        alike = common / (said.sum(-1)[:, None] + batch.said.sum(-1) - common).clamp(min=1)
        other = (alike >= ALIKE) & (torch.arange(len(regions)) != true[:, None])
        fits = namer.fits(states, said).T.masked_fill(other, -1e4)
        logits = namer.said(states)
        words = said @ functional.logsigmoid(logits).T + (1 - said) @ functional.logsigmoid(-logits).T
        words = words.masked_fill(other, -1e4)
        chance = 1 / (~other).sum(-1)
        for row, place in enumerate(true):
            right.append(
                (float(fits[row].argmax() == place), float(words[row].argmax() == place), float(chance[row]))
            )
    names = ("by phrase", "by words", "chance")
    return {n: round(100 * float(v), 1) for n, v in zip(names, np.mean(right, 0), strict=True)} | {
        "phrases": len(right)
    }


def asked_words(named: Sequence[NamedRegion], folder: Path) -> list[str]:
    """The words of the run in a folder, or else those that are in so many phrases."""
    if (folder / WORDS).exists():
        words: list[str] = json.loads((folder / WORDS).read_text())
        return words
    counts = Counter(word for one in named for word in set(words_of(one.phrase)))
    return sorted(word for word, count in counts.items() if count >= MIN_COUNT)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--named", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="as `street_rows` writes them")
    parser.add_argument("--nanodet", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--streets", type=Path, required=True)
    parser.add_argument("--signs", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, help="a cache of drawn scenes")
    parser.add_argument(
        "--proposals", type=Path, required=True, help="the network that the encoder becomes a part of"
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="folder of a run that is gone on from")
    parser.add_argument("--evaluate", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-after", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    named = named_regions(args.named)
    words = asked_words(named, args.start or args.work)
    attributes = read_words().words
    labels = labeled_regions(args.labels) if args.labels else []
    frames = RegionFrames(source_folders(args.streets, args.signs), args.scenes, args.work)
    batches = RegionBatches(
        frames, named, [(labels, LABELS), (frames.drawn(), DRAWN)], words, attributes, args.seed
    )
    namer = RegionNamer(words, len(attributes))
    if args.start:
        namer.load_state_dict(averaged_weights(args.start))
    else:
        namer.start(args.nanodet, words, read_vectors(args.vectors))
    if args.evaluate:
        namer.load_state_dict(averaged_weights(args.work))
        report = evaluate(namer, batches, named_regions(args.evaluate))
        print(report)
        return
    frames.prepare({one.key for one in [*named, *labels]})
    with atomic_write(args.work / WORDS) as part:
        part.write_text(json.dumps(words))
    print(f"{len(named)} named, {len(labels)} labeled, {len(words)} words", flush=True)
    config = TrainerConfig(
        steps=args.steps, lr=args.lr, backbone_lr=0.25, muon=False, ema_decay=0.995, save_every=120.0
    )
    trainer = Trainer(
        namer,
        list(namer.parameters()),
        batches,
        naming_loss,
        config,
        args.work,
        backbone_params=list(namer.encoder.backbone.parameters()),
    )
    average = trainer.run(args.stop_after)
    encoder = {
        name.replace("encoder.", "regions.", 1): tensor.half().contiguous()
        for name, tensor in average.items()
        if name.startswith("encoder.")
    }
    with atomic_write(args.work / "proposals.safetensors") as part:
        save_file({**load_file(args.proposals), **encoder}, part)


if __name__ == "__main__":
    main()
