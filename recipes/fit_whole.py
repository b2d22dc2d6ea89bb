"""Teaches a model which of the objects that it lists are whole things: what `piza data propose` chooses by.

    python recipes/fit_whole.py MODEL_FOLDER recipes/named_regions.jsonl --streets DIR --signs DIR
        [--check recipes/named_regions_val.jsonl] [--every 3] [--write]

Fits a logistic regression on what the model's region encoder tells of named regions: one whole thing, or a part or nothing, by their
phrases (`regions/kinds.py`). --check: regions of photos that are not trained on; prints how well the two are told apart there (AUROC).
--every: take each so many-th photo. --write: puts the numbers into the folder's objects.json. To be run again whenever the region
encoder was trained. Half a minute of one core.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

import piza
from piza.errors import InputError
from piza.evaluation.metrics import auroc
from piza.hub import write_checksums
from piza.image import cut, open_image
from piza.model.object_words import write_object_words
from piza.model.piza import Piza
from piza.search.region_crops import Detail, region_crops
from piza.search.zoom_path import frame_window, input_size
from piza.training.from_scratch.proposals.train import source_folders
from piza.training.from_scratch.regions.kinds import kind_of
from piza.training.from_scratch.regions.named import NamedPhoto, read_named

DECAY = 0.003  # of the weights of standardized inputs; 0.03 and 0.1 tell as well on other photos


@torch.inference_mode()
def states_of(model: Piza, photo: NamedPhoto, folders: dict[str, Path]) -> np.ndarray:
    """(k, STATE) what the encoder tells of a photo's regions, cut out as for a first look."""
    source, name = photo.key.split("/", 1)
    if source not in folders:
        raise InputError(f"{photo.key}: the folder of {source!r} is not given by --streets or --signs")
    image = open_image(folders[source] / name)
    frame = frame_window((image.shape[1], image.shape[0]))
    small = cut(image, frame, input_size(frame, True, model.config.first_pixels, model.config.first_pixels))
    corners = np.array([region.xyxy for region in photo.regions]) / (photo.size * 2)
    boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    crops, sizes = region_crops(small, boxes, Detail(image, frame))
    states, _ = model.proposals.regions(model.pixels(crops).float(), torch.from_numpy(sizes))
    told: np.ndarray = states.float().numpy()
    return told


def told(
    model: Piza, photos: Sequence[NamedPhoto], folders: dict[str, Path]
) -> tuple[np.ndarray, np.ndarray]:
    """States (n, STATE) of all regions, and (n,) whether each is a whole thing."""
    photos = [photo for photo in photos if photo.regions]
    whole = [kind_of(region.phrase) == "whole" for photo in photos for region in photo.regions]
    return np.concatenate([states_of(model, photo, folders) for photo in photos]), np.array(whole)


def fit(states: np.ndarray, whole: np.ndarray) -> tuple[float, ...]:
    """Weights and constant of a logistic regression."""
    mean, deviation = states.mean(0), states.std(0) + 1e-3
    inputs, targets = torch.from_numpy((states - mean) / deviation), torch.from_numpy(whole).float()
    weights = torch.zeros(states.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = inputs @ weights[:-1] + weights[-1]
        value = functional.binary_cross_entropy_with_logits(logits, targets)
        value = value + DECAY * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    found = weights.detach().numpy()
    scaled = found[:-1] / deviation
    return tuple(round(float(v), 5) for v in (*scaled, found[-1] - scaled @ mean))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("named", type=Path)
    parser.add_argument("--check", type=Path)
    parser.add_argument("--streets", type=Path)
    parser.add_argument("--signs", type=Path)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, folders = piza.load(str(args.folder)), source_folders(args.streets, args.signs)
    if model.object_words is None or getattr(model.proposals, "regions", None) is None:
        raise InputError(f"{args.folder}: expected a model with objects.json and a region encoder")
    states, whole = told(model, read_named(args.named)[:: args.every], folders)
    words = replace(model.object_words, whole=fit(states, whole))
    print(f"{len(whole)} regions, {whole.mean():.1%} of them whole things")
    if args.check:
        states, whole = told(model, read_named(args.check), folders)
        chances = words.whole_chances(states)
        print(f"{args.check}: {len(whole)} regions, AUROC {auroc(chances, whole):.3f}")
        print(f"mean probability {chances.mean():.3f}, share of whole things {whole.mean():.3f}")
    if args.write:
        write_object_words(args.folder, words)
        write_checksums(args.folder)
        print(f"wrote {args.folder}/objects.json")


if __name__ == "__main__":
    main()
