"""`piza export`: a model as ONNX graphs."""

import argparse
from pathlib import Path
from typing import Any

from piza.cli.common import note
from piza.devices import needing_torch


def add_export(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser("export", help="write a model as ONNX, to run without torch")
    parser.add_argument("model", metavar="MODEL", help="mini, a model folder or a hub name")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        required=True,
        help="the folder to write, new or empty; what a killed export left in it is removed",
    )
    parser.add_argument(
        "--int8", action="store_true", help="weights of eight bits: smaller and faster; measure what it costs"
    )
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    import piza

    with needing_torch():
        from piza.runtimes.export import check_folder, export_model

    check_folder(Path(options.out))
    export_model(piza.load(options.model, device="cpu"), options.out, int8=options.int8)
    size = sum(file.stat().st_size for file in Path(options.out).iterdir()) / 1e6
    note(f"wrote {options.out} ({size:.1f} MB)")
