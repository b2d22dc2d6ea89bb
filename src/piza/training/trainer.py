"""A training loop that can be stopped at any step and goes on to the same result.

Batches are a function of the step (and of the process), never of what was drawn before, so a resumed run sees what an
uninterrupted one would have seen. Started by accelerate or torchrun, every process takes its own batches, and accelerate
averages gradients, or shards weights, gradients and moments (FSDP) where it is configured to.
"""

import copy
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import torch
from torch import Tensor, nn

from piza.devices import lacks_memory
from piza.errors import InputError, reason
from piza.files import sweep_temporary
from piza.training.averaging import WeightAverage
from piza.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from piza.training.distributed import average_unsharded, connect, gather, prepare, whole
from piza.training.loader import MakeBatch, MicroBatches, StepBatches, WorkerKilled, step_batches
from piza.training.log import TrainingLog
from piza.training.optimizers import learning_rate, make_optimizers, set_learning_rate
from piza.training.trainer_config import TrainerConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

LOG = "log.csv"

LossOf: TypeAlias = Callable[[Any, Any], dict[str, Tensor]]
"""(model, batch) -> named losses. "loss" is minimized, all are logged."""


def log_to_stderr(text: str) -> None:
    """Print a sentence for people."""
    print(f"piza: {text}", file=sys.stderr, flush=True)


@dataclass
class Callbacks:
    """What is called while a training runs, in the first process only, but `should_stop` and `after_step` in all of them.

    Attributes:
        should_stop: asked after every step; True leaves with a checkpoint, in all processes if in one.
        after_step: gets the number of steps done, after each.
        after_log_line: gets every line of the log: its columns and their values.
        log: gets a sentence when a checkpoint could not be written or a damaged log was mended.
    """

    should_stop: Callable[[], bool] = lambda: False
    after_step: Callable[[int], None] = lambda step: None
    after_log_line: Callable[[dict[str, Any]], None] = lambda line: None
    log: Callable[[str], None] = log_to_stderr


@dataclass
class _Progress:
    """Where a run stands: steps done, the step of the checkpoint that stands, and sums for the next line of the log."""

    first: int
    done: int
    saved_step: int
    started: float = field(default_factory=time.monotonic)
    saved_at: float = field(default_factory=time.monotonic)
    sums: dict[str, float] = field(default_factory=dict)
    summed_steps: int = 0


class _Losses(nn.Module):
    """A model with its losses as `forward`: what accelerate wraps, and so sees all of a model's parts at work."""

    def __init__(self, model: nn.Module, loss_of: LossOf, accelerator: "Accelerator"):
        super().__init__()
        self.model, self._loss_of, self._accelerator = model, loss_of, accelerator

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to be minimized, and all losses, to be logged."""
        with self._accelerator.autocast():
            found = self._loss_of(self.model, batch)
        loss = found["loss"]
        if self._accelerator.is_fsdp2:
            # FSDP averages the gradients that it finds, and has to find the same ones in all processes.
            for parameter in self.parameters():
                if parameter.requires_grad and not hasattr(parameter, "full_tensor"):
                    loss = loss + 0 * parameter.sum()
        return loss, {name: value.detach() for name, value in found.items()}


class Trainer:
    """Trains `parameters` of a model; a checkpoint in `folder` is continued.

    Args:
        model: in training mode, on its device.
        parameters: what is trained.
        make_batch: (step, process) -> a batch, or `MicroBatches`; called in a worker process.
        loss_of: (model, batch) -> named losses.
        config: the settings.
        folder: holds `log.csv` and `checkpoint.safetensors`.
        callbacks: what is called on the way.
        backbone_params: parameters that learn at `config.backbone_lr` times the rate.
        state_names: of the model's state, what is averaged and kept in checkpoints; None for all of it. What training does
            not change need not be kept.
        accelerator: of `distributed.connect`; None: one for where the parameters are.

    Attributes:
        average: the running average of the weights.
        result: after `run`, the model with the averaged weights: `model`, or a whole copy of it if that is sharded.
        step: the number of steps done.

    Raises:
        InputError: for a checkpoint that is damaged or of another schedule or model.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Sequence[nn.Parameter],
        make_batch: MakeBatch,
        loss_of: LossOf,
        config: TrainerConfig,
        folder: str | Path,
        callbacks: Callbacks | None = None,
        backbone_params: Iterable[nn.Parameter] = (),
        state_names: set[str] | None = None,
        accelerator: "Accelerator | None" = None,
    ):
        self.model, self.config, self.make_batch = model, config, make_batch
        self.callbacks = callbacks or Callbacks()
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = self.folder / CHECKPOINT
        self.accelerator = accelerator or connect(parameters[0].device)
        self.process = self.accelerator.process_index
        optimizers = make_optimizers(model, parameters, config, backbone_params)
        # Sharding makes parameters of its own, in the same places.
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        whole_copy = copy.deepcopy(model).cpu() if self.accelerator.is_fsdp2 else None
        losses = _Losses(model, loss_of, self.accelerator)
        self._losses, self.optimizers = prepare(self.accelerator, losses, optimizers)
        named = dict(model.named_parameters())
        self.parameters = [named[names[id(parameter)]] for parameter in parameters]
        self.average = WeightAverage(model, state_names, config.ema_decay, whole_copy)
        first = 0
        if self.checkpoint.exists():
            first = load_checkpoint(self.checkpoint, self.average, self.optimizers, config)
        self.log: TrainingLog | None = None
        if self.process == 0:
            sweep_temporary(self.folder)
            self.log = TrainingLog(self.folder / LOG, keep_to=first, report=self.callbacks.log)
        self._progress = _Progress(first=first, done=first, saved_step=first)
        self._updating = False  # weights, moments and average do not belong to the same step just now

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self._progress.done

    def run(self, stop_after: int | None = None) -> dict[str, Tensor]:
        """Train to the last step, or to `stop_after` as if interrupted then, and put the averaged weights into `result`.

        Returns the averaged weights. Whatever ends a run early, the steps done are kept in a checkpoint where that is
        possible, and a new `Trainer` goes on from there.

        Raises:
            InputError: when a batch cannot be made, a worker process was killed, memory is used up, or the last checkpoint
                cannot be written.
            FloatingPointError: when the gradient is not finite; the last checkpoint is left as it was.
        """
        end = self.config.steps if stop_after is None else min(stop_after, self.config.steps)
        batches = StepBatches(self.make_batch, self.step, end, self.process)
        try:
            with step_batches(batches, self.config.workers) as iterator:
                for batch in iterator:
                    if isinstance(batch, InputError):
                        raise batch
                    if self._one_step(batch, end):
                        break
        except FloatingPointError:
            raise
        except (RuntimeError, MemoryError, OSError) as error:
            self._raise_in_words(error)
        except Exception:
            self._save_steps_done()
            raise
        self.result = self.average.apply()
        return self.average.tensors

    def _one_step(self, batch: Any, end: int) -> bool:
        """Train on one batch and do what is due after it. Returns whether the run was asked to stop."""
        losses, norm = self._backward(batch)
        self._update()
        self._add_up({**losses, "norm": norm})
        stopping, due = self._agree(self.callbacks.should_stop(), self.process == 0 and self._is_due())
        last = stopping or self.step == end
        line = self._log_line() if last or self.step % self.config.log_every == 0 else None
        if last or due:
            self._save(last)
        self.callbacks.after_step(self.step)
        if line is not None and self.process == 0:
            self.callbacks.after_log_line(line)
        return stopping

    def _backward(self, batch: Any) -> tuple[dict[str, float], float]:
        """Compute the averaged, clipped gradient. Returns the losses and the norm before clipping."""
        step = self.step
        parts = batch if isinstance(batch, MicroBatches) else MicroBatches([batch])
        seed, numbers = self.config.seed, parts.numbers
        self.model.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        sharded = self.accelerator.is_fsdp2
        idle_rounds = max(gather(len(parts.batches))) - len(parts.batches) if sharded else 0
        for place, part in enumerate(parts.batches):
            if seed is not None and (numbers is not None or place == 0):
                torch.manual_seed(
                    _mixed_seed(seed, step, self.process if numbers is None else numbers[place])
                )
            # Shards are averaged each time, or every process would hold the whole gradient; others once.
            at_once = sharded or place == len(parts.batches) - 1
            with nullcontext() if at_once else self.accelerator.no_sync(self._losses):
                loss, found = self._losses(part)
                self.accelerator.backward(loss)
            for name, value in found.items():
                losses[name] = losses.get(name, 0.0) + float(value)
        for _ in range(
            idle_rounds
        ):  # every process goes through a sharded model as often as the others wait for it
            self.accelerator.backward(0 * self._losses(parts.batches[-1])[0])
        average_unsharded(self.accelerator, self.parameters)
        norm = whole(self.accelerator.clip_grad_norm_(self.parameters, self.config.max_grad_norm))
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"the gradient is not finite at step {step}; the last checkpoint is untouched"
            )
        return losses, float(norm)

    def _agree(self, *asked: bool) -> list[bool]:
        """Whether each is asked for in any of the processes."""
        if self.accelerator.num_processes == 1:
            return list(asked)
        counts = self.accelerator.reduce(
            torch.tensor(asked, dtype=torch.float32, device=self.accelerator.device)
        )
        return [count > 0 for count in counts.tolist()]

    def _update(self) -> None:
        """One step of the optimizers and of the average."""
        self._updating = True
        set_learning_rate(self.optimizers, learning_rate(self.step, self.config))
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update(self.step)
        self._progress.done += 1
        self._updating = False

    def _add_up(self, values: dict[str, float]) -> None:
        """Add a step's numbers to those of the next line of the log."""
        sums = self._progress.sums
        for name, amount in values.items():
            sums[name] = sums.get(name, 0.0) + amount
        self._progress.summed_steps += 1

    def _log_line(self) -> dict[str, Any]:
        """Write a line of the log: the means of all processes since the last one, and the pace."""
        progress = self._progress
        sums: dict[str, float] = {}
        for of_one in gather(progress.sums):
            for name, total in of_one.items():  # a process without frames has no losses of frames
                sums[name] = sums.get(name, 0.0) + total
        count = progress.summed_steps * self.accelerator.num_processes
        means = {name: round(total / count, 4) for name, total in sums.items()}
        pace = (time.monotonic() - progress.started) / (progress.done - progress.first)
        rate = learning_rate(progress.done - 1, self.config)
        line = {
            "step": progress.done,
            **means,
            "lr": float(f"{rate:.3g}"),
            "s_per_step": round(pace, 3),
            "s_left": round((self.config.steps - progress.done) * pace),
        }
        if self.log is not None:
            self.log.add(line)
        progress.sums, progress.summed_steps = {}, 0
        return line

    def _is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        progress, config = self._progress, self.config
        by_step = config.save_every_steps and progress.done % config.save_every_steps == 0
        return bool(by_step) or time.monotonic() - progress.saved_at > config.save_every

    def _save(self, last: bool) -> None:
        """Write a checkpoint, in the first process. One that cannot be written is tried again later.

        Raises InputError when the last one cannot be written.
        """
        progress, is_first = self._progress, self.process == 0
        if not (is_first or self.accelerator.is_fsdp2):
            return
        problem = save_checkpoint(
            self.checkpoint, self.average, self.optimizers, progress.done, self.config, write=is_first
        )
        progress.saved_at = time.monotonic()
        if problem is None:
            progress.saved_step = progress.done
            return
        sentence = f"the checkpoint of step {progress.done} cannot be written ({problem}); {self._stands()}"
        if last:
            raise InputError(f"{sentence}, and the same command goes on from there")
        self.callbacks.log(f"{sentence}, training goes on and will try again")

    def _save_steps_done(self) -> None:
        """A checkpoint of the steps done, if there are new ones and the weights are those of a whole step."""
        progress = self._progress
        sharded = self.accelerator.is_fsdp2  # then it takes all processes, and others may not come
        if self.process or sharded or self._updating or progress.saved_step == progress.done:
            return
        if (
            save_checkpoint(self.checkpoint, self.average, self.optimizers, progress.done, self.config)
            is None
        ):
            progress.saved_step = progress.done

    def _raise_in_words(self, error: RuntimeError | MemoryError | OSError) -> NoReturn:
        """Save the steps done; raise a worker's death or a lack of memory as an InputError, others as they are."""
        cause = _cause(error)
        if cause is None:
            with suppress(Exception):  # a card that failed fails again
                self._save_steps_done()
            raise error
        self.model.zero_grad(set_to_none=True)  # a gradient takes as much memory as the weights
        self._save_steps_done()
        raise InputError(
            f"{cause} at step {self.step + 1}: {reason(error)}; {self._stands()}, and the same command goes on from there"
        ) from None

    def _stands(self) -> str:
        step = self._progress.saved_step
        return f"that of step {step} stands" if step else "there is none yet"


def _cause(error: RuntimeError | MemoryError | OSError) -> str | None:
    """What a library's error means, where it is the machine's fault and not the program's."""
    if isinstance(error, WorkerKilled):
        return "a process that makes batches was killed"
    if isinstance(error, torch.OutOfMemoryError) or lacks_memory(error):
        return "there is not enough memory"
    if "Too many open files" in str(error) or "items of ancdata" in str(error):  # of batches from workers
        return "more files may not be open (ulimit -n)"
    return None


def _mixed_seed(seed: int, step: int, number: int) -> int:
    """One number of three, so that no two steps, and no two batches or processes of one, drop out the same units."""
    return ((seed * 1_000_003 + step) * 4_099 + number) % 2**63
