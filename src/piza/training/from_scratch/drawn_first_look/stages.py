"""The stages by which `mini`'s first look is trained: a proposal network that lists objects, and a matcher of sentences."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForZeroShotObjectDetection

from piza.model import accelerate
from piza.model.io import load_folder, load_weights, save_folder
from piza.model.piza import Piza
from piza.training.checkpoint import averaged_weights
from piza.training.from_scratch.base_model.stages import HALF_SEED, HALF_SIZE, SCENE_SIZE
from piza.training.from_scratch.drawn_first_look.batches import (
    NUM_PROPOSALS,
    FirstLooks,
    KnownObjects,
    KnownObjectsBatch,
    list_caches,
)
from piza.training.from_scratch.frames.cache import write_frame_cache
from piza.training.from_scratch.frames.scene_caches import SceneCaches
from piza.training.from_scratch.frames.sources import scene_frames
from piza.training.listing import ListedFrames, listing_loss
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

FIRST_SEED = HALF_SEED + 20_000  # after the seeds of the grounder's scenes
MIN_WORD_COUNT = 20  # objects that must have an attribute word
PARTS = ("proposals.", "matcher.")
SCHEDULES = {"match": (2400, 3e-3), "list": (1000, 1e-3), "both": (3400, 1.5e-3)}  # steps, learning rate


def write_scenes(work: Path, count: int = 8000) -> None:
    """Write scenes with all that is known of their objects, at half their size, as first looks need no more."""
    frames = scene_frames(
        range(FIRST_SEED, FIRST_SEED + count), SCENE_SIZE, shrink=2, num_absent=6, max_sentences=100
    )
    write_frame_cache(work / "half_listed", count, HALF_SIZE, frames)


def write_attribute_words(work: Path, file: Path) -> None:
    """Write the words for the appearance of objects, most frequent first. Their order is that of the model's outputs, so they
    stay as they are where a model is trained on."""
    counts: Counter[str] = Counter()
    for frame in SceneCaches(*list_caches(work)):
        for words in frame.attributes:
            counts.update(words)
    words = [word for word, count in counts.most_common() if count >= MIN_WORD_COUNT]
    file.write_text(json.dumps(words, indent=0) + "\n")


def with_list(folder: Path, num_words: int) -> Piza:
    """The model of a folder, with a proposal network whose backbone is the grounder's and a fresh matcher if it has none."""
    loaded = load_folder(folder)
    torch.manual_seed(0)
    detector = AutoModelForZeroShotObjectDetection.from_config(loaded.detector.config)
    config = replace(loaded.config, num_proposals=NUM_PROPOSALS, num_attributes=num_words)
    model = Piza(detector, loaded.tokenizer, config)
    fresh = {k: v for k, v in model.state_dict().items() if k.startswith(PARTS)}
    load_weights(model, {**fresh, **load_file(folder / "model.safetensors")}, str(folder))
    if not loaded.config.num_proposals:
        assert model.proposals is not None
        backbone, project = (
            model.detector.model.backbone.conv_encoder,
            model.detector.model.input_proj_vision,
        )
        model.proposals.backbone.load_state_dict(backbone.state_dict())
        model.proposals.project.load_state_dict(project.state_dict())
    return model


def known_objects_loss(model: Piza, batch: KnownObjectsBatch) -> dict[str, Tensor]:
    """Cross entropy of the object that is meant and binary cross entropy of relevance, "loss" being their sum."""
    assert model.matcher is not None
    answers, relevance = model.matcher.read(batch.ids, batch.mask, batch.features, batch.boxes, batch.aspect)
    asked = batch.target >= 0
    which = 2 * torch.stack([functional.cross_entropy(a[asked], batch.target[asked]) for a in answers]).mean()
    wrong = functional.binary_cross_entropy_with_logits(
        relevance, batch.relevance.expand_as(relevance), reduction="none"
    )
    relevant, irrelevant = (wrong[:, batch.relevance == value].mean() for value in (1, 0))
    return {
        "loss": which + relevant + irrelevant,
        "which": which,
        "relevant": relevant,
        "irrelevant": irrelevant,
        "right": (answers[-1].argmax(-1) == batch.target)[asked].float().mean(),
    }


def list_only_loss(model: Piza, batch: ListedFrames) -> dict[str, Tensor]:
    """The losses of the list, without sentences."""
    return listing_loss(model, batch, match=False)


@dataclass(frozen=True)
class ListStageOptions:
    """How a stage is run. None: as `mini` was trained.

    Attributes:
        steps, lr: the schedule.
        seed: of the batches.
        stop_after: leave after this step; the same call without it goes on.
        go_on: `both` starts from the model as it is, not from what `list` and `match` left.
    """

    steps: int | None = None
    lr: float | None = None
    seed: int = 0
    stop_after: int | None = None
    go_on: bool = False


def run_stage(work: Path, stage: str, model: Piza, words: dict[str, int], options: ListStageOptions) -> None:
    """Train a stage, or go on with it: the matcher on known objects, the list alone, or both together."""
    torch.set_num_threads(1)
    accelerate.apply(model, training=True)
    assert model.proposals is not None and model.matcher is not None
    part: nn.Module
    loss: Callable[[Piza, Any], dict[str, Tensor]]
    batches: KnownObjects | FirstLooks
    if stage == "match":
        part, loss = model.matcher, known_objects_loss
        batches = KnownObjects(work, options.seed, model.plain_prompter, words, model.proposals.width)
    elif stage == "list":
        part, loss = model.proposals, list_only_loss
        batches = FirstLooks(work, options.seed, words, num_frames=3, max_sentences=2)
    else:
        part, loss = nn.ModuleList([model.proposals, model.matcher]), listing_loss
        batches = FirstLooks(work, options.seed, words, num_frames=2, max_sentences=20)
        for earlier in ("list", "match") if not options.go_on else ():
            model.load_state_dict(averaged_weights(work / earlier), strict=False)
    parameters, names = _train_part(model, part)
    print(f"{stage}: {sum(p.numel() for p in parameters):,} trained", flush=True)
    steps, lr = SCHEDULES[stage]
    config = TrainerConfig(steps=options.steps or steps, lr=options.lr or lr)
    trainer = Trainer(model, parameters, batches, loss, config, work / stage, state_names=names)
    trainer.run(options.stop_after)


def _train_part(model: Piza, part: nn.Module) -> tuple[list[nn.Parameter], set[str]]:
    """Let a part of a model learn and nothing else; returns its parameters and their names in the model's state."""
    model.requires_grad_(False)
    part.requires_grad_(True)
    parameters = list(part.parameters())
    ids = {id(tensor) for tensor in part.state_dict(keep_vars=True).values()}
    names = {name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in ids}
    return parameters, names


def export(work: Path, model: Piza, out: Path) -> None:
    """Write the model with what `both` learned, in half precision."""
    model.load_state_dict(averaged_weights(work / "both"), strict=False)
    save_folder(model, out, half=True)
