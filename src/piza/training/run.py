"""`piza train`: any method on rows in SOREC's format, from the base to a folder that `piza.load` reads.

`train_model` is the whole of it. The folder of the result holds the adapter or the model, and `training/`: settings, a
checkpoint, a log and its plot. The same call goes on where an earlier one was stopped.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

import piza
from piza.data.sorec import Row, read_rows
from piza.errors import InputError, reason
from piza.methods import train_only
from piza.model.grounder import Grounding
from piza.model.piza import Piza
from piza.training.listing import ListedFrames, listing_loss
from piza.training.log import Log, plot_log
from piza.training.losses import Targets, look_loss
from piza.training.samples import Part, SampleConfig, Samples, rows_by_picture
from piza.training.settings import FOLDER, TrainConfig, check_config, check_folder, digest, write_note
from piza.training.start import check_sentences, prepare, read_history, train_history, write_result
from piza.training.token_scores import by_sentence
from piza.training.trackers import start_tracker
from piza.training.trainer import LoopConfig, join_processes, peek, train

HISTORY = "history.safetensors"


@dataclass
class Trained:
    """What a training came to. steps: done in all, of `planned`. stopped: asked to stop before the end, so there is no
    result yet. replaced: how often a picture could not be decoded and another one was taken. skipped: rows left out."""

    steps: int
    planned: int
    stopped: bool
    skipped: int
    replaced: int


def train_model(
    config: TrainConfig,
    say: Callable[[str], None] = lambda text: None,
    bar: Callable[[int, int], Any] | None = None,
) -> Trained:
    """Trains as `config` says, or goes on with it, and writes the result.

    `say` is told in a sentence what happens, in the first process only. `bar(done, steps)` makes a progress bar as tqdm
    has them: `update(1)`, `set_postfix_str(text)`, `close()`.

    Raises InputError for whatever cannot be used.
    """
    check_config(config)
    _require_scipy()
    rows = read_rows(config.rows)
    if not rows:
        raise InputError(f"there are no rows to train on in {config.rows!r}")
    if not Path(config.images).is_dir():
        raise InputError(f"the folder of pictures {config.images!r} does not exist")
    device = _device(config)
    processes, process = join_processes(device)
    if process:
        say = lambda text: None  # noqa: E731
    rows_digest = digest(rows)
    begun = check_folder(config, rows_digest, processes)
    known = rows_by_picture(rows, config.images, config.missing)
    validation = _validation(config)
    if known.skipped:
        say(f"left out {known.skipped} of {len(rows)} rows, whose picture cannot be opened")
    model, names, base = prepare(config)
    check_sentences(model, known)
    folder = Path(config.out) / FOLDER
    _wait(processes)  # nobody writes before all have looked
    if process == 0 and not begun:
        write_note(config, rows_digest, processes)
    _wait(processes)
    if not base.has_history(model.config.path) and not config.plain:
        if process == 0 and not (folder / HISTORY).exists():
            say(f"training the box-history encoder on {config.history_steps:,} batches of box sequences")
            train_history(known, model.config.path, config.history_steps, config.seed, folder / HISTORY)
        _wait(processes)
        read_history(model, folder / HISTORY)
    samples = Samples(known, config.images, sample_config(config, model, processes))
    loop = loop_config(config, samples.steps)
    done = peek(folder)
    parameters = train_only(model, names)
    slow = list(model.detector.model.backbone.parameters())
    slow += model.proposals.backbone.parameters() if model.proposals is not None else []
    model.to(device)
    few, many = sum(p.numel() for p in parameters), sum(p.numel() for p in model.parameters())
    say(
        f"{config.method}, {'plain' if config.plain else 'told the zoom'}: {few:,} of {many:,} parameters, "
        f"{len(rows) - known.skipped:,} rows of {len(known.said):,} pictures, {loop.steps:,} steps of "
        f"{config.batch * processes} windows ({samples.steps:,} an epoch)"
        + (f"; going on after step {done:,}" if 0 < done < loop.steps else "")
    )
    tracker = (
        start_tracker(config.tracker, folder, Path(config.out).name, asdict(config), say)
        if process == 0
        else None
    )
    line = bar(done, loop.steps) if bar is not None and process == 0 else None
    every = config.every or samples.steps
    checks = Log(folder / "validation.csv", keep_to=done) if validation and process == 0 else None

    def check(step: int, average: dict[str, Tensor]) -> None:
        assert checks is not None
        with averaged(model, average):
            found = evaluate_on(model, validation, config)
        checks.add({"step": step, **found})
        if tracker is not None:
            tracker.log(step, found)
        say(
            f"step {step:,}: Acc50 {found['acc50']:.1f}, Acc75 {found['acc75']:.1f}, mAcc {found['macc']:.1f} on "
            f"{found['rows']} validation rows, {found['looks']:.1f} looks"
        )

    reached = done

    def after_step(step: int, average: dict[str, Tensor]) -> None:
        nonlocal reached
        reached = step
        if line is not None:
            line.update(1)
        if checks is not None and (step % every == 0 or step == loop.steps):
            check(step, average)

    def after_line(values: dict[str, Any]) -> None:
        if line is not None:
            line.set_postfix_str(f"loss {values['loss']:.3f}")
        if tracker is not None:
            tracker.log(values["step"], {k: v for k, v in values.items() if k != "step"})

    model.train()
    try:
        with stop_signals(aloud=process == 0) as stop:
            train(
                model,
                parameters,
                samples,
                lambda _, part: part_loss(model, part, config.precision),
                loop,
                folder,
                names=names,
                slow=slow,
                device=device,
                stop=stop,
                save_at=every if checks is not None else None,
                after_step=after_step,
                after_line=after_line,
                say=say,
            )
    except FloatingPointError as error:
        raise InputError(
            f"{error}; a smaller --lr or --clip may help, with another --out or after deleting this one"
        ) from None
    finally:
        if line is not None:
            line.close()
        if tracker is not None:
            tracker.finish()
    _wait(processes)  # for the last checkpoint
    replaced = int(samples.replaced.value)
    if process:
        reached = peek(folder)
    stopped = reached < loop.steps
    if process == 0:
        draw_log(folder, say)
        if not stopped:
            write_result(model, base, config)
    _wait(processes)
    return Trained(reached, loop.steps, stopped, known.skipped, replaced)


def sample_config(config: TrainConfig, model: Piza, processes: int = 1) -> SampleConfig:
    return SampleConfig(
        path=model.config.path,
        first_pixels=model.config.first_pixels,
        later_pixels=model.config.later_pixels,
        batch=config.batch,
        crops_per_image=1 if config.plain else config.crops_per_image,
        sentences=config.sentences,
        whole=config.plain,
        min_scale=config.min_scale,
        micro_batch=config.micro_batch,
        light=config.light,
        seed=config.seed,
        processes=processes,
        missing=config.missing,
        num_proposals=model.proposals is not None,
    )


def loop_config(config: TrainConfig, steps_an_epoch: int) -> LoopConfig:
    steps = config.steps or max(1, round(config.epochs * steps_an_epoch))
    return LoopConfig(
        steps=steps,
        lr=config.lr,
        warmup=min(config.warmup, steps // 10),
        decay=config.decay,
        clip=config.clip,
        average=config.average,
        save_every=config.save_every,
        log_every=config.log_every,
        drop_at=0.6 if config.schedule == "step" else None,
        muon=config.optimizer == "muon",
        slow=config.backbone_lr,
        seed=config.seed,
        workers=config.workers,
    )


def part_loss(model: Piza, part: Part, precision: str = "fp32") -> dict[str, Tensor]:
    """The losses of some windows of a step, weighted by their share of it."""
    batch, device = part.batch, model.device
    if isinstance(batch, ListedFrames):
        found = listing_loss(model, batch)
        losses = {f"list_{k}": v for k, v in found.items() if k not in ("loss", "right", "missing")}
        return {k: v * part.share for k, v in {**losses, "loss": found["loss"]}.items()}
    halved = precision == "bf16"
    with torch.autocast(device.type, torch.bfloat16) if halved else nullcontext():
        text, pooling = model.encode_prompts(batch.prompts)
        picture = model.encode_images(batch.pictures.numpy())
        # What is scored token by token is not answered sentence by sentence.
        per_sentence_queries = model.config.pooling == "mean"
        grounding = model.ground(
            text, pooling, picture, batch.progress.to(device), per_sentence_queries, training=True
        )
    if halved:
        grounding = Grounding(*(getattr(grounding, f).float() for f in grounding.__dataclass_fields__))
    targets = [Targets(t.says.to(device), t.answer.to(device), t.thing.to(device)) for t in batch.targets]
    if not per_sentence_queries:
        grounding, targets = by_sentence(grounding, pooling, targets)
    return {
        k: v * part.share
        for k, v in look_loss(grounding, targets, picture.shapes, per_sentence_queries).items()
    }


@contextmanager
def averaged(model: Piza, average: dict[str, Tensor]) -> Iterator[None]:
    """The model with the averaged weights and ready to answer, for the length of a `with` block."""
    state = model.state_dict()
    before = {name: state[name].clone() for name in average}
    model.load_state_dict(average, strict=False)
    model.eval()
    try:
        yield
    finally:
        model.load_state_dict(before, strict=False)
        model.train()


def evaluate_on(model: Piza, rows: list[Row], config: TrainConfig) -> dict[str, float]:
    from piza.evaluation.run import evaluate

    images = config.validate_images or config.images
    found = evaluate(model, rows, images, limit=config.validate_limit, on_missing=config.missing)
    return {
        "acc50": round(found.acc50, 2),
        "acc75": round(found.acc75, 2),
        "macc": round(found.macc, 2),
        "looks": round(found.mean_steps, 2),
        "rows": found.rows,
    }


def _validation(config: TrainConfig) -> list[Row]:
    if config.validate is None:
        return []
    rows = read_rows(config.validate)[: config.validate_limit]
    if not rows:
        raise InputError(f"there are no rows to validate on in {config.validate!r}")
    rows_by_picture(
        rows, config.validate_images or config.images, config.missing
    )  # found wanting now, not in an hour
    return rows


def draw_log(folder: Path, say: Callable[[str], None]) -> None:
    """The plot of the losses; a training does not fail for the want of it."""
    try:
        plot_log(folder / "log.csv", folder / "losses.png", folder / "validation.csv")
    except ImportError:
        say("no plot of the losses was drawn: matplotlib is not installed (pip install 'piza[train]')")
    except (OSError, InputError) as error:
        say(f"no plot of the losses was drawn: {reason(error)}")


@contextmanager
def stop_signals(aloud: bool) -> Iterator[Callable[[], bool]]:
    """Within, Ctrl-C and a polite kill ask for a stop after the running step; a second one stops at once. Yields what
    tells whether a stop was asked for."""
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if aloud:  # not with print, which may be at work just now
            os.write(2, b"\npiza: stopping after this step; once more stops at once\n")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _device(config: TrainConfig) -> torch.device:
    name = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    piza._check_device(name)
    device = torch.device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def _wait(processes: int) -> None:
    if processes > 1:
        dist.barrier()


def _require_scipy() -> None:
    try:
        import scipy.optimize  # noqa: F401
    except ImportError:
        raise InputError("training needs scipy; install it with pip install 'piza[train]'") from None
