"""What the commands share: how a command is run, its options for models and searches, and what it prints.

The answer goes to stdout and nothing else does. Bad input is one sentence on stderr and exit code 2. Heavy modules are
imported where they are used, so that `--help` and most refusals answer at once.
"""

import argparse
import ipaddress
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from piza.devices import AUTO, check_cpu, check_device, device_failure
from piza.errors import MAX_COUNT, InputError, InputWarning
from piza.visualize.text import one_line

if TYPE_CHECKING:
    from piza.result import Result

MAX_MESSAGE = 500  # characters of an error

SEARCH_OPTIONS = ("budget", "accept_threshold", "max_looks", "min_score", "greedy", "whole_frame")
"""Keywords of `locate` that `add_search_options` offers."""


class Parser(argparse.ArgumentParser):
    """Reports wrong arguments like all bad input: in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError with argparse's message."""
        raise InputError(f"{message} (see {self.prog} --help)")


def guard(action: Callable[[], int | None]) -> int:
    """Run a command and turn its errors into exit codes.

    Returns what `action` returns (None is 0); 2 for bad input, a file that cannot be read or written, or a device that
    is too small, with one sentence on stderr; 130 for Ctrl-C; 1 if the reader of stdout has gone.
    """
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A sentence in any script on a terminal in any encoding.
            stream.reconfigure(errors="backslashreplace")
    try:
        _silence_libraries()
        _check_current_folder()
        _check_hub_settings()
        if sys.flags.optimize > 1:
            raise InputError(
                "Python was told to leave out docstrings (-OO, PYTHONOPTIMIZE=2), which transformers needs"
            )
        try:
            code = action()
        except SystemExit:  # --help and --version
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # here, where a closed pipe is handled, and not while Python ends
        return code or 0
    except BrokenPipeError:  # the reader of stdout, such as head, has seen enough
        _drop(sys.stdout)
        return 1
    except InputError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except (RuntimeError, ImportError, MemoryError, OSError) as error:
        sentence = device_failure(error)
        if sentence is None and isinstance(error, OSError):
            # The disk is full, or the folder was removed meanwhile.
            place = f"{str(error.filename)!r}" if error.filename else "the output"
            sentence = f"cannot read or write {place}: {error.strerror or error}"
        if sentence is None:
            raise
        return _fail(sentence, 2)


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:  # torch's libraries then end the process
        raise InputError("the current folder has been removed, expected one that exists") from None


def _check_hub_settings() -> None:
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        value = os.environ.get(name)
        # Of anything else huggingface_hub makes an error where it is imported.
        if value and not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", value):
            raise InputError(f"{name} is {shortened(value)}, expected a whole number of seconds")


def _fail(message: str, code: int) -> int:
    """One line on stderr, whatever the message holds."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop(sys.stdout)
    line = one_line(message)
    if len(line) > MAX_MESSAGE:
        line = f"{line[:MAX_MESSAGE]}..."
    try:
        print(f"piza: {line}" if line.endswith((".", "!", "?")) else f"piza: {line}.", file=sys.stderr)
    except OSError:  # nobody can be told; the exit code is left
        _drop(sys.stderr)
    return code


def _open_streams() -> None:
    """Let what was closed by whoever started us (`>&-`) lead nowhere: its number would be given to the next file."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            while (opened := os.open(os.devnull, os.O_RDWR)) < number:  # those below are closed, too
                pass
            if opened > number:  # it is a file's already
                os.close(opened)
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))


def _drop(stream: Any) -> None:
    """Let Python end without a second complaint about a stream that cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _silence_libraries() -> None:
    """Keep the libraries below from talking on a user's screen; our own warnings are notes."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", InputWarning)
    warnings.showwarning = lambda message, *_, **__: note(str(message))
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def at_least(minimum: int, at_most: int = MAX_COUNT) -> Callable[[str], int]:
    """A type for argparse: a whole number in these limits, written in digits."""

    def number(text: str) -> int:
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,30}", text) else minimum - 1
        if not minimum <= value <= at_most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {minimum} to {at_most}, got {shortened(text)}"
            )
        return value

    return number


def over(minimum: float, at_most: float) -> Callable[[str], float]:
    """A type for argparse: a number over `minimum` and not over `at_most`."""

    def number(text: str) -> float:
        value = as_number(text)
        if not minimum < value <= at_most:  # NaN is neither
            raise argparse.ArgumentTypeError(
                f"expected a number over {minimum:g}, at most {at_most:,.12g}, got {shortened(text)}"
            )
        return value

    return number


def probability(text: str) -> float:
    """A type for argparse: a number from 0 to 1."""
    value = as_number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a probability from 0 to 1, got {shortened(text)}")
    return value


def share_below_one(text: str) -> float:
    """A type for argparse: a number of at least 0 and below 1."""
    value = as_number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a share of at least 0 and below 1, got {shortened(text)}")
    return value


def any_number(text: str) -> float:
    """A type for argparse: a finite number, whose limits are checked with the other settings."""
    value = as_number(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {shortened(text)}")
    return value


def port(text: str) -> int:
    """A type for argparse: a port; 0 takes a free one."""
    if not re.fullmatch(r"[0-9]{1,30}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {shortened(text)}")
    return int(text)


def host_name(text: str) -> str:
    """A type for argparse: the name or the address of a computer, without scheme and port."""
    try:
        ipaddress.ip_address(text[1:-1] if text[:1] + text[-1:] == "[]" else text)
        known = True
    except ValueError:
        known = re.fullmatch(r"\w[\w-]*(\.\w[\w-]*)*\.?", text) is not None
    if not known:
        raise argparse.ArgumentTypeError(
            f"expected the name of a computer such as app.example, got {shortened(text)}"
        )
    return text


def as_number(text: str) -> float:
    """The number that a text is in English digits; NaN for any other text."""
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def shortened(text: str) -> str:
    """What was given, as a message quotes it."""
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}..."


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --model, --device and --runtime."""
    parser.add_argument(
        "--model", metavar="NAME", default="mini", help="mini, a model folder or a hub name (default: mini)"
    )
    add_device_option(parser)
    parser.add_argument(
        "--runtime",
        metavar="NAME",
        help="torch, or onnx or openvino for a folder that `piza export` wrote (default: what the model needs)",
    )


def add_device_option(parser: Any, default: str | None = AUTO) -> None:
    """Add --device, which means the same in every command (`piza.devices.check_device`)."""
    parser.add_argument(
        "--device",
        default=default,
        help="auto (default: a graphics card if there is one), cpu, cuda, cuda:N or mps",
    )


def add_box_options(parser: argparse.ArgumentParser) -> None:
    """Add --box-format and --normalized, which say how the boxes of rows are written."""
    parser.add_argument(
        "--box-format",
        choices=("xywh", "xyxy", "cxcywh"),
        help="how boxes are written: left, top, width, height (default); corners; or center, width, height",
    )
    parser.add_argument(
        "--normalized",
        action="store_true",
        default=None,
        help="boxes are fractions of the image, not pixels",
    )


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a search, which mean what the keywords of `piza.locate` mean."""
    group = parser.add_argument_group("the search (default: as the model was set up)")
    group.add_argument("--budget", metavar="N", type=at_least(1), help="looks a sentence at most")
    group.add_argument(
        "--accept-threshold",
        metavar="P",
        type=probability,
        help="end the search at an answer of this probability",
    )
    group.add_argument(
        "--max-looks",
        metavar="N",
        type=at_least(1),
        help="looks on the way from the frame to one answer at most",
    )
    group.add_argument(
        "--min-score",
        metavar="P",
        type=probability,
        help="say that nothing matches where the answer is less probable than this; the exit code stays 0",
    )
    group.add_argument("--greedy", action="store_true", help="follow the best window only, as published")
    group.add_argument("--whole-frame", action="store_true", help="answer from one look at the whole image")


def search_options(options: argparse.Namespace) -> dict[str, Any]:
    """The search options that were given, as keywords of `locate`."""
    values = {name: getattr(options, name) for name in SEARCH_OPTIONS}
    return {name: value for name, value in values.items() if value is not None and value is not False}


def load_model(options: argparse.Namespace) -> Any:
    """The model that --model, --device and --runtime name. Raises InputError when it cannot be loaded."""
    if options.runtime is None:
        import piza

        return piza.load(options.model, device=options.device)
    from piza.hub import find_model, is_export

    if options.runtime == "torch":
        if is_export(find_model(options.model)):
            raise InputError(f"{options.model!r} is an exported model; expected --runtime onnx or openvino")
        import piza

        return piza.load(options.model, device=options.device)
    check_cpu(options.device, f"the runtime {options.runtime!r}")
    from piza.runtimes import load_exported

    return load_exported(options.model, options.runtime)


def model_loader(options: argparse.Namespace) -> Callable[[], Any]:
    """`load_model` with these options, as a function that other processes can be sent."""
    names = ("model", "device", "runtime")
    return partial(load_model, argparse.Namespace(**{name: getattr(options, name) for name in names}))


def chosen_device(options: argparse.Namespace) -> str:
    """The name of the device that --device stands for with this model. Raises InputError where there is none."""
    from piza.hub import find_model, is_export

    if options.runtime not in (None, "torch") or is_export(find_model(options.model)):
        check_cpu(options.device, "an exported model")
        return "cpu"
    return check_device(options.device)


def describe(result: "Result") -> str:
    """A result in words, a line each: sentence, unknown words, box and score, time, and the windows looked at."""
    answer = [f"  box    {_box(result.box_xyxy)}", f"  score  {result.score:.2f}"]
    if not result.found:
        answer = [f"  nothing in the image matches (the best guess has a score of {result.score:.2f})"]
    unknown = ", ".join(one_line(word) for word in result.unknown_words)
    from piza.result import STOP_REASONS

    reason = STOP_REASONS.get(result.stopped, result.stopped)
    lines = [
        one_line(result.expression),
        *([f"  note   the model does not know: {unknown}"] if unknown else []),
        *answer,
        f"  time   {result.milliseconds:.0f} ms",
        f"  path   {result.looks_in_words}; {reason}",
    ]
    lines += [f"    {number}    {_box(window)}" for number, window in enumerate(result.windows, start=1)]
    return "\n".join(lines)


def _box(box_xyxy: Sequence[float]) -> str:
    x1, y1, x2, y2 = box_xyxy
    return f"{x1:.1f}, {y1:.1f} to {x2:.1f}, {y2:.1f}  ({x2 - x1:.1f} x {y2 - y1:.1f} pixels)"


def show_progress(done: int, total: int, of: str = "rows") -> None:
    """A line that rewrites itself, for people only."""
    if sys.stderr.isatty():
        print(f"\r{done} of {total} {of}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def show_photos(done: int, total: int) -> None:
    """As `show_progress`, of photos."""
    show_progress(done, total, "photos")


def note(text: str) -> None:
    """A line beside the answer, on stderr."""
    print(f"piza: {one_line(text)}", file=sys.stderr)
