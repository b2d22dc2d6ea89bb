"""How the embedded model `mini` was made, stage by stage. Every stage reads what the one before it left in --work.

    python recipes/train_mini.py pools --signs FOLDER        # scenes and photos to train on
    $TRAIN close                     # stage A1: single things, seen close
    $TRAIN ground                    # stage A2: windows of every size; the base model
    $TRAIN zoom                      # stage B: the zoom policy, all weights
    $TRAIN whole --stop-after 662    # to compare with `zoom`: answer from the whole frame in one look
    $TRAIN adapters --stop-after 662 # to compare with `zoom`: base frozen, adapters trained
    python recipes/train_mini.py progress                    # the box-history encoder
    python recipes/train_mini.py export --stage zoom --out src/piza/weights/mini

where TRAIN="torchrun --nproc_per_node 2 recipes/train_mini.py": two processes of one thread are faster on two cores than
one with two. With glibc, MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 and
GLIBC_TUNABLES=glibc.malloc.hugetlb=1 in the environment save a fifth of the time, which else goes into page faults; the
processes grow by some 200 MB a minute, so stop and continue them every hour or so. A stage that is interrupted goes on where it was when called again. --signs is a folder with images/ and
train.json in SOREC's format.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    BertConfig,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    RTDetrResNetConfig,
)

from piza.config import PathConfig, PizaConfig
from piza.data.frames import Frame, Pool, photo_frames, scene_frames, write_pool
from piza.data.sorec import read_rows
from piza.data.windows import Look, first_look, ground_look, later_look, part_of, window_around
from piza.files import atomic_write
from piza.methods import METHODS, train_only
from piza.model.accelerate.deformable import use_fast_sampling
from piza.model.piza import Piza, load_weights, save_folder
from piza.model.text import CLS, DOT, SEP
from piza.training.batches import LookBatch, batch_loss, collate, freeze_batch_norm, thaw_batch_norm
from piza.training.box_history import train_progress
from piza.training.box_sequences import HistorySample, draw_history
from piza.training.from_scratch.sign_photos import crop_frame, cutouts, kinds_of_names, paste
from piza.training.relevance import RelevanceHead
from piza.training.trainer import LoopConfig, train

SCENE_SIZE, TALL_SIZE, SIGN_SIZE = (2048, 1152), (2048, 1536), (1280, 736)
# Input sizes, width x height.
FIRST, TALL_FIRST, CROP, LATER, CLOSE = (640, 352), (544, 416), (320, 192), (224, 224), (96, 64)
WIDE, TALL_WIDE = (768, 448), (672, 512)  # first looks in the end
COUNTS = (1, 8, 16)  # sentences of a first look
SCENE_SEED, TALL_SEED, HALF_SEED = 2**40, 2**41, 2**42
HELD_OUT_PHOTOS = 100
PATH = PathConfig(answers="object")
WIDTH = 96


def make_pools(work: Path, signs: Path, scenes: int, half: int, tall: int) -> None:
    """Scenes with seeds that no `piza data scenes` reaches, most of them stored at half their size, for first looks; photos
    but for 100 that are held out, by photo."""
    rows = read_rows(signs / "train.json")
    names = sorted({row.image for row in rows})
    held = {names[i] for i in np.random.default_rng(0).permutation(len(names))[:HELD_OUT_PHOTOS]}
    raw = json.loads((signs / "train.json").read_text())
    work.mkdir(parents=True, exist_ok=True)
    (work / "signs_val.json").write_text(json.dumps([row for row in raw if row["image"] in held]))
    train_rows = [row for row in rows if row.image not in held]
    others = sorted(
        {path.name for path in (signs / "images").iterdir()} - set(names)
    )  # no rows: to paste signs into
    photos = photo_frames(train_rows, signs / "images", SIGN_SIZE, others)
    write_pool(work / "signs", len(names) - len(held) + len(others), SIGN_SIZE, photos)
    write_pool(work / "tall", tall, TALL_SIZE, scene_frames(range(TALL_SEED, TALL_SEED + tall), TALL_SIZE))
    write_pool(
        work / "scenes", scenes, SCENE_SIZE, scene_frames(range(SCENE_SEED, SCENE_SEED + scenes), SCENE_SIZE)
    )
    shrunk = scene_frames(range(HALF_SEED, HALF_SEED + half), SCENE_SIZE, shrink=2, absent=10)
    write_pool(work / "half", half, (SCENE_SIZE[0] // 2, SCENE_SIZE[1] // 2), shrunk)
    write_vocabulary(work / "tokenizer", [Pool(work / name) for name in ("scenes", "signs")])


def write_vocabulary(folder: Path, pools: list[Pool]) -> None:
    """A WordPiece vocabulary of the words met, with letters and digits for all others.

    The library cuts blocks at the hard-coded ids 101, 102, 1012 ("."), 1029 ("?"); they keep their places.
    """
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    splitter = BertWordPieceTokenizer(lowercase=True)
    words: Counter[str] = Counter()
    for pool in pools:
        for note in pool.notes:
            for sentence in [row[0] for row in note["rows"]] + [phrase for phrase, _ in note["phrases"]]:
                pieces = splitter.pre_tokenizer.pre_tokenize_str(sentence.lower())
                words.update(piece for piece, _ in pieces)
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789")
    plain = letters + ["##" + c for c in letters] + list(",;:!'\"-()/&%+")
    plain += [
        word for word, count in words.most_common() if count >= 2 and word not in plain and word not in ".?"
    ]
    fixed = {0: "[PAD]", 100: "[UNK]", CLS: "[CLS]", SEP: "[SEP]", 103: "[MASK]", DOT: ".", 1029: "?"}
    entries, rest = [], iter(plain)
    while len(entries) < max(fixed) + 1 or (word := next(rest, None)) is not None:
        at = len(entries)
        if at in fixed:
            entries.append(fixed[at])
        elif at <= max(fixed):
            entries.append(next(rest, f"[unused{at}]"))
        else:
            entries.append(word)
    BertTokenizer(vocab={word: i for i, word in enumerate(entries)}, do_lower_case=True).save_pretrained(
        folder
    )


# --- model ------------------------------------------------------------------------------------------------------------


def load_tokenizer(folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def new_detector(vocabulary: int) -> MMGroundingDinoForObjectDetection:
    config = MMGroundingDinoConfig(
        backbone_config=RTDetrResNetConfig(
            embedding_size=32,
            hidden_sizes=[32, 64, 128, 192],
            depths=[1, 2, 2, 1],
            layer_type="basic",
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(
            vocab_size=vocabulary,
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=256,
            max_position_embeddings=256,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        d_model=WIDTH,
        num_queries=60,
        num_feature_levels=3,
        encoder_layers=1,
        decoder_layers=4,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        encoder_n_points=2,
        decoder_n_points=2,
        dropout=0.0,
        fusion_droppath=0.0,
        decoder_bbox_embed_share=False,
        decoder_cls_embed_share=False,
    )
    detector = MMGroundingDinoForObjectDetection(config)
    start_from_scratch(detector)
    return detector


@torch.no_grad()
def start_from_scratch(detector: MMGroundingDinoForObjectDetection) -> None:
    """Initial weights that learn. The library's suit a pretrained model: matrices of std 0.02 (a fifth of what this width
    wants), queries that do not see where they are, and a fusion that is all but switched off."""
    zeroed = {
        id(head.layers[-1]) for head in [*detector.bbox_embed, detector.model.encoder_output_bbox_embed]
    }
    for name, module in detector.named_modules():
        if "sampling_offsets" in name or "attention_weights" in name or id(module) in zeroed:
            continue  # these start at zero on purpose
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and "input_proj" in name):
            nn.init.xavier_uniform_(module.weight)
    nn.init.normal_(detector.model.query_position_embeddings.weight)
    embeddings = detector.model.text_backbone.embeddings
    nn.init.normal_(embeddings.word_embeddings.weight, std=0.1)
    nn.init.zeros_(embeddings.token_type_embeddings.weight)
    for layer in detector.model.encoder.layers:
        layer.fusion_layer.vision_param.fill_(1.0)
        layer.fusion_layer.text_param.fill_(1.0)


def base_config(first_pixels: int) -> PizaConfig:
    return PizaConfig(
        method="full",
        method_options={"condition": False},
        path=PATH,
        first_pixels=first_pixels,
        later_pixels=LATER[0],
        local_maxima=True,
        relations=True,
        object_queries=40,
    )


def zoom_config(method: str) -> PizaConfig:
    options = {
        "full": {"bottleneck": 48, "embedding_dim": WIDTH},
        "adapter_plus": {"image_bottleneck": 48, "text_bottleneck": 48, "embedding_dim": WIDTH},
    }[method]
    return replace(base_config(576), method=method, method_options=options)


def trained(work: Path, stage: str, model: Piza) -> Piza:
    """The model with the averaged weights of a finished or running stage."""
    weights = load_file(work / stage / "checkpoint.safetensors")
    return filled(model, {k[8:]: v for k, v in weights.items() if k.startswith("average.")})


def filled(model: Piza, weights: dict[str, torch.Tensor]) -> Piza:
    """The model with weights that may be older than its relations, which then stay fresh and change nothing; a head for
    roles is left out."""
    fresh = {k: v for k, v in model.state_dict().items() if k.startswith("relations.")}
    model.load_state_dict({**fresh, **{k: v for k, v in weights.items() if not k.startswith("roles.")}})
    return model


def new_base(work: Path) -> Piza:
    tokenizer = load_tokenizer(work / "tokenizer")
    torch.manual_seed(0)
    model = Piza(new_detector(len(tokenizer)), tokenizer, base_config(480))
    thaw_batch_norm(model)
    return model


def after_ground(work: Path, method: str) -> Piza:
    """The base of stage A with fresh adapters. Its batch norm is frozen: batches of one kind would teach it wrong means."""
    base = trained(work, "ground", new_base(work))
    freeze_batch_norm(base)
    torch.manual_seed(1)
    return Piza(base.detector, base.tokenizer, zoom_config(method))


def begun(folder: Path, method: str) -> Piza:
    """The model of a folder, as it is made today."""
    tokenizer = load_tokenizer(folder)
    torch.manual_seed(2)
    model = Piza(new_detector(len(tokenizer)), tokenizer, zoom_config(method))
    freeze_batch_norm(model)
    fresh = {k: v for k, v in model.state_dict().items() if k.startswith("relations.")}
    load_weights(model, {**fresh, **load_file(folder / "model.safetensors")}, str(folder))
    return model


# --- stages -----------------------------------------------------------------------------------------------------------


class SignPhotos:
    """Photos of signs, cropped and with signs pasted in, by chance."""

    def __init__(self, folder: Path):
        self.pool = Pool(folder)
        frames = [self.pool[i] for i in range(len(self.pool))]
        self.kinds = kinds_of_names(frames)
        self.cutouts = cutouts(frames, self.kinds)

    def draw(self, rng: np.random.Generator) -> Frame:
        frame = self.pool[int(rng.integers(len(self.pool)))]
        if rng.random() < 0.5:
            frame = crop_frame(frame, rng)
        if not frame.rows or rng.random() < 0.5:
            frame = paste(frame, self.cutouts, self.kinds, rng)
        return frame if frame.rows else self.draw(rng)


class Scenes:
    def __init__(self, *folders: Path):
        self.pools = [Pool(folder) for folder in folders]

    def draw(self, rng: np.random.Generator) -> Frame:
        index = int(rng.integers(sum(map(len, self.pools))))
        for pool in self.pools:
            if index < len(pool):
                frame = pool[index]
                return frame if frame.rows else self.draw(rng)
            index -= len(pool)
        raise AssertionError

    def frames(self) -> Iterator[Frame]:
        return (pool[index] for pool in self.pools for index in range(len(pool)))


class GroundBatches:
    """Windows of every size, the things themselves for answers; `close`: small windows around single things, where
    colors, kinds and numbers are learned ten times cheaper than in large ones."""

    def __init__(self, work: Path, seed: int, close: float):
        self.scenes, self.signs = Scenes(work / "scenes"), SignPhotos(work / "signs")
        self.seed, self.close = seed, close

    def __call__(self, step: int, process: int) -> LookBatch:
        chosen = np.random.default_rng([self.seed, step])
        source, least, most = [(self.scenes, 240.0, 1400.0), (self.signs, 160.0, 1000.0)][
            int(chosen.random() < 0.25)
        ]
        close = chosen.random() < self.close
        large = not close and source is self.scenes and chosen.random() < 0.3
        size, count = (CLOSE, 48) if close else (FIRST, 3) if large else (CROP, 12)
        rng = np.random.default_rng([self.seed, step, process])
        looks: list[Look] = []
        while len(looks) < count:
            frame = source.draw(rng)
            for _ in range(4 if close else 1):  # drawing a frame costs more than cutting a small window
                box = any_box(frame, rng)
                longest = float((box[2:] - box[:2]).max())
                low, high = (
                    (1.5 * longest, 4.0 * longest)
                    if close
                    else (1400.0 if large else least, 2048.0 if large else most)
                )
                window = window_around(box, frame.size, rng, low, high, size[0] / size[1])
                min_scale = (8.0 if close else 4.0) * (window[2] - window[0]) / size[0]
                look = ground_look(
                    frame,
                    rng,
                    window,
                    min_scale,
                    sentence_share=0.1 if close else 0.5,
                    absent_share=0.5 if close else 0.25,
                )
                if look.answer or (look.sentences and rng.random() < 0.1):
                    looks.append(look)
        return collate(looks[:count], size, rng)


def any_box(frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """A thing that a sentence or a phrase speaks of."""
    if frame.phrases and rng.random() < 0.5:
        boxes = frame.phrases[int(rng.integers(len(frame.phrases)))][1]
        return boxes[int(rng.integers(len(boxes)))]
    return frame.rows[int(rng.integers(len(frame.rows)))][1]


def part_of_scene(frame: Frame, rng: np.random.Generator) -> Frame:
    """A part of a scene around one of its targets, in the shape of CROP, three to seven tenths of the scene wide."""
    box = frame.rows[int(rng.integers(len(frame.rows)))][1]
    width = frame.size[0]
    window = window_around(box, frame.size, rng, 0.3 * width, 0.7 * width, CROP[0] / CROP[1])
    x0, y0, x1, y1 = (int(v) for v in window)
    return part_of(frame, (x0, y0, x1, y1))


class ZoomBatches:
    """First looks, later looks, and some close ones that keep the names of things fresh.

    Many first looks take a part of a scene for the frame: a quarter of the pixels at the same scale or a larger one, so
    that the same words are learned at a fraction of the price. From step `settle` on looks are as they will be: larger,
    mostly at whole frames, and more often at photos. `whole`: looks at the whole frame instead of all zooming.
    """

    def __init__(self, work: Path, seed: int, settle: int, whole: bool = False):
        # More can be drawn later, into folders beside the first.
        self.scenes, self.half = Scenes(work / "scenes"), Scenes(*sorted(work.glob("half*")))
        self.tall, self.signs = Scenes(work / "tall"), SignPhotos(work / "signs")
        self.seed, self.settle, self.whole = seed, settle, whole
        self.close = GroundBatches(work, seed, close=1.0)

    def __call__(self, step: int, process: int) -> LookBatch:
        chosen = np.random.default_rng([self.seed, step])
        if chosen.random() < 0.06:
            batch = self.close(step, process)
            batch.progress[:] = 0.0 if self.whole else 0.5  # as of a last look
            return batch
        settled = step >= self.settle
        signs, parts = (0.25, 0.25) if settled else (0.18, 0.7)
        name = chosen.choice(["scenes", "tall", "signs"], p=[0.95 - signs, 0.05, signs])
        first = self.whole or chosen.random() < 0.7
        part = first and name == "scenes" and chosen.random() < parts
        rng = np.random.default_rng([self.seed, step, process])
        if not first:
            source, size, count = (
                {"scenes": self.scenes, "tall": self.tall, "signs": self.signs}[name],
                LATER,
                12,
            )
        elif part:
            source, size, count = self.half, CROP, 12
        else:
            source = {"scenes": self.half, "tall": self.tall, "signs": self.signs}[name]
            size = (TALL_WIDE if settled else TALL_FIRST) if name == "tall" else (WIDE if settled else FIRST)
            count = 3 if settled else 4
        looks: list[Look] = []
        wanted = int(chosen.choice(COUNTS))
        while len(looks) < count:
            frame = source.draw(rng)
            frame = part_of_scene(frame, rng) if part else frame
            if not frame.rows:
                continue
            look = first_look(frame, rng, PATH, self.whole, wanted) if first else later_look(frame, rng, PATH)
            if look.sentences:
                looks.append(look)
        return collate(looks, size, rng)


def run_stage(
    work: Path, stage: str, steps: int, lr: float, seed: int, stop_after: int | None, start: str | None
) -> None:
    torch.set_num_threads(1)
    if stage in ("close", "ground"):
        start = "close" if stage == "ground" else start
        model = trained(work, start, new_base(work)) if start else new_base(work)
        batches = GroundBatches(work, seed + (stage == "ground"), close=1.0 if stage == "close" else 0.6)
    else:
        method = "adapter_plus" if stage == "adapters" else "full"
        model = begun(Path(start), method) if start else after_ground(work, method)
        batches = ZoomBatches(work, seed, settle=steps // 2, whole=stage == "whole")
        if method == "full":
            model.relevance = RelevanceHead(WIDTH, model.detector.config.decoder_layers)
    use_fast_sampling(model.detector)
    names = METHODS[model.config.method].trained_names(model)
    parameters = train_only(model, names)
    model.train()
    print(
        f"{stage}: {sum(p.numel() for p in parameters):,} of {sum(p.numel() for p in model.parameters()):,} trained"
    )
    train(model, parameters, batches, loss_of, LoopConfig(steps=steps, lr=lr), work / stage, stop_after)


def loss_of(model: Piza, batch: LookBatch) -> dict[str, torch.Tensor]:
    return batch_loss(model, batch, getattr(model, "relevance", None))


def train_history(work: Path, seed: int) -> None:
    """The box-history encoder, on paths to the targets of scenes and photos; frames of many sizes."""
    targets = []
    for name in ("scenes", "tall", "signs"):
        pool = Pool(work / name)
        height, width = pool.pictures.shape[1:3]
        boxes = {tuple(row[1]) for note in pool.notes for row in note["rows"]}
        targets += [(np.array(box), (width, height)) for box in sorted(boxes)]

    def sampler(rng: np.random.Generator) -> HistorySample:
        target, size = targets[int(rng.integers(len(targets)))]
        return draw_history(target, size, PATH, rng)

    def log(step: int, loss: float) -> None:
        if (step + 1) % 250 == 0:
            print(f"progress: step {step + 1}, loss {loss:.4f}", flush=True)

    history = train_progress(sampler, steps=3000, seed=seed, log=log)
    (work / "progress").mkdir(exist_ok=True)
    with atomic_write(work / "progress" / "history.safetensors") as part:
        save_file(history.state_dict(), part)


def export(work: Path, stage: str, out: Path) -> None:
    """A stage's averaged weights and the box-history encoder as a model folder, in half precision."""
    if stage == "ground":
        model = trained(work, stage, new_base(work))
        freeze_batch_norm(model)
    else:
        model = trained(work, stage, after_ground(work, "adapter_plus" if stage == "adapters" else "full"))
    model.history.load_state_dict(load_file(work / "progress" / "history.safetensors"))
    save_folder(model, out, half=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "stage",
        choices=["pools", "close", "ground", "zoom", "adapters", "whole", "progress", "export"],
    )
    parser.add_argument(
        "--work", type=Path, default=Path("runs/mini"), help="folder for pools, checkpoints and logs"
    )
    parser.add_argument("--signs", type=Path, help="folder of sign photos (images/, train.json)")
    parser.add_argument("--scenes", type=int, default=2200)
    parser.add_argument("--half", type=int, default=17000)
    parser.add_argument("--tall", type=int, default=250)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--lr", type=float, default=None)
    parser.add_argument(
        "--init", help="start from: a stage for `close` (default: fresh weights), a model folder for `zoom`"
    )
    parser.add_argument(
        "--stop-after", type=int, help="leave after this step; the same command without it goes on"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", dest="source", default="zoom", help="which stage to export")
    parser.add_argument("--out", type=Path, help="where to export to")
    args = parser.parse_args()
    if args.stage == "pools":
        make_pools(args.work, args.signs, args.scenes, args.half, args.tall)
    elif args.stage == "progress":
        train_history(args.work, args.seed)
    elif args.stage == "export":
        export(args.work, args.source, args.out)
    else:
        steps, lr = {
            "close": (450, 3e-3),
            "ground": (600, 2e-3),
            "zoom": (6000, 1.5e-3),
            "adapters": (3400, 3e-3),
            "whole": (3400, 1.5e-3),
        }[args.stage]
        run_stage(
            args.work, args.stage, args.steps or steps, args.lr or lr, args.seed, args.stop_after, args.init
        )


if __name__ == "__main__":
    main()
