"""`piza train`: reads arguments, calls the library, prints."""

import argparse
import json
import os
import sys
from typing import Any

from piza.cli.common import add_box_options, add_device_option, any_number, at_least
from piza.devices import needing_torch
from piza.errors import MAX_SEED, MAX_WORKERS, InputError

NOT_SETTINGS = ("run", "option", "config")


def add_train(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser(
        "train",
        help="fine-tune a model on rows in SOREC's format",
        description="Fine-tune a model on rows in SOREC's format. The same command goes on where an earlier one was stopped. "
        "--config FILE gives any of the settings below by their names, as OUT/training/train.json does; options win.",
    )
    parser.add_argument(
        "rows", metavar="ROWS.json", nargs="?", help="rows: image, bbox [x, y, width, height], ref, id"
    )
    parser.add_argument("--config", metavar="FILE", help="settings in JSON or YAML; options win")
    parser.add_argument("--images", metavar="DIR", help="the folder of the images")
    parser.add_argument("--base", metavar="NAME", help="mini, a model folder or a hub name: where to start")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="the adapter or model to write; checkpoints and log in training/ in it",
    )
    add_box_options(parser)
    parser.add_argument("--missing", choices=("error", "skip"), help="rows without an image (default: error)")
    _add_method(parser.add_argument_group("what is trained"))
    _add_schedule(parser.add_argument_group("schedule"))
    _add_windows(parser.add_argument_group("windows"))
    _add_machine(parser.add_argument_group("validation, log and machine"))
    parser.set_defaults(run=_train)


def _add_method(group: Any) -> None:
    add = group.add_argument
    add("--method", metavar="METHOD", help="adapter_plus (default), lora, coop or full")
    add("--option", metavar="NAME=VALUE", action="append", default=[], help="of the method, such as rank=8")
    add(
        "--plain",
        action="store_true",
        default=None,
        help="not told how far the search is: answer from one look at the frame",
    )
    add(
        "--answers",
        choices=("window", "object"),
        help="what looks before the last answer with (default: the base's)",
    )
    add(
        "--token-pooling",
        choices=("mean", "max"),
        help="a sentence's score over its tokens' (default: the base's)",
    )
    add(
        "--merge",
        action="store_true",
        default=None,
        help="fold plain LoRA into the weights and write a model",
    )
    add("--history-steps", metavar="N", type=at_least(1), help="for the box-history encoder (default: 3000)")


def _add_schedule(group: Any) -> None:
    add = group.add_argument
    add("--epochs", metavar="N", type=any_number, help="default: 5")
    add("--steps", metavar="N", type=at_least(1), help="instead of epochs")
    add("--lr", metavar="RATE", type=any_number, help="learning rate (default: 2e-4)")
    add(
        "--backbone-lr",
        metavar="SHARE",
        type=any_number,
        help="the image backbone's, as a share (default: 0.1)",
    )
    add("--schedule", metavar="NAME", help="step (default: a tenth after three fifths) or cosine")
    add("--warmup", metavar="N", type=at_least(0), help="steps of a rising rate (default: 60)")
    add("--optimizer", metavar="NAME", help="adamw (default) or muon")
    add("--max-grad-norm", metavar="NORM", type=any_number, help="gradients are clipped to it (default: 0.1)")
    add("--weight-decay", metavar="RATE", type=any_number, help="default: 1e-4")
    add(
        "--ema-decay",
        metavar="RATE",
        type=any_number,
        help="of the running average of the weights, which is saved (default: 0.998; 0: the last weights)",
    )
    add(
        "--precision",
        metavar="NAME",
        help="fp32 or bf16 (matrix products in bfloat16); default: as accelerate was launched, otherwise fp32",
    )
    add("--seed", metavar="S", type=at_least(0, MAX_SEED), help="default: 0")


def _add_windows(group: Any) -> None:
    add = group.add_argument
    add("--batch", metavar="N", type=at_least(1), help="windows a step and process (default: 4)")
    add(
        "--micro-batch",
        metavar="N",
        type=at_least(1),
        help="of these together in the model: fewer take less memory",
    )
    add("--crops-per-image", metavar="N", type=at_least(1), help="windows of each opened image (default: 4)")
    add("--sentences-per-image", metavar="N", type=at_least(1), help="rows of each opened image (default: 4)")
    add(
        "--first-pixels", metavar="PX", type=at_least(32, 4096), help="root of the area a frame is resized to"
    )
    add("--later-pixels", metavar="PX", type=at_least(32, 4096), help="the same for later windows")
    add("--min-scale", metavar="SHARE", type=any_number, help="random resize from this to 1 (default: 0.6)")
    add("--augment", action="store_true", default=None, help="vary brightness, colors and noise")


def _add_machine(group: Any) -> None:
    add = group.add_argument
    add("--validate", metavar="VAL.json", help="rows to evaluate on now and then")
    add("--validate-images", metavar="DIR", help="their images (default: those of --images)")
    add("--validate-limit", metavar="N", type=at_least(1), help="the first N rows only")
    add("--validate-every", metavar="N", type=at_least(1), help="steps between (default: an epoch)")
    add("--tracker", metavar="NAME", help="none (default), tensorboard, trackio, wandb or mlflow")
    add_device_option(group, default=None)
    add(
        "--workers",
        metavar="N",
        type=at_least(1, MAX_WORKERS),
        help="processes that read images (default: 2)",
    )
    add("--log-every", metavar="N", type=at_least(1), help="steps (default: 20)")
    add("--save-every", metavar="SECONDS", type=any_number, help="between checkpoints (default: 300)")


def _train(options: argparse.Namespace) -> int:
    given = {k: v for k, v in vars(options).items() if k not in NOT_SETTINGS and v is not None}
    if options.option:
        given["options"] = _method_options(options.option)
    with needing_torch():
        from piza.training.run import train_model
    from piza.training.settings import train_config

    config = train_config(given, options.config)
    result = train_model(config, log=_log, bar=_bar)
    is_first = int(os.environ.get("RANK", 0)) == 0
    if result.replaced and is_first:
        _log(f"an image could not be decoded and another one was taken, {result.replaced} times")
    if result.stopped:
        if is_first:
            _log(
                f"stopped after step {result.steps:,} of {result.planned:,}; nothing is lost, the same command goes on"
            )
        return 130
    if is_first:
        _log(f"wrote {config.out}; its log and plot are in {os.path.join(config.out, 'training')}")
    return 0


def _method_options(texts: list[str]) -> dict[str, Any]:
    """["rank=8", "start_ids=[1, 2]"] as {"rank": 8, "start_ids": [1, 2]}."""
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"--option: expected NAME=VALUE such as rank=8, got {text!r}")
        try:
            options[name] = json.loads(value)
        except ValueError:
            raise InputError(
                f"--option {name!r}: expected a number, true, false or a list of numbers, got {value!r}"
            ) from None
    return options


def _log(text: str) -> None:
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(f"piza: {text}", file=sys.stderr)  # above a running bar
    else:
        print(f"piza: {text}", file=sys.stderr, flush=True)


def _bar(done: int, steps: int) -> Any:
    """A bar on a terminal; elsewhere a line now and then."""
    if not sys.stderr.isatty():
        return _Lines(done, steps)
    from tqdm import tqdm

    return tqdm(initial=done, total=steps, unit="step", dynamic_ncols=True, smoothing=0.05)


class _Lines:
    """What a bar would show, a line whenever the log gets one."""

    def __init__(self, done: int, steps: int):
        self.done, self.steps = done, steps

    def update(self, n: int) -> None:
        self.done += n

    def set_postfix_str(self, s: str) -> None:
        _log(f"step {self.done:,} of {self.steps:,}, {s}")

    def close(self) -> None:
        pass
