"""The command line. A door: it reads arguments, calls the library, prints; no logic of its own.

What was asked for goes to stdout and nothing else does. Bad input is one sentence on stderr and exit code 2. The heavy
modules are imported where they are used, so that --help and most refusals answer at once.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from piza import __version__
from piza.errors import InputError

if TYPE_CHECKING:
    from piza.result import Result

STOPPED = {
    "stop": "the model said stop",
    "max_looks": "the path may not be longer",
    "no_shrink": "there was no closer window to look at",
    "budget": "all looks were used up",
    "nothing": "no look saw anything",
}
LONGEST_MESSAGE = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 when `data check` found errors, 2 for bad input, 130 for Ctrl-C."""

    def run() -> int | None:
        options = _parser().parse_args(arguments)
        return options.run(options)

    return guard(run)


def guard(action: Callable[[], int | None]) -> int:
    """Call `action`; bad input becomes one sentence on stderr. Returns its exit code, or that of `main`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A sentence in any script on a terminal in any encoding.
            stream.reconfigure(errors="backslashreplace")
    try:
        _hush()
        try:
            code = action()
        finally:
            sys.stdout.flush()  # here, where a closed pipe is handled, and not while Python ends
        return code or 0
    except InputError as error:
        return _complain(str(error), 2)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:  # the reader of stdout, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # the disk is full, the folder was removed meanwhile
        return _complain(str(error), 2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="piza", description="Find tiny things in large pictures by a sentence.")
    parser.add_argument("--version", action="version", version=f"piza {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    locate = commands.add_parser("locate", help="find what a sentence describes in a picture")
    locate.add_argument("photo", metavar="PHOTO", help="a picture file")
    locate.add_argument(
        "sentences", metavar="SENTENCE", nargs="+", help="what to find, in words; one or more"
    )
    locate.add_argument("--json", action="store_true", help="print JSON; for several sentences, a list")
    locate.add_argument(
        "--out", metavar="PICTURE", help="draw the search (.png, .jpg, .webp; numbered for several sentences)"
    )
    _model_options(locate)
    locate.add_argument(
        "--grounder",
        metavar="NAME",
        help="instead of --model, without training: a zero-shot detector (folder or hub name), or chat:MODEL@URL with "
        "the key in PIZA_API_KEY",
    )
    locate.add_argument(
        "--max-looks", metavar="N", type=_at_least(1), help="the most looks from the picture to the answer"
    )
    locate.add_argument(
        "--min-score",
        metavar="P",
        type=_probability,
        help="say that nothing matches where the answer is less probable than this; the exit code stays 0",
    )
    locate.set_defaults(run=_locate)

    from piza.cli.evaluate import add_evaluate, add_report
    from piza.cli.export import add_export
    from piza.cli.train import add_train

    add_evaluate(commands)
    add_report(commands)
    add_train(commands)
    add_export(commands)
    from piza.cli.serve import add_serve

    add_serve(commands)

    data = commands.add_parser("data", help="make, check, count, look at and convert data")
    from piza.cli.data import add_data_commands

    add_data_commands(data.add_subparsers(metavar="KIND", required=True, parser_class=_Parser))

    convert = commands.add_parser("convert", help="turn published weights into a model folder")
    sources = convert.add_subparsers(metavar="SOURCE", required=True, parser_class=_Parser)
    reference = sources.add_parser("reference", help="the checkpoint published with the paper")
    reference.add_argument("checkpoint", metavar="CHECKPOINT", help="a .pth or .safetensors file")
    reference.add_argument(
        "--base",
        metavar="FOLDER|HUB",
        required=True,
        help="the MM-GroundingDINO underneath, for config and tokenizer",
    )
    reference.add_argument("--out", metavar="FOLDER", required=True, help="the model folder to write")
    reference.add_argument(
        "--history", metavar="FILE", help="the box-history encoder, if in a file of its own"
    )
    reference.set_defaults(run=_convert_reference)
    return parser


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="NAME", default="mini", help="mini, a model folder or a hub name (default: mini)"
    )
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument(
        "--whole-frame", action="store_true", help="answer from one look at the whole picture"
    )
    parser.add_argument("--greedy", action="store_true", help="follow the best window only, as published")
    parser.add_argument(
        "--budget", metavar="N", type=_at_least(1), help="looks a sentence at most (default: the model's)"
    )
    parser.add_argument(
        "--accept-threshold",
        metavar="P",
        type=_probability,
        help="an answer of this probability ends the search (default: the model's)",
    )
    from piza.cli.export import add_runtime

    add_runtime(parser)


def _locate(options: argparse.Namespace) -> None:
    for sentence in options.sentences:
        _check_sentence(sentence)
    drawings = _drawing_paths(options.out, len(options.sentences))
    if drawings:
        from piza.visualize.draw import check_drawing_path

        for path in drawings:
            check_drawing_path(path)
    from piza.image import decode_image

    picture = decode_image(options.photo)  # refused, if need be, before a model is loaded
    own = options.grounder is None or options.runtime != "torch"
    model = _load(options) if own else _load_grounder(options)
    results = model.locate(
        picture,
        options.sentences,
        **_chosen(options),
        max_looks=options.max_looks,
        whole_frame=options.whole_frame,
        greedy=options.greedy,
        min_score=options.min_score,
    )
    for result, path in zip(results, drawings):
        result.save_drawing(path)
    if options.json:
        answers = [result.to_dict() for result in results]
        print(json.dumps(answers[0] if len(answers) == 1 else answers, indent=2))
    else:
        print("\n\n".join(describe(result) for result in results))
    for path in drawings:
        print(f"piza: drew {path}", file=sys.stderr)


def _convert_reference(options: argparse.Namespace) -> None:
    out = Path(options.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"cannot write to {options.out!r}: a new or empty folder is wanted")
    from piza.model.io import save_folder
    from piza.model.reference import reference_model

    model, report = reference_model(options.checkpoint, options.base, options.history)
    save_folder(model, out)
    print(report)


def _load(options: argparse.Namespace) -> Any:
    import piza

    if options.runtime == "torch":
        model: Any = piza.load(options.model, device=options.device)
    else:
        from piza.cli.export import load_runtime

        model = load_runtime(options)
    return model


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """What was said of the search."""
    said = {name: getattr(options, name) for name in ("budget", "accept_threshold")}
    return {name: value for name, value in said.items() if value is not None}


def _load_grounder(options: argparse.Namespace) -> Any:
    from piza.grounders.base import load_grounder

    return load_grounder(options.grounder, options.device)


def _check_sentence(sentence: str) -> None:
    if not sentence.strip():
        raise InputError("the sentence is empty; say in words what to find")
    try:
        sentence.encode()
    except UnicodeEncodeError:
        raise InputError("the sentence is not valid text in this terminal's encoding") from None


def _drawing_paths(out: str | None, count: int) -> list[Path]:
    """One path a sentence: `out` itself, or for several out-1.png, out-2.png, ..."""
    if out is None:
        return []
    path = Path(out)
    if count == 1:
        return [path]
    if not path.name:
        raise InputError(f"cannot draw to {out!r}: a file name is wanted")
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]


def describe(result: "Result") -> str:
    """A result in words: sentence, box and score or that nothing matches, time and the windows looked at, a line each."""
    answer = [f"  box    {_box(result.box_xyxy)}", f"  score  {result.score:.2f}"]
    if not result.found:
        answer = [f"  nothing in the picture matches (the best guess has a score of {result.score:.2f})"]
    lines = [
        " ".join(result.expression.split()),
        *answer,
        f"  time   {result.milliseconds:.0f} ms",
        f"  path   {result.looks_in_words}; {STOPPED.get(result.stopped, result.stopped)}",
    ]
    lines += [f"    {number}    {_box(window)}" for number, window in enumerate(result.windows, start=1)]
    return "\n".join(lines)


def _box(box_xyxy: Sequence[float]) -> str:
    x1, y1, x2, y2 = box_xyxy
    return f"{x1:.1f}, {y1:.1f} to {x2:.1f}, {y2:.1f}  ({x2 - x1:.1f} x {y2 - y1:.1f} pixels)"


def _progress(done: int, total: int) -> None:
    """A line that rewrites itself, for people only."""
    if sys.stderr.isatty():
        print(f"\r{done} of {total} rows", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _hush() -> None:
    """Keep the libraries below from talking on a user's screen."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _complain(message: str, code: int) -> int:
    """One line on stderr, whatever the message holds."""
    line = " ".join(message.split())
    if len(line) > LONGEST_MESSAGE:
        line = f"{line[:LONGEST_MESSAGE]}..."
    print(f"piza: {line}" if line.endswith((".", "!", "?")) else f"piza: {line}.", file=sys.stderr)
    return code


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"a whole number is wanted, got {text!r}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"at least {least} is wanted, got {value}")
        return value

    return number


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"a probability from 0 to 1 is wanted, got {text!r}")
    return value


class _Parser(argparse.ArgumentParser):
    """Wrong arguments are reported like all bad input: in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")
