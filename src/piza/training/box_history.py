"""Training the box-history encoder on box sequences alone; no image is needed. Afterwards it is frozen."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from piza.model.box_history import BoxHistoryConfig, BoxHistoryEncoder, BoxHistoryOutput, pad_histories
from piza.training.box_sequences import HistorySample


def progress_loss(output: BoxHistoryOutput, progress: Tensor, stop: Tensor) -> Tensor:
    """Binary cross entropy of stop plus smooth L1 of progress; `progress` and `stop` (B,) floats. The
    published loss is not known; the L1 is smoothed below one progress step only, or its gradient would
    vanish beside the other's.
    """
    stop_loss = F.binary_cross_entropy_with_logits(output.stop_logit, stop)
    return stop_loss + F.smooth_l1_loss(output.progress, progress, beta=0.05)


def train_progress(
    sampler: Callable[[np.random.Generator], HistorySample],
    steps: int,
    seed: int,
    batch: int = 64,
    learning_rate: float = 1e-3,
    config: BoxHistoryConfig | None = None,
    log: Callable[[int, float], None] | None = None,
) -> BoxHistoryEncoder:
    """A box-history encoder trained on `steps` batches of samples, in eval mode and frozen.

    `sampler` draws one sample with the generator it is given; the same seed gives the same encoder. `log` is
    called with the step and its loss.
    """
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BoxHistoryEncoder(config).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, learning_rate, total_steps=steps, pct_start=0.1
        )
        for step in range(steps):
            samples = [sampler(rng) for _ in range(batch)]
            output = model(*pad_histories([sample.boxes_xywh for sample in samples]))
            progress = torch.tensor([sample.progress for sample in samples], dtype=torch.float32)
            stop = torch.tensor([sample.stop for sample in samples], dtype=torch.float32)
            loss = progress_loss(output, progress, stop)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if log is not None:
                log(step, loss.item())
    return model.eval().requires_grad_(False)
