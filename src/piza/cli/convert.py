"""`piza convert`: published weights as a model folder."""

import argparse
from typing import Any

from piza.cli.common import Parser
from piza.devices import needing_torch
from piza.files import atomic_folder, check_new_folder


def add_convert(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    convert = commands.add_parser("convert", help="turn published weights into a model folder")
    sources = convert.add_subparsers(metavar="SOURCE", required=True, parser_class=Parser)
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
        "--history", metavar="FILE", help="the box-history encoder, if it is in a file of its own"
    )
    reference.set_defaults(run=_convert_reference)


def _convert_reference(options: argparse.Namespace) -> None:
    check_new_folder(options.out)
    with needing_torch():
        from piza.model.io import save_folder
        from piza.model.reference import reference_model

    model, report = reference_model(options.checkpoint, options.base, options.history)
    with atomic_folder(options.out) as folder:
        save_folder(model, folder)
    print(report)
