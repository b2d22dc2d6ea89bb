"""The stages by which `mini`'s grounder is trained. Every stage reads what the one before it left in a work folder."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piza.data.sorec import read_rows
from piza.methods import METHODS, train_only
from piza.model import accelerate
from piza.model.io import save_folder
from piza.model.piza import Piza
from piza.training.box_history import train_progress
from piza.training.box_sequences import HistorySample, draw_history
from piza.training.from_scratch.base_model.batch_norm import freeze_batch_norm
from piza.training.from_scratch.base_model.batches import GroundingBatches, ZoomBatches
from piza.training.from_scratch.base_model.model import (
    PATH,
    WIDTH,
    loaded_for_zoom,
    new_base,
    trained,
    with_fresh_adapters,
)
from piza.training.from_scratch.base_model.relevance import RelevanceHead
from piza.training.from_scratch.base_model.window_batches import SceneBatch, scene_loss
from piza.training.from_scratch.frames.cache import FrameCache, write_frame_cache
from piza.training.from_scratch.frames.sources import photo_frames, scene_frames
from piza.training.from_scratch.words.wordpiece import sentences_of, write_tokenizer
from piza.training.tensor_files import load_tensors, save_tensors
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

SCENE_SIZE, TALL_SIZE, SIGN_SIZE = (2048, 1152), (2048, 1536), (1280, 736)  # width x height
HALF_SIZE = (SCENE_SIZE[0] // 2, SCENE_SIZE[1] // 2)
SCENE_SEED, TALL_SEED, HALF_SEED = 2**40, 2**41, 2**42  # no `piza data scenes` reaches these
NUM_HELD_OUT = 100  # photos
HISTORY_STEPS = 3000
GROUNDING_STAGES, ZOOM_STAGES = ("close", "ground"), ("zoom", "adapters", "whole")
# Steps and learning rate.
SCHEDULES = {
    "close": (450, 3e-3),
    "ground": (600, 2e-3),
    "zoom": (6000, 1.5e-3),
    "adapters": (3400, 3e-3),
    "whole": (3400, 1.5e-3),
}


@dataclass(frozen=True)
class CacheSizes:
    """How many scenes are drawn: at full size, at half their size (for first looks), and in a taller shape."""

    scenes: int = 2200
    half: int = 17000
    tall: int = 250


def make_caches(work: Path, signs: Path, sizes: CacheSizes) -> None:
    """Write the frames to train on: scenes, most of them stored at half their size, and photos but for some that are held out,
    by photo. `signs` is a folder with images/ and train.json in SOREC's format."""
    work.mkdir(parents=True, exist_ok=True)
    _write_sign_photos(work, signs)
    tall = scene_frames(range(TALL_SEED, TALL_SEED + sizes.tall), TALL_SIZE)
    write_frame_cache(work / "tall", sizes.tall, TALL_SIZE, tall)
    scenes = scene_frames(range(SCENE_SEED, SCENE_SEED + sizes.scenes), SCENE_SIZE)
    write_frame_cache(work / "scenes", sizes.scenes, SCENE_SIZE, scenes)
    half = scene_frames(range(HALF_SEED, HALF_SEED + sizes.half), SCENE_SIZE, shrink=2, num_absent=10)
    write_frame_cache(work / "half", sizes.half, HALF_SIZE, half)
    write_tokenizer(work / "tokenizer", sentences_of(FrameCache(work / name) for name in ("scenes", "signs")))


def _write_sign_photos(work: Path, signs: Path) -> None:
    """Photos with rows, then those without, to paste signs into; and the rows of the held-out photos."""
    rows = read_rows(signs / "train.json")
    names = sorted({row.image for row in rows})
    held = {names[i] for i in np.random.default_rng(0).permutation(len(names))[:NUM_HELD_OUT]}
    raw = json.loads((signs / "train.json").read_text())
    (work / "signs_val.json").write_text(json.dumps([row for row in raw if row["image"] in held]))
    others = sorted({path.name for path in (signs / "images").iterdir()} - set(names))
    train_rows = [row for row in rows if row.image not in held]
    photos = photo_frames(train_rows, signs / "images", SIGN_SIZE, others)
    write_frame_cache(work / "signs", len(names) - len(held) + len(others), SIGN_SIZE, photos)


@dataclass(frozen=True)
class StageOptions:
    """How a stage is run. None: as `mini` was trained.

    Attributes:
        steps, lr: the schedule.
        seed: of the batches.
        stop_after: leave after this step; the same call without it goes on.
        start: a stage for `close`, a model folder for `zoom`; None: fresh weights, or those of the stage before.
    """

    steps: int | None = None
    lr: float | None = None
    seed: int = 0
    stop_after: int | None = None
    start: str | None = None


def run_stage(work: Path, stage: str, options: StageOptions) -> None:
    """Train a stage, or go on with it."""
    torch.set_num_threads(1)
    steps, lr = SCHEDULES[stage]
    config = TrainerConfig(steps=options.steps or steps, lr=options.lr or lr)
    batches: GroundingBatches | ZoomBatches
    if stage in GROUNDING_STAGES:
        start = "close" if stage == "ground" else options.start
        model = trained(work, start, new_base(work)) if start else new_base(work)
        seed = options.seed + (stage == "ground")
        batches = GroundingBatches(work, seed, close_share=1.0 if stage == "close" else 0.6)
    else:
        method = "adapter_plus" if stage == "adapters" else "full"
        model = (
            loaded_for_zoom(Path(options.start), method)
            if options.start
            else with_fresh_adapters(work, method)
        )
        batches = ZoomBatches(work, options.seed, settle=config.steps // 2, whole=stage == "whole")
        if method == "full":
            model.relevance = RelevanceHead(WIDTH, model.detector.config.decoder_layers)
    accelerate.apply(model.detector, training=True)
    parameters = train_only(model, METHODS[model.config.method].trained_names(model))
    trained_count, count = (sum(p.numel() for p in some) for some in (parameters, model.parameters()))
    print(f"{stage}: {trained_count:,} of {count:,} trained", flush=True)
    Trainer(model.train(), parameters, batches, stage_loss, config, work / stage).run(options.stop_after)


def stage_loss(model: Piza, batch: SceneBatch) -> dict[str, Tensor]:
    """The losses of a batch, with those of relevance if the model has a head for it."""
    head = getattr(model, "relevance", None)
    return scene_loss(model, batch, head if isinstance(head, RelevanceHead) else None)


def train_history(work: Path, seed: int) -> None:
    """Train the box-history encoder on paths to the targets of scenes and photos, in frames of many sizes."""
    targets: list[tuple[NDArray[np.float64], tuple[int, int]]] = []
    for name in ("scenes", "tall", "signs"):
        cache = FrameCache(work / name)
        height, width = cache.images.shape[1:3]
        targets += [(np.array(box), (width, height)) for box in _boxes_of_rows(cache)]

    def sampler(rng: np.random.Generator) -> HistorySample:
        target, size = targets[int(rng.integers(len(targets)))]
        return draw_history(target, size, PATH, rng)

    def log(step: int, loss: float) -> None:
        if (step + 1) % 250 == 0:
            print(f"progress: step {step + 1}, loss {loss:.4f}", flush=True)

    history = train_progress(sampler, steps=HISTORY_STEPS, seed=seed, log=log)
    (work / "progress").mkdir(exist_ok=True)
    save_tensors(history.state_dict(), _history_file(work), {})


def _boxes_of_rows(cache: FrameCache) -> Iterable[tuple[float, ...]]:
    return sorted({tuple(row[1]) for note in cache.notes for row in note["rows"]})


def _history_file(work: Path) -> Path:
    return work / "progress" / "history.safetensors"


def export(work: Path, stage: str, out: Path) -> None:
    """Write a stage's averaged weights and the box-history encoder as a model folder, in half precision."""
    if stage == "ground":
        model = trained(work, stage, new_base(work))
        freeze_batch_norm(model)
    else:
        model = trained(
            work, stage, with_fresh_adapters(work, "adapter_plus" if stage == "adapters" else "full")
        )
    history, _ = load_tensors(_history_file(work), "box-history encoder")
    model.history.load_state_dict(history)
    save_folder(model, out, half=True)
