"""What a training keeps in memory at full size: weights, gradients, moments, average, and activations of a window.

    python benchmarks/training_memory.py

The model is the published architecture (172 M parameters) with random weights; bytes are counted in the tensors that are
there, so a processor tells what a graphics card needs, but for what libraries and the memory's fragments take; on a card
(--device cuda) the peak of a step is printed, too. One step of the trainer is made at 224 pixels for each method, then
activations are counted: all that a forward keeps for the backward. Some minutes of one core, 8 GB.
"""

import argparse
import gc
import tempfile
from collections.abc import Iterable
from typing import Any

import torch
from benchmarks.count_parameters import full_size

import piza
from piza.config import PizaConfig
from piza.methods import METHODS, train_only
from piza.model.piza import Piza
from piza.training.batches import WindowBatch
from piza.training.losses import Targets
from piza.training.objective import window_loss
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

SENTENCES = ["the red car.", "the sign left of the bus.", "the man with a hat.", "the second window."]


def build(method: str) -> tuple[Piza, list[torch.nn.Parameter], set[str]]:
    config = PizaConfig(method=method, method_options={"condition": True}, token_pooling="max")
    model = Piza(full_size(), piza.load("mini").tokenizer, config).train()
    names = METHODS[method].trained_names(model)
    return model, train_only(model, names), names


def window(pixels: int) -> WindowBatch:
    """One window with four sentences, as `piza train` makes them by default."""
    boxes = torch.tensor([[0.2 * k + 0.1, 0.5, 0.02, 0.02] for k in range(len(SENTENCES))])
    images = torch.randint(0, 256, (1, pixels, pixels, 3), dtype=torch.uint8)
    return WindowBatch(images, [SENTENCES], torch.zeros(1), [Targets(torch.eye(len(boxes)), boxes, boxes)])


def size(tensors: Iterable[torch.Tensor]) -> float:
    """GB of tensors, each memory counted once."""
    stored = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(stored.values()) / 1e9


def kept_by_a_step(model: Piza, parameters: list[torch.nn.Parameter], names: set[str]) -> dict[str, float]:
    """GB after one step of the trainer, by what it is."""
    with tempfile.TemporaryDirectory() as folder:
        config = TrainerConfig(steps=1, lr=1e-5, muon=False, save_every=1e9)
        batches = lambda step, process: window(224)  # noqa: E731
        trainer = Trainer(model, parameters, batches, window_loss, config, folder, state_names=names)
        trainer.run()
    found: dict[str, float] = {}
    if model.device.type == "cuda":
        found["peak of a step"] = torch.cuda.max_memory_allocated() / 1e9
    states: list[Any] = [state for o in trainer.optimizers for state in o.state.values()]
    return found | {
        "millions trained": sum(p.numel() for p in parameters) / 1e6,
        "weights": size(model.state_dict().values()),
        "gradients": size(p.grad for p in parameters if p.grad is not None),
        "moments": size(t for state in states for t in state.values()),
        "average": size(trainer.average.tensors.values()),
    }


def kept_for_backward(model: Piza, pixels: int, precision: str) -> float:
    """GB that the forward of one window keeps for its backward, without weights."""
    weights = {p.untyped_storage().data_ptr() for p in model.state_dict().values()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"),
    ):
        losses = window_loss(model, window(pixels))
    found = size(kept.values())
    del losses
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pixels", type=int, nargs="+", default=[320, 640], help="for activations")
    parser.add_argument("--methods", nargs="+", default=["coop", "lora", "adapter_plus", "full"])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    for method in options.methods:
        model, parameters, names = build(method)
        model.to(options.device)
        found = kept_by_a_step(model, parameters, names)
        print(method, {name: round(value, 3) for name, value in found.items()}, flush=True)
        model.zero_grad(set_to_none=True)
        for pixels in options.pixels:
            for precision in ("fp32", "bf16"):
                kept = kept_for_backward(model.train(), pixels, precision)
                print(f"{method}, {pixels} pixels, {precision}: {kept:.2f} GB for the backward", flush=True)
        del model, parameters
        gc.collect()
        if options.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    main()
