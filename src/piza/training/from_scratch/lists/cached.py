"""What the proposal network lists of the training frames, kept on disk: what the matcher is taught on in the end.

    python -m piza.training.from_scratch.lists.cached --proposals weights.safetensors --rows rows.json ... --streets DIR --signs DIR
        --scenes POOL --out CACHE [--views 2]

The network is frozen, so each frame is looked at once (photos in a few versions: as it is, and in other light and size), and training
reads the lists. CACHE/features.npy (count, k, width) float16, with read.npy and seen.npy, of which they were made, CACHE/boxes.npy
(count, k, 4) cxcywh, CACHE/index.jsonl one line for each that is done: {"row", "key", "view", "aspect"}, key "scenes/NUMBER" or that of the photo. Goes on where it was when called again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from piza.data.windows import photometric_augmentation
from piza.devices import check_device
from piza.image import cut, open_image
from piza.model.nanodet_proposals import PATCH
from piza.model.region_encoder import STATE
from piza.search.region_crops import region_crops
from piza.search.zoom_path import frame_window, input_size
from piza.training.from_scratch.frames.cache import FrameCache
from piza.training.from_scratch.proposals.crops import haze
from piza.training.from_scratch.proposals.train import (
    network_of,
    normalized_pixels,
    read_words,
    source_folders,
)

LISTED = 160
FRAME = 1120  # square root of the pixels of a first look


@dataclass
class Cache:
    """features (count, k, width), read and seen (count, k, ...) as in `CellProposals`, boxes (count, k, 4) cxcywh, normalized;
    by_key: rows of each frame; aspect: of each row."""

    features: NDArray[np.float16]
    read: NDArray[np.float16]
    seen: NDArray[np.float16]
    boxes: NDArray[np.float32]
    by_key: dict[str, list[int]]
    aspect: dict[int, float]


def read_cache(folder: Path) -> Cache:
    """What is done of a cache so far."""
    lines = [
        json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines() if line.endswith("}")
    ]
    by_key: dict[str, list[int]] = {}
    for line in lines:
        by_key.setdefault(line["key"], []).append(line["row"])
    features, read, seen, boxes = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("features", "read", "seen", "boxes")
    )
    return Cache(
        features,
        read,
        seen,
        boxes,
        by_key,
        {line["row"]: line["aspect"] for line in lines},
    )


def view_of(image: NDArray[np.uint8], view: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The frame at the size of a first look; of further views in other light and size."""
    height, width = image.shape[:2]
    frame = frame_window((width, height))
    pixels = int(FRAME * (np.exp(rng.uniform(np.log(0.8), np.log(1.12))) if view else 1.0))
    image = cut(image, frame, input_size(frame, True, pixels, pixels))
    return haze(photometric_augmentation(image, rng), rng) if view else image


def write_cache(args: argparse.Namespace) -> None:
    """Lists what was not listed before."""
    torch.set_num_threads(1)
    network = network_of(args.base, load_file(args.proposals), LISTED)
    device = torch.device(check_device(args.device))
    network.to(device).eval().half_precision = args.half
    caches = [FrameCache(folder) for folder in args.scenes]
    jobs = jobs_of(args.rows, sum(map(len, caches)), args.views, args.max_scenes)
    args.out.mkdir(parents=True, exist_ok=True)
    width = network.width + len(read_words().words) + STATE + 1
    arrays = []
    kinds = {
        "features": (width, np.float16),
        "read": (network.width, np.float16),
        "seen": (3 * PATCH * PATCH, np.float16),
        "boxes": (4, np.float32),
    }
    for name, (columns, kind) in kinds.items():
        path = args.out / f"{name}.npy"
        shape = (len(jobs), LISTED, columns)
        if path.exists():
            arrays.append(np.lib.format.open_memmap(path, mode="r+"))
        else:
            arrays.append(np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape))
    index = args.out / "index.jsonl"
    done = {json.loads(line)["row"] for line in index.read_text().splitlines()} if index.exists() else set()
    folders = source_folders(args.streets, args.signs)
    with open(index, "a") as out, torch.inference_mode():
        for row, (key, view) in enumerate(jobs):
            if row in done:
                continue
            source, name = key.split("/")
            image = (
                scene_image(caches, int(name)) if source == "scenes" else open_image(folders[source] / name)
            )
            image = view_of(image, view, np.random.default_rng([args.seed, row]))
            found = network(normalized_pixels([image]).to(device))
            if not args.no_regions:
                crops, sizes = region_crops(image, found.boxes[-1, 0].cpu().numpy())
                found = network.with_regions(
                    found, normalized_pixels(list(crops)).to(device), torch.from_numpy(sizes).to(device)
                )
            written = (found.features[0], found.read[0], found.seen[0], found.boxes[-1, 0])
            for array, values in zip(arrays, written, strict=True):
                array[row] = values.cpu().numpy()
            line = {"row": row, "key": key, "view": view, "aspect": found.size[1] / found.size[0]}
            out.write(json.dumps(line) + "\n")
            out.flush()


def jobs_of(rows: Sequence[Path], scenes: int, views: int, max_scenes: int | None) -> list[tuple[str, int]]:
    """Frames and views in a random order, so that a part of them is of everything."""
    keys = sorted({key for path in rows for key in _keys(path)})
    jobs = [(key, view) for key in keys for view in range(views)]
    jobs += [(f"scenes/{number}", 0) for number in range(min(scenes, max_scenes or scenes))]
    order = np.random.default_rng(0).permutation(len(jobs))
    return [jobs[int(number)] for number in order]


def _keys(path: Path) -> list[str]:
    """The photos of a file of rows, or of lines with named regions."""
    text = path.read_text()
    if path.suffix == ".jsonl":
        return [json.loads(line)["key"] for line in text.splitlines()]
    return [row["key"] for row in json.loads(text)["rows"]]


def scene_image(caches: Sequence[FrameCache], number: int) -> NDArray[np.uint8]:
    """A scene by its number over all caches."""
    for cache_of_scenes in caches:
        if number < len(cache_of_scenes):
            return np.asarray(cache_of_scenes.images[number])
        number -= len(cache_of_scenes)
    raise IndexError(number)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--proposals", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=Path("src/piza/weights/mini"), help="for its settings")
    parser.add_argument(
        "--rows",
        type=Path,
        nargs="*",
        default=[],
        help="photos: sentences as `streets.rows` writes them (.json), or regions with names (.jsonl)",
    )
    parser.add_argument("--streets", type=Path)
    parser.add_argument("--signs", type=Path)
    parser.add_argument("--scenes", type=Path, nargs="*", default=[])
    parser.add_argument("--max-scenes", type=int)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--half", action="store_true", help="convolutions in bfloat16")
    parser.add_argument(
        "--no-regions", action="store_true", help="leave them 0, for a training that looks at them itself"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    write_cache(parser.parse_args())


if __name__ == "__main__":
    main()
