"""`piza train`. A door like cli.py: it reads arguments, calls the library, prints."""

import argparse
import json
import os
import sys
from typing import Any

from piza.cli.main import _at_least
from piza.errors import InputError


def add_train(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser(
        "train",
        help="fine-tune a model on rows in SOREC's format",
        description="Fine-tune a model on rows in SOREC's format. The same command goes on where an earlier one was stopped.",
    )
    parser.add_argument("rows", metavar="ROWS.json", help="rows: image, bbox [x, y, width, height], ref, id")
    parser.add_argument("--images", metavar="DIR", required=True, help="the folder of the pictures")
    parser.add_argument(
        "--base", metavar="NAME", required=True, help="mini, a model folder or a hub name: where to start"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", required=True, help="the adapter or model to write; training/ in it"
    )
    what = parser.add_argument_group("what is trained")
    what.add_argument(
        "--method",
        metavar="METHOD",
        default="adapter_plus",
        help="adapter_plus (default), lora, coop or full",
    )
    what.add_argument(
        "--plain", action="store_true", help="not told the zoom: answer from one look at the frame"
    )
    what.add_argument(
        "--option", metavar="NAME=VALUE", action="append", default=[], help="of the method, such as rank=8"
    )
    what.add_argument(
        "--answers", metavar="WHAT", help="of looks before the last: window or thing (default: the base's)"
    )
    what.add_argument(
        "--merge", action="store_true", help="fold plain LoRA into the weights and write a model"
    )
    what.add_argument(
        "--pooling",
        metavar="HOW",
        help="a sentence's score is the mean or max of its tokens' (default: the base's)",
    )
    what.add_argument(
        "--history-steps", metavar="N", type=_at_least(1), help="for the box-history encoder (default: 3000)"
    )

    course = parser.add_argument_group("the course of it")
    course.add_argument("--epochs", metavar="N", type=float, help="default: 5")
    course.add_argument("--steps", metavar="N", type=_at_least(1), help="instead of epochs")
    course.add_argument("--lr", metavar="RATE", type=float, help="default: 2e-4")
    course.add_argument(
        "--backbone-lr", metavar="SHARE", type=float, help="the picture backbone's, as a share (default: 0.1)"
    )
    course.add_argument(
        "--schedule", metavar="NAME", help="step (default: a tenth after three fifths) or cosine"
    )
    course.add_argument("--optimizer", metavar="NAME", help="adamw (default) or muon")
    course.add_argument("--clip", metavar="NORM", type=float, help="of the gradient (default: 0.1)")
    course.add_argument("--decay", metavar="RATE", type=float, help="of weights (default: 1e-4)")
    course.add_argument(
        "--average",
        metavar="RATE",
        type=float,
        help="of the weights that are saved (default: 0.998; 0: none)",
    )
    course.add_argument("--seed", metavar="S", type=_at_least(0), help="default: 0")

    looks = parser.add_argument_group("windows")
    looks.add_argument(
        "--batch", metavar="N", type=_at_least(1), help="windows a step and process (default: 4)"
    )
    looks.add_argument(
        "--micro-batch",
        metavar="N",
        type=_at_least(1),
        help="of these together in the model: less takes less memory",
    )
    looks.add_argument(
        "--crops-per-image",
        metavar="N",
        type=_at_least(1),
        help="windows of each opened picture (default: 4)",
    )
    looks.add_argument(
        "--sentences", metavar="N", type=_at_least(1), help="rows of each opened picture (default: 4)"
    )
    looks.add_argument(
        "--first-pixels", metavar="PX", type=_at_least(32), help="root of the area a frame is resized to"
    )
    looks.add_argument("--later-pixels", metavar="PX", type=_at_least(32), help="the same for later windows")
    looks.add_argument(
        "--min-scale", metavar="SHARE", type=float, help="random resize from this to 1 (default: 0.6)"
    )
    looks.add_argument("--light", action="store_true", default=None, help="vary brightness, colors and noise")
    looks.add_argument("--missing", choices=("error", "skip"), help="rows without a picture (default: error)")

    watch = parser.add_argument_group("watching, and the machine")
    watch.add_argument("--validate", metavar="VAL.json", help="rows to evaluate on now and then")
    watch.add_argument("--validate-images", metavar="DIR", help="their pictures (default: those of --images)")
    watch.add_argument("--validate-limit", metavar="N", type=_at_least(1), help="the first N rows only")
    watch.add_argument("--every", metavar="N", type=_at_least(1), help="steps between (default: an epoch)")
    watch.add_argument("--tracker", metavar="NAME", help="none (default), tensorboard or trackio")
    watch.add_argument("--device", help="cpu, cuda or cuda:N (default: a graphics card if there is one)")
    watch.add_argument("--precision", metavar="NAME", help="fp32 (default) or bf16 (products in bfloat16)")
    watch.add_argument(
        "--workers", metavar="N", type=_at_least(1), help="processes that read pictures (default: 2)"
    )
    watch.add_argument("--log-every", metavar="N", type=_at_least(1), help="steps (default: 20)")
    watch.add_argument(
        "--save-every", metavar="SECONDS", type=float, help="between checkpoints (default: 300)"
    )
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    given = {k: v for k, v in vars(options).items() if k not in ("run", "option") and v is not None}
    chosen = _options(options.option)
    from piza.training.run import train_model
    from piza.training.settings import TrainConfig

    found = train_model(TrainConfig(**given, options=chosen), say=_say, bar=_bar)
    first = int(os.environ.get("RANK", 0)) == 0
    if found.replaced and first:
        _say(f"a picture could not be decoded and another one was taken, {found.replaced} times")
    if found.stopped:
        if first:
            _say(
                f"stopped after step {found.steps:,} of {found.planned:,}; nothing is lost, the same command goes on"
            )
        return 130
    if first:
        _say(f"wrote {options.out}; its log and plot are in {os.path.join(options.out, 'training')}")
    return 0


def _options(texts: list[str]) -> dict[str, Any]:
    """["rank=8", "start_ids=[1, 2]"] as {"rank": 8, "start_ids": [1, 2]}."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"--option is {text!r}; NAME=VALUE is wanted, such as rank=8")
        try:
            found[name] = json.loads(value)
        except ValueError:
            raise InputError(
                f"--option {name!r} is {value!r}; a number, true, false or a list of numbers is wanted"
            ) from None
    return found


def _say(text: str) -> None:
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(f"piza: {text}", file=sys.stderr)  # above a running bar
    else:
        print(f"piza: {text}", file=sys.stderr, flush=True)


def _bar(done: int, steps: int) -> Any:
    """A bar for people; where nobody watches, a line now and then."""
    if not sys.stderr.isatty():
        return _Lines(done, steps)
    from tqdm import tqdm

    return tqdm(initial=done, total=steps, unit="step", dynamic_ncols=True, smoothing=0.05)


class _Lines:
    """What a bar would show, a line whenever the log gets one."""

    def __init__(self, done: int, steps: int):
        self.done, self.steps = done, steps

    def update(self, more: int) -> None:
        self.done += more

    def set_postfix_str(self, text: str) -> None:
        _say(f"step {self.done:,} of {self.steps:,}, {text}")

    def close(self) -> None:
        pass
