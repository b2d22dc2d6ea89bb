"""`piza export`, and models that another runtime than torch runs. A door like cli.py."""

import argparse
import sys
from pathlib import Path
from typing import Any

from piza.errors import InputError


def add_export(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser("export", help="write a model as ONNX, to run without torch")
    parser.add_argument("model", metavar="MODEL", help="mini, a model folder or a hub name")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="the folder to write, new or empty")
    parser.add_argument(
        "--int8", action="store_true", help="weights of eight bits: smaller and faster; measure what it costs"
    )
    parser.set_defaults(run=_export)


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add the option --runtime."""
    parser.add_argument(
        "--runtime",
        metavar="NAME",
        default="torch",
        help="torch (default), or onnx or openvino with --model a folder that `piza export` wrote",
    )


def load_runtime(options: argparse.Namespace) -> Any:
    """The exported model that was asked for."""
    from piza.runtimes import load_exported

    if options.device != "cpu":
        raise InputError(f"the runtime {options.runtime!r} runs on the cpu, not on {options.device!r}")
    if getattr(options, "baseline", None) is not None:
        raise InputError(f"the rivals run in torch only, not in the runtime {options.runtime!r}")
    if getattr(options, "grounder", None) is not None:
        raise InputError("a --grounder is another model, which --runtime does not run; give one of them")
    return load_exported(options.model, options.runtime)


def _export(options: argparse.Namespace) -> None:
    import piza
    from piza.runtimes.export import check_folder, export_model

    check_folder(Path(options.out))
    export_model(piza.load(options.model), options.out, int8=options.int8)
    size = sum(file.stat().st_size for file in Path(options.out).iterdir()) / 1e6
    print(f"piza: wrote {options.out} ({size:.1f} MB)", file=sys.stderr)
