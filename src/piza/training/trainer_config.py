"""The settings of a `Trainer`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainerConfig:
    """The settings of a `Trainer`.

    Attributes:
        steps: optimization steps in all.
        lr: learning rate after the warm-up; falls to a fiftieth along a cosine.
        drop_at: instead of the cosine, a tenth of the rate from this share of the steps on.
        warmup: steps of a rising rate.
        weight_decay: of matrices; norms and biases have none.
        max_grad_norm: gradients are clipped to this norm.
        ema_decay: of the running average of the weights, which is the result; 0: the last weights.
        muon: Muon for the matrices of linear layers; False: AdamW for all.
        backbone_lr: the backbone's learning rate, as a share of `lr`.
        seed: with it, dropout is a function of seed, step and process.
        workers: processes that make batches.
        save_every: seconds between checkpoints.
        save_every_steps: a checkpoint at every multiple of this step, too.
        log_every: steps between lines of the log.
    """

    steps: int
    lr: float
    drop_at: float | None = None
    warmup: int = 60
    weight_decay: float = 1e-4
    max_grad_norm: float = 2.0
    ema_decay: float = 0.998
    muon: bool = True
    backbone_lr: float = 0.1
    seed: int | None = None
    workers: int = 1
    save_every: float = 240.0
    save_every_steps: int | None = None
    log_every: int = 20
