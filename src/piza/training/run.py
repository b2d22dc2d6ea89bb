"""`piza train`: any method on rows in SOREC's format, from the base to a folder that `piza.load` reads.

`train_model` is the whole of it. The folder of the result holds the adapter or the model, and `training/`: settings, a
checkpoint, a log and its plot. The same call goes on where an earlier one was stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from piza.config import TrainConfig, override, to_dict
from piza.data.box_formats import BoxFormat, read_rows_with_boxes
from piza.errors import InputError, reason
from piza.files import one_writer, sweep_temporary
from piza.hub import find_model, hash_files
from piza.methods import train_only
from piza.model import accelerate
from piza.model.piza import Piza
from piza.training.checkpoint import checkpoint_step
from piza.training.distributed import connect
from piza.training.interrupt import stop_signals
from piza.training.log import TrainingLog, plot_log
from piza.training.objective import micro_batch_loss
from piza.training.samples import AnnotatedImages, SampleConfig, Samples, group_rows
from piza.training.settings import (
    TRAINING_FOLDER,
    RunRecord,
    check_config,
    check_folder,
    rows_digest,
    write_settings,
)
from piza.training.start import Start, check_sentences, load_history, prepare, train_history, write_result
from piza.training.trackers import Tracker, start_tracker
from piza.training.trainer import LOG, Callbacks, Trainer
from piza.training.trainer_config import TrainerConfig
from piza.training.validation import VALIDATION_LOG, Validation, validation_rows

if TYPE_CHECKING:
    from accelerate import Accelerator

HISTORY_FILE = "history.safetensors"
Log = Callable[[str], None]


class Bar(Protocol):
    """A progress bar as tqdm has them."""

    def update(self, n: int) -> Any:
        """Move on by `n` steps."""

    def set_postfix_str(self, s: str) -> Any:
        """Show a text behind the bar."""

    def close(self) -> Any:
        """End it."""


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        steps: done in all, of `planned`.
        planned: steps of the whole training.
        stopped: it was asked to stop before the end, so there is no result yet.
        skipped: rows left out because their image cannot be opened.
        replaced: how often an image could not be decoded and another one was taken.
    """

    steps: int
    planned: int
    stopped: bool
    skipped: int
    replaced: int


@dataclass
class Setup:
    """All that a training needs, checked, in one of the processes that `accelerator` has connected."""

    config: TrainConfig
    record: RunRecord
    num_rows: int
    images: AnnotatedImages
    validation: list[Any]
    start: Start
    accelerator: "Accelerator"

    @property
    def folder(self) -> Path:
        """Where the checkpoint, the log and the settings are."""
        return Path(self.config.out) / TRAINING_FOLDER

    @property
    def is_first(self) -> bool:
        """Whether this process writes and reports."""
        return bool(self.accelerator.is_main_process)


def train_model(
    config: TrainConfig,
    log: Log = lambda text: None,
    bar: Callable[[int, int], Bar] | None = None,
) -> TrainResult:
    """Train as `config` says, or go on with it, and write the result.

    `log` gets a sentence about what happens, in the first process only. `bar(done, steps)` makes a progress bar.

    Raises InputError for whatever cannot be used, and where another training writes to the same folder; what can be checked
    beforehand is checked before anything is written.
    """
    setup = check_setup(config, log)
    if not setup.is_first:
        setup.accelerator.wait_for_everyone()  # for the settings
        return _train(setup, lambda text: None, None)
    setup.folder.mkdir(parents=True, exist_ok=True)
    with one_writer(setup.folder):
        _begin(setup)
        setup.accelerator.wait_for_everyone()
        return _train(setup, log, bar)


def _begin(setup: Setup) -> None:
    """Keep the settings beside the result, unless they are there; another training may have been begun since they were checked."""
    begun = check_folder(setup.config, setup.record)
    sweep_temporary(setup.config.out)
    sweep_temporary(setup.folder)
    if not begun:
        write_settings(setup.config, setup.record)


def _train(setup: Setup, log: Log, bar: Callable[[int, int], Bar] | None) -> TrainResult:
    config = setup.config
    prepare_history(setup, log)
    samples = Samples(setup.images, config.images, sample_config(setup))
    settings = trainer_config(config, samples.steps_per_epoch, validated=bool(setup.validation))
    reached = run_steps(setup, samples, settings, log, bar)
    setup.accelerator.wait_for_everyone()  # for the last checkpoint
    if not setup.is_first:
        reached = checkpoint_step(setup.folder)
    stopped = reached < settings.steps
    if setup.is_first:
        draw_log(setup.folder, log)
        if not stopped:
            write_result(setup.start.model, setup.start.base, config)
    setup.accelerator.wait_for_everyone()
    replaced = int(samples.replaced.value)
    return TrainResult(reached, settings.steps, stopped, setup.images.skipped, replaced)


def check_setup(config: TrainConfig, log: Log) -> Setup:
    """Read and check all that can be known beforehand; nothing is written.

    Raises InputError for whatever cannot be used.
    """
    check_config(config)
    _require_scipy()
    if not Path(config.images).is_dir():
        raise InputError(f"the folder of images {config.images!r} does not exist")
    boxes = BoxFormat(config.box_format, config.normalized)
    rows = read_rows_with_boxes(config.rows, config.images, boxes)
    if not rows:
        raise InputError(f"there are no rows to train on in {config.rows!r}")
    accelerator = connect(config.device, config.precision)
    if accelerator.is_fsdp2 and config.optimizer == "muon":
        raise InputError(
            "--optimizer muon needs whole matrices, and accelerate shards them (FSDP); expected adamw"
        )
    config = override(config, precision="bf16" if accelerator.mixed_precision == "bf16" else "fp32")
    images = group_rows(rows, config.images, config.missing)
    digest = rows_digest(
        [row for row in rows if row.image in images.sizes]
    )  # the order depends on those left out
    record = RunRecord(digest, hash_files(find_model(config.base)), accelerator.num_processes)
    if check_folder(config, record):
        checkpoint_step(Path(config.out) / TRAINING_FOLDER)
    validation = validation_rows(config)
    if images.skipped and accelerator.is_main_process:
        log(f"left out {images.skipped} of {len(rows)} rows, whose image cannot be opened")
    start = prepare(config)
    check_sentences(start.model, images)
    accelerator.wait_for_everyone()  # nobody writes before all have looked
    return Setup(config, record, len(rows), images, validation, start, accelerator)


def prepare_history(setup: Setup, log: Log) -> None:
    """Give the model a box-history encoder for its paths, trained now if the base has none; plain methods need none."""
    config, model = setup.config, setup.start.model
    if config.plain or setup.start.base.has_history(model.config.path):
        return
    file = setup.folder / HISTORY_FILE
    if setup.is_first and not file.exists():
        log(f"training the box-history encoder on {config.history_steps:,} batches of box sequences")
        train_history(setup.images, model.config.path, config.history_steps, config.seed, file)
    setup.accelerator.wait_for_everyone()
    load_history(model, file)


def run_steps(
    setup: Setup,
    samples: Samples,
    settings: TrainerConfig,
    log: Log,
    bar: Callable[[int, int], Bar] | None,
) -> int:
    """Train until the end or until a stop is asked for; `setup.start.model` is the result. Returns the number of steps done."""
    model, device = setup.start.model, setup.accelerator.device
    parameters = train_only(model, setup.start.trained_names)
    model.to(device).train()
    accelerate.apply(model, str(device), training=True)
    done = checkpoint_step(setup.folder)
    log(_description(setup, samples, settings, sum(p.numel() for p in parameters), done))
    tracker = _tracker(setup, log)
    progress = bar(done, settings.steps) if bar is not None else None
    try:
        with stop_signals(aloud=setup.is_first) as should_stop:
            callbacks = Callbacks(should_stop=should_stop, log=log)
            trainer = Trainer(
                model,
                parameters,
                samples,
                micro_batch_loss,
                settings,
                setup.folder,
                callbacks,
                backbone_params=_backbone_params(model),
                state_names=setup.start.trained_names,
                accelerator=setup.accelerator,
            )
            validation = _validation(setup, settings, tracker, log, done)
            if validation is not None and done:
                validation.make_up(done, trainer.average)
            _connect(callbacks, trainer, progress, tracker, validation)
            trainer.run()
            setup.start.model = cast(Piza, trainer.result)
            return trainer.step
    except FloatingPointError as error:
        raise InputError(
            f"{error}; a smaller --lr or --max-grad-norm may help, with another --out or after deleting this one"
        ) from None
    finally:
        if progress is not None:
            progress.close()
        tracker.finish()


def _connect(
    callbacks: Callbacks,
    trainer: Trainer,
    progress: Bar | None,
    tracker: Tracker,
    validation: Validation | None,
) -> None:
    """Let what watches a training be called by it."""

    def after_step(step: int) -> None:
        if progress is not None:
            progress.update(1)
        if validation is not None:
            validation.after_step(step, trainer.average)

    def after_log_line(line: dict[str, Any]) -> None:
        if progress is not None:
            progress.set_postfix_str(f"loss {line['loss']:.3f}")
        tracker.record(line["step"], {name: value for name, value in line.items() if name != "step"})

    callbacks.after_step, callbacks.after_log_line = after_step, after_log_line


def _validation(
    setup: Setup, settings: TrainerConfig, tracker: Tracker, log: Log, done: int
) -> Validation | None:
    if not setup.validation:
        return None
    assert settings.save_every_steps is not None
    table = TrainingLog(setup.folder / VALIDATION_LOG, keep_to=done, report=log) if setup.is_first else None
    return Validation(
        setup.validation,
        setup.config,
        settings.save_every_steps,
        settings.steps,
        table,
        log,
        tracker.record,
        setup.accelerator.num_processes,
        setup.accelerator.process_index,
    )


def _tracker(setup: Setup, log: Log) -> Tracker:
    name = setup.config.tracker if setup.is_first else "none"
    return start_tracker(name, setup.folder, Path(setup.config.out).name, to_dict(setup.config), log)


def _backbone_params(model: Piza) -> list[torch.nn.Parameter]:
    found = list(model.detector.model.backbone.parameters())
    return found + (list(model.proposals.backbone.parameters()) if model.proposals is not None else [])


def _description(setup: Setup, samples: Samples, settings: TrainerConfig, trained: int, done: int) -> str:
    """What is about to be trained, in one sentence."""
    config = setup.config
    total = sum(p.numel() for p in setup.start.model.parameters())
    return (
        f"{config.method}, {'plain' if config.plain else 'told the zoom'}: {trained:,} of {total:,} parameters, "
        f"{setup.num_rows - setup.images.skipped:,} rows of {len(setup.images.annotations):,} images, {settings.steps:,} steps "
        f"of {config.batch * setup.accelerator.num_processes} windows ({samples.steps_per_epoch:,} an epoch)"
        + (f"; going on after step {done:,}" if 0 < done < settings.steps else "")
    )


def sample_config(setup: Setup) -> SampleConfig:
    """How windows are drawn for a model."""
    config, model = setup.config, setup.start.model
    return SampleConfig(
        path=model.config.path,
        first_pixels=model.config.first_pixels,
        later_pixels=model.config.later_pixels,
        batch=config.batch,
        crops_per_image=1 if config.plain else config.crops_per_image,
        sentences_per_image=config.sentences_per_image,
        whole=config.plain,
        min_scale=config.min_scale,
        micro_batch=config.micro_batch,
        augment=config.augment,
        seed=config.seed,
        processes=setup.accelerator.num_processes,
        on_missing=config.missing,
        list_objects=model.proposals is not None,
    )


def trainer_config(config: TrainConfig, steps_per_epoch: int, validated: bool = False) -> TrainerConfig:
    """The settings of the training loop; where the model is validated, a checkpoint is kept at each validation."""
    steps = config.steps or max(1, round(config.epochs * steps_per_epoch))
    settings = TrainerConfig(
        steps=steps,
        lr=config.lr,
        drop_at=0.6 if config.schedule == "step" else None,
        warmup=min(config.warmup, steps // 10),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        ema_decay=config.ema_decay,
        muon=config.optimizer == "muon",
        backbone_lr=config.backbone_lr,
        seed=config.seed,
        workers=config.workers,
        save_every=config.save_every,
        log_every=config.log_every,
    )
    if not validated:
        return settings
    return replace(settings, save_every_steps=config.validate_every or steps_per_epoch)


def draw_log(folder: Path, log: Log) -> None:
    """Plot the losses; a training does not fail for the want of a plot."""
    try:
        plot_log(folder / LOG, folder / "losses.png", folder / VALIDATION_LOG)
    except ImportError:
        log("no plot of the losses was drawn: matplotlib is not installed (pip install 'piza[train]')")
    except (OSError, ValueError) as error:
        log(f"no plot of the losses was drawn: {reason(error)}")


def _require_scipy() -> None:
    try:
        import scipy.optimize  # noqa: F401
    except ImportError:
        raise InputError("training needs scipy; install it with pip install 'piza[train]'") from None
