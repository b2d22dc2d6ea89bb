"""What a training is told, checked, and remembered beside its checkpoints, so that a run goes on as it began."""

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from piza.data.sizes import OnMissing
from piza.data.sorec import Row
from piza.errors import InputError, reason
from piza.files import atomic_write
from piza.methods import METHODS
from piza.training.trackers import TRACKERS

NOTE = "train.json"
FOLDER = "training"  # in the folder of the result: checkpoint, log, plot, settings
RESULTS = ("adapter.json", "piza.json", "config.json")


@dataclass
class TrainConfig:
    """The settings of `piza train`. What is published is the default, as far as it is known."""

    rows: str  # a file in SOREC's format
    images: str  # the folder of its pictures
    base: str  # "mini", a model folder or a hub name
    out: str  # the folder of the result, and in it `training/`
    method: str = "adapter_plus"  # a key of METHODS
    plain: bool = False  # not told how far the search is: answers from one look at the whole frame
    options: dict[str, Any] = field(default_factory=dict)  # of the method, such as {"rank": 8}
    answers: str | None = None  # of looks before the last: "window" or "object"; None: the base's
    merge: bool = False  # fold plain LoRA into the weights in the end: a model instead of an adapter

    epochs: float = 5.0  # one: every row is spoken of in about one look at a frame
    steps: int | None = None  # instead of epochs
    lr: float = 2e-4
    backbone_lr: float = 0.1  # the picture backbone's rate, as a share of lr
    schedule: str = (
        "step"  # "step": a tenth of lr after three fifths, as published; "cosine": down to a fiftieth
    )
    warmup: int = 60  # steps of a rising rate, at most a tenth of all
    decay: float = 1e-4  # weight decay of matrices
    clip: float = 0.1  # gradient norm
    optimizer: str = "adamw"  # or "muon" for the matrices
    average: float = (
        0.998  # decay of the running average of the weights, which is what is saved; 0: the last weights
    )

    batch: int = 4  # windows a step, in each process
    micro_batch: int | None = (
        None  # of these, windows that go through the model together; None: all of one size
    )
    crops_per_image: int = (
        4  # windows of each picture that is opened: the frame, then later ones (plain methods: the frame)
    )
    sentences: int = 4  # rows of a picture a visit at most
    first_pixels: int | None = None  # square root of the area a frame is resized to; None: the base's
    later_pixels: int | None = None  # the same for later windows; None: the base's
    min_scale: float = (
        0.6  # random resize: inputs shrink by a factor between this and 1 (published: 480 to 800)
    )
    light: bool = False  # vary brightness, colors and noise of windows; not published
    pooling: str | None = None  # a sentence's score: "mean" or "max" of its tokens; None: the base's
    history_steps: int = 3000  # training of the box-history encoder, where the base has none
    precision: str = "fp32"  # "bf16": matrix products in bfloat16
    missing: OnMissing = "error"  # a picture that cannot be opened: "error", or "skip" its rows
    seed: int = 0

    validate: str | None = None  # rows to evaluate on now and then
    validate_images: str | None = None  # their pictures; None: `images`
    validate_limit: int | None = None  # the first rows only
    every: int | None = None  # steps between validations; None: an epoch

    device: str | None = None  # "cpu", "cuda", "cuda:1"; None: a graphics card if there is one
    workers: int = 2  # processes that open pictures and cut windows, for each training process
    tracker: str = "none"  # "tensorboard" or "trackio"
    save_every: float = 300.0  # seconds between checkpoints
    log_every: int = 20  # steps between lines of the log


# What may differ when a run goes on: where things are and how they are watched, not what is computed.
FREE = {
    "rows", "images", "out", "merge", "validate", "validate_images", "validate_limit", "every", "device", "workers",
    "tracker", "save_every", "log_every",
}  # fmt: skip

CHOICES: dict[str, tuple[str | None, ...]] = {
    "method": tuple(sorted(METHODS)),
    "answers": (None, "window", "object"),
    "schedule": ("step", "cosine"),
    "optimizer": ("adamw", "muon"),
    "pooling": (None, "mean", "max"),
    "precision": ("fp32", "bf16"),
    "missing": ("error", "skip"),
    "tracker": TRACKERS,
}
LEAST = {
    "steps": 1, "batch": 1, "micro_batch": 1, "crops_per_image": 1, "sentences": 1, "first_pixels": 32, "later_pixels": 32, "seed": 0,
    "warmup": 0, "decay": 0, "backbone_lr": 0, "history_steps": 1, "validate_limit": 1, "every": 1, "workers": 1,
    "log_every": 1, "save_every": 0,
}  # fmt: skip


def check_config(config: TrainConfig) -> None:
    """Raises InputError for a setting that cannot be used, whatever the rows and the base are."""
    for name, known in CHOICES.items():
        if (value := getattr(config, name)) not in known:
            known_names = ", ".join(str(choice) for choice in known if choice is not None)
            raise InputError(f"{_option(name)} is {value!r}; known are {known_names}")
    for name, least in LEAST.items():
        value = getattr(config, name)
        if value is not None and not (math.isfinite(value) and value >= least):
            raise InputError(f"{_option(name)} is {value}; at least {least} is wanted")
    for name in ("lr", "clip", "epochs"):
        value = getattr(config, name)
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{_option(name)} is {value}; a number over 0 is wanted")
    if not 0 < config.min_scale <= 1:
        raise InputError(f"--min-scale is {config.min_scale}; a share over 0 and at most 1 is wanted")
    if not 0 <= config.average < 1:
        raise InputError(f"--average is {config.average}; at least 0 and below 1 is wanted")
    if config.validate is None and (config.every or config.validate_images or config.validate_limit):
        raise InputError("--every, --validate-images and --validate-limit need rows: --validate ROWS.json")
    if config.merge:
        if METHODS[config.method].merge is None:
            raise InputError(
                f"the method {config.method!r} cannot be merged into the weights; plain LoRA can"
            )
        if not config.plain:
            raise InputError("a conditioned method cannot be merged into the weights; give --plain")
    wanted = METHODS[config.method].config
    known_options = {f.name for f in fields(wanted)} - {"condition"}
    for name in config.options:
        if name not in known_options:
            known_names = ", ".join(sorted(known_options))
            raise InputError(f"the method {config.method!r} has no option {name!r}; known are {known_names}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def digest(rows: list[Row]) -> str:
    """Sixteen hex digits of what is asked, in its order."""
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps([row.image, row.box_xyxy, row.expression]).encode())
    return found.hexdigest()[:16]


def check_folder(config: TrainConfig, rows: str, processes: int) -> bool:
    """Whether the folder of the result holds this training already, to go on with.

    Raises InputError when it holds something else, or the same with other settings, or cannot be written to.
    """
    if not config.out or "\0" in config.out:
        raise InputError(f"cannot write to {config.out!r}: the name of a folder is wanted")
    out = Path(config.out)
    note = out / FOLDER / NOTE
    if out.exists() and not out.is_dir():
        raise InputError(f"cannot write to {config.out!r}: it is a file, a folder is wanted")
    if not note.is_file():
        if out.is_dir() and any(path.name != FOLDER for path in out.iterdir()):
            raise InputError(
                f"cannot write to {config.out!r}: a new or empty folder is wanted, or that of a training to go on with"
            )
        above = out
        while not above.exists():
            above = above.parent
        if not os.access(above, os.W_OK | os.X_OK):
            raise InputError(f"cannot write to {config.out!r}: no permission to write in {str(above)!r}")
        return False
    try:
        before = json.loads(note.read_text())
        settings = before["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{str(note)!r} cannot be read ({reason(error)}); give another folder with --out"
        ) from None
    for name, value in asdict(config).items():
        if name not in FREE and name in settings and settings[name] != value:
            raise InputError(
                f"the training in {config.out!r} was begun with {_option(name)} {settings[name]}, now it is {value}; give "
                "the same settings to go on, or another --out"
            )
    for name, now in (("rows_digest", rows), ("processes", processes)):
        if before.get(name) != now:
            what = (
                "other rows"
                if name == "rows_digest"
                else f"{before.get(name)} processes, now there are {now}"
            )
            raise InputError(
                f"the training in {config.out!r} was begun with {what}; give the same to go on, or another --out"
            )
    return True


def write_note(config: TrainConfig, rows: str, processes: int) -> None:
    """Remember the settings in the folder of the result."""
    folder = Path(config.out) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    content = {"settings": asdict(config), "rows_digest": rows, "processes": processes}
    with atomic_write(folder / NOTE) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
