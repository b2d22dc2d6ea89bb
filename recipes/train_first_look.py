"""How the first look of `mini` was made: a finder of things, and a reader of sentences.

    $ONE scenes                      # scenes with all that is known of their things
    $ONE looks                       # anew: the words for what things look like, first_look_words.json
    $ONE words                       # the reader, on things as the scenes know them; can run beside `find`
    $ONE find                        # the finder
    $TWO read                        # both together
    $ONE export --out src/piza/weights/mini

where ONE="python recipes/train_first_look.py" and TWO="torchrun --nproc_per_node 2 recipes/train_first_look.py". It reads the
photos of signs that `recipes/train_mini.py pools` leaves in --work, and adds its parts to the model of --base, whose later looks stay
as they are. A stage that is interrupted goes on where it was when called again.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from train_mini import HALF_SEED, SCENE_SIZE, Scenes, SignPhotos
from transformers import AutoModelForZeroShotObjectDetection

from piza.data.frames import Frame, scene_frames, write_pool
from piza.data.windows import part_of
from piza.model.accelerate.deformable import use_fast_sampling
from piza.model.piza import Piza, load_folder, load_weights, save_folder
from piza.training.listing import ListedFrame, ListedFrames, listed_frame, listing_loss
from piza.training.trainer import LoopConfig, train

# Input sizes, width x height: of frames, or of parts of them in these shapes; and how often each is drawn.
SIZES = {(768, 448): 0.75, (672, 512): 0.15, (576, 576): 0.1}
NUM_PROPOSALS = 64  # listed of a picture
SEEN_OFTEN = 20  # a word for looks is one that this many things have
PARTS = ("proposals.", "matcher.")
WORDS = Path(__file__).with_name("first_look_words.json")


def write_scenes(work: Path, count: int = 8000) -> None:
    """Stored at half their size, as first looks need no more, under seeds that follow those of `train_mini.py`."""
    seeds = range(HALF_SEED + 20_000, HALF_SEED + 20_000 + count)
    frames = scene_frames(seeds, SCENE_SIZE, shrink=2, absent=6, most=100)
    write_pool(work / "half_told", count, (SCENE_SIZE[0] // 2, SCENE_SIZE[1] // 2), frames)


def write_looks(work: Path) -> None:
    """The words that are said of the looks of things, most frequent first. Their order is that of the model's outputs, so
    they stay as they are where a model is trained on."""
    met: Counter[str] = Counter()
    for frame in Scenes(*scene_pools(work)).frames():
        for looks in frame.attributes:
            met.update(looks)
    words = [word for word, count in met.most_common() if count >= SEEN_OFTEN]
    WORDS.write_text(json.dumps(words, indent=0) + "\n")


def scene_pools(work: Path) -> list[Path]:
    return sorted(path.parent for path in work.glob("half*/frames.npy"))


# --- the reader, on things as the scenes know them --------------------------------------------------------------------


@dataclass
class KnownObjectsBatch:
    """What the reader is told of some pictures, and what it should answer; in the shapes of `ExpressionMatcher.read`.

    target: (pictures, sentences) the thing that is meant, -100 where there is no sentence. roles: (pictures, sentences, k, 3).
    """

    ids: Tensor
    mask: Tensor
    features: Tensor
    boxes: Tensor
    aspect: float
    target: Tensor
    relevance: Tensor


class KnownObjects:
    """Scenes as lists of things, of which a finder might have seen a little less and something else, and a few of which are
    none."""

    def __init__(self, work: Path, seed: int, prompter, words: dict[str, int], states: int):
        self.scenes = Scenes(*scene_pools(work))
        self.seed, self.prompter, self.words, self.states = seed, prompter, words, states

    def __call__(self, step: int, process: int) -> KnownObjectsBatch:
        rng = np.random.default_rng([self.seed, step, process])
        frames: list[Frame] = []
        while len(frames) < 3:
            frame = self.scenes.draw(rng)
            frames += [frame] if len(frame.objects) <= NUM_PROPOSALS else []
        asked = [rng.permutation(len(frame.rows))[:24] for frame in frames]
        longest = max(map(len, asked))
        prompts = [
            [frame.rows[rows[k]][0] if k < len(rows) else "nothing"]
            for frame, rows in zip(frames, asked, strict=True)
            for k in range(longest)
        ]
        ids, mask, _ = self.prompter(prompts)
        target = torch.full((len(frames), longest), -100)
        relevance = torch.full((len(frames), longest, NUM_PROPOSALS, 3), 0.5)
        told = [self.objects(frame, rng) for frame in frames]
        for row, (frame, rows) in enumerate(zip(frames, asked, strict=True)):
            target[row, : len(rows)] = torch.tensor([frame.rows[k][2] for k in rows])
            known = torch.tensor(np.array([frame.relevance[k] for k in rows]))
            relevance[row, : len(rows)] = 0
            relevance[row, : len(rows), : known.shape[1]] = known.float()
        seen, boxes = (torch.from_numpy(np.stack(values)) for values in zip(*told, strict=True))
        ids, mask = (tensor.view(len(frames), longest, -1) for tensor in (ids, mask.bool()))
        return KnownObjectsBatch(
            ids, mask, seen, boxes, frames[0].size[1] / frames[0].size[0], target, relevance
        )

    def objects(self, frame: Frame, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        """(THINGS, width) what is known of things, as `Proposals.features` has it but for the states, and (THINGS, 4) boxes."""
        real, noise = len(frame.objects), rng.uniform()
        looks = np.zeros((NUM_PROPOSALS, len(self.words)), np.float32)
        for number, shown in enumerate(frame.attributes):
            looks[number, [self.words[word] for word in shown if word in self.words]] = 1
        boxes = np.empty((NUM_PROPOSALS, 4))
        objects = frame.objects / np.tile(frame.size, 2)
        boxes[:real] = np.hstack([(objects[:, :2] + objects[:, 2:]) / 2, objects[:, 2:] - objects[:, :2]])
        for number in range(real, NUM_PROPOSALS):  # half seen twice, half nothing at all
            like = int(rng.integers(real))
            looks[number] = looks[like] * (rng.random(looks.shape[1]) < 0.5)
            boxes[number] = boxes[like] + 0.02 * np.array([rng.normal(), rng.normal(), 0, 0])
            if rng.random() < 0.5:
                boxes[number] = *rng.random(2), 0.02, 0.03
        looks *= 1 - 0.5 * noise * rng.random((NUM_PROPOSALS, 1)) * rng.random(looks.shape)
        for _ in range(4):
            looks[np.arange(NUM_PROPOSALS), rng.integers(looks.shape[1], size=NUM_PROPOSALS)] += (
                0.4 * noise * rng.random(NUM_PROPOSALS)
            )
        boxes[:, :2] += 0.1 * noise * rng.normal(size=(NUM_PROPOSALS, 2)) * boxes[:, 2:]
        boxes[:, 2:] *= np.exp(0.1 * noise * rng.normal(size=(NUM_PROPOSALS, 2)))
        score = 0.3 * rng.random(NUM_PROPOSALS)
        score[:real] = 1 - 0.6 * noise * rng.random(real)
        seen = np.hstack([np.zeros((NUM_PROPOSALS, self.states)), looks.clip(0, 1), score[:, None]])
        return seen.astype(np.float32), boxes.astype(np.float32)


def known_objects_loss(model: Piza, told: KnownObjectsBatch) -> dict[str, Tensor]:
    assert model.matcher is not None
    answers, relevance = model.matcher.read(told.ids, told.mask, told.features, told.boxes, told.aspect)
    asked = told.target >= 0
    which = 2 * torch.stack([functional.cross_entropy(a[asked], told.target[asked]) for a in answers]).mean()
    wrong = functional.binary_cross_entropy_with_logits(
        relevance, told.relevance.expand_as(relevance), reduction="none"
    )
    yes, no = (wrong[:, told.relevance == value].mean() for value in (1, 0))
    right = (answers[-1].argmax(-1) == told.target)[asked].float().mean()
    return {"loss": which + yes + no, "which": which, "role_yes": yes, "role_no": no, "right": right}


# --- pictures ---------------------------------------------------------------------------------------------------------


class FirstLooks:
    """Whole scenes and parts of them, and photos of signs."""

    def __init__(self, work: Path, seed: int, words: dict[str, int], pictures: int, sentences: int):
        self.scenes, self.signs = Scenes(*scene_pools(work)), SignPhotos(work / "signs")
        self.seed, self.words = seed, words
        self.pictures, self.sentences = pictures, sentences

    def __call__(self, step: int, process: int) -> ListedFrames:
        rng = np.random.default_rng([self.seed, step, process])
        sizes = list(SIZES)
        chosen = np.random.default_rng([self.seed, step]).choice(len(sizes), p=list(SIZES.values()))
        size = sizes[int(chosen)]
        frames_listed: list[ListedFrame] = []
        while len(frames_listed) < self.pictures:
            frame = (self.signs if rng.random() < 0.25 else self.scenes).draw(rng)
            if size != sizes[0] or rng.random() < 0.3:
                frame = part(frame, size, rng)
            if not frame.rows:
                continue
            reading = listed_frame(frame, size, self.words, rng, self.sentences)
            if len(reading.objects):
                frames_listed.append(reading)
        return ListedFrames(frames_listed, [bool(rng.random() < 0.5) for _ in frames_listed])


def part(frame: Frame, size: tuple[int, int], rng: np.random.Generator) -> Frame:
    """A part of a frame in the shape of an input, at least six tenths as large as fits."""
    width, height = frame.size
    scale = min(width / size[0], height / size[1]) * rng.uniform(0.6, 1.0)
    w, h = int(size[0] * scale), int(size[1] * scale)
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    return part_of(frame, (x, y, x + w, y + h))


def proposal_loss(model: Piza, batch: ListedFrames) -> dict[str, Tensor]:
    return listing_loss(model, batch, read=False)


# --- stages -----------------------------------------------------------------------------------------------------------


def begun(folder: Path, words: int) -> Piza:
    """The model of a folder, with a finder whose backbone is the grounder's and a fresh reader if it has none."""
    old = load_folder(folder)
    torch.manual_seed(0)
    detector = AutoModelForZeroShotObjectDetection.from_config(old.detector.config)
    model = Piza(
        detector, old.tokenizer, replace(old.config, num_proposals=NUM_PROPOSALS, num_attributes=words)
    )
    fresh = {k: v for k, v in model.state_dict().items() if k.startswith(PARTS)}
    load_weights(model, {**fresh, **load_file(folder / "model.safetensors")}, str(folder))
    if not old.config.num_proposals:
        model.proposals.backbone.load_state_dict(model.detector.model.backbone.conv_encoder.state_dict())
        model.proposals.project.load_state_dict(model.detector.model.input_proj_vision.state_dict())
    return model


def learned(work: Path, stage: str) -> dict[str, Tensor]:
    """The averaged weights of a finished or running stage."""
    weights = load_file(work / stage / "checkpoint.safetensors")
    return {name[8:]: tensor for name, tensor in weights.items() if name.startswith("average.")}


def run_stage(args: argparse.Namespace, model: Piza, words: dict[str, int]) -> None:
    torch.set_num_threads(1)
    use_fast_sampling(model)
    given = (args.work, args.seed)
    if args.stage == "words":
        told = KnownObjects(*given, model.plain_prompter, words, model.proposals.width)
        trained, batches, loss = model.matcher, told, known_objects_loss
    elif args.stage == "find":
        trained, batches, loss = (
            model.proposals,
            FirstLooks(*given, words, pictures=3, sentences=2),
            proposal_loss,
        )
    else:
        both = torch.nn.ModuleList([model.proposals, model.matcher])
        trained, batches, loss = both, FirstLooks(*given, words, pictures=2, sentences=20), listing_loss
        for stage in ("find", "words") if not args.go_on else ():
            model.load_state_dict(learned(args.work, stage), strict=False)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    parameters = [parameter.requires_grad_(True) for parameter in trained.parameters()]
    ids = {id(tensor) for tensor in trained.state_dict(keep_vars=True).values()}
    names = {name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in ids}
    print(f"{args.stage}: {sum(p.numel() for p in parameters):,} trained", flush=True)
    steps, lr = {"words": (2400, 3e-3), "find": (1000, 1e-3), "read": (3400, 1.5e-3)}[args.stage]
    config = LoopConfig(steps=args.steps or steps, lr=args.lr or lr)
    train(model, parameters, batches, loss, config, args.work / args.stage, args.stop_after, names=names)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["scenes", "looks", "words", "find", "read", "export"])
    parser.add_argument(
        "--work", type=Path, default=Path("runs/mini"), help="folder of pools, checkpoints and logs"
    )
    parser.add_argument(
        "--base", type=Path, default=Path("src/piza/weights/mini"), help="the model to begin with"
    )
    parser.add_argument(
        "--go-on", action="store_true", help="read: with the finder and reader that --base has"
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--stop-after", type=int, help="leave after this step; the same command without it goes on"
    )
    parser.add_argument("--out", type=Path, help="where to export to")
    args = parser.parse_args()
    if args.stage == "scenes":
        return write_scenes(args.work)
    if args.stage == "looks":
        return write_looks(args.work)
    words = {word: number for number, word in enumerate(json.loads(WORDS.read_text()))}
    model = begun(args.base, len(words))
    if args.stage == "export":
        model.load_state_dict(learned(args.work, "read"), strict=False)
        return save_folder(model, args.out, half=True)
    return run_stage(args, model, words)


if __name__ == "__main__":
    main()
