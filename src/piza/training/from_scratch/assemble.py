"""A model folder with the proposal network on NanoDet's backbone and its matcher, and all else of another model.

python -m piza.training.from_scratch.assemble --base FOLDER --proposals proposals.safetensors --matcher matcher.safetensors --out FOLDER
"""

import argparse
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file

from piza.model.io import load_folder, load_weights, save_folder
from piza.model.object_words import ObjectWords
from piza.model.piza import Piza
from piza.training.from_scratch.lists.cached import LISTED
from piza.training.from_scratch.proposals.crops import CATEGORIES
from piza.training.from_scratch.proposals.train import read_words

FIRST_PIXELS = 1120  # square root of the area of a first look: chosen, a little more than it was trained at
PARTS = ("proposals.", "matcher.")


def assembled(base: Path, proposals: Path, matcher: Path) -> Piza:
    """The model of `base`, with the weights of both files. Raises InputError where they do not fit."""
    from transformers import AutoModelForZeroShotObjectDetection

    old = load_folder(base)
    config = replace(
        old.config,
        num_proposals=LISTED,
        num_attributes=len(read_words().words),
        proposal_backbone="nanodet",
        num_categories=len(CATEGORIES),
        first_pixels=FIRST_PIXELS,
    )
    weights = {
        name: w for name, w in load_file(base / "model.safetensors").items() if not name.startswith(PARTS)
    }
    weights |= {f"proposals.{name}": w for name, w in load_file(proposals).items()}
    weights |= load_file(matcher)  # the matcher, and what it learned of describing objects
    model = Piza(AutoModelForZeroShotObjectDetection.from_config(old.detector.config), old.tokenizer, config)
    load_weights(model, weights, f"{base}, {proposals} and {matcher}")
    model.prompter.known_words = old.prompter.known_words
    model.object_words = ObjectWords(CATEGORIES, tuple(read_words().words))
    return model


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("base", "proposals", "matcher", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    save_folder(assembled(args.base, args.proposals, args.matcher), args.out, half=True)


if __name__ == "__main__":
    main()
