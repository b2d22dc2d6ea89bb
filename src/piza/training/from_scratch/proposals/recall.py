"""How many labeled objects the list of a first look holds: the share that one of its boxes overlaps by IoU 0.5.

    python -m piza.training.from_scratch.proposals.recall --model FOLDER | --proposals WEIGHTS | --start nanodet_g.onnx
        --work runs/streets --streets DIR --signs DIR [--part val] [--scenes POOL] [--pixels 960] [--limit N]

Counts objects of at least --least pixels (square root of the area of the label, at the photo's own size) that a person labeled, none that
a teacher added; by source and label, for the whole list and the best half of it.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from piza.boxes import iou_matrix_xyxy
from piza.image import cut, open_image
from piza.search.zoom_path import frame_window, input_size
from piza.training.from_scratch.frames.cache import FrameCache
from piza.training.from_scratch.proposals.train import (
    network_of,
    new_network,
    normalized_pixels,
    read_photos,
    read_words,
    source_folders,
    start_from_nanodet,
)

Lister = Callable[[NDArray[np.uint8]], NDArray[Any]]


def lister(args: argparse.Namespace) -> Lister:
    """Image -> (k, 4) xyxy boxes in its pixels, best first."""
    if args.model:
        import piza

        model = piza.load(str(args.model))
        assert model.proposals is not None
        network: nn.Module = model.proposals
        pixels = model.config.first_pixels
    else:
        words, pixels = read_words(), args.pixels
        if args.start:
            fresh = new_network(args.base, words, args.count, regions=False)
            start_from_nanodet(fresh, args.start, words)
        else:
            fresh = network_of(args.base, load_file(args.proposals), args.count)
        fresh.half_precision = args.half
        network = fresh
    network.eval()

    def boxes(image: NDArray[np.uint8]) -> NDArray[Any]:
        height, width = image.shape[:2]
        frame = frame_window((width, height))
        size = input_size(frame, True, pixels, pixels)
        with torch.inference_mode():
            found = network(normalized_pixels([cut(image, frame, size)]))
        box = found.boxes[-1, 0].numpy().astype(float)
        low, high = box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2
        return np.asarray(np.concatenate([low, high], 1) * np.tile([width, height], 2))

    return boxes


def samples(args: argparse.Namespace) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[Any], list[str]]]:
    """Source, image, boxes (m, 4) and labels."""
    photos = read_photos(args.work, args.part) if args.streets else []
    random.Random(0).shuffle(photos)
    for photo in photos[: args.limit]:
        known = [o for o in photo.objects if o.label]
        boxes = np.array([o.box for o in known], dtype=float).reshape(-1, 4)
        source, name = photo.key.split("/")
        if len(boxes):
            yield (
                source,
                open_image(source_folders(args.streets, args.signs)[source] / name),
                boxes,
                [o.label for o in known],
            )
    for folder in args.scenes:
        cache_of_scenes = FrameCache(folder)
        for number in range(min(len(cache_of_scenes), args.limit or 100)):
            frame = cache_of_scenes[number]
            labels = [next(w[9:] for w in words if w.startswith("category=")) for words in frame.attributes]
            yield "scenes", np.asarray(frame.image), frame.objects, labels


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a model folder")
    parser.add_argument("--proposals", type=Path, help="weights that `proposals.train export` wrote")
    parser.add_argument("--start", type=Path, help="nanodet_g.onnx: the network before training")
    parser.add_argument("--base", type=Path, default=Path("src/piza/weights/mini"))
    parser.add_argument("--work", type=Path, default=Path("runs/streets"))
    parser.add_argument("--streets", type=Path)
    parser.add_argument("--signs", type=Path)
    parser.add_argument("--scenes", type=Path, nargs="*", default=[])
    parser.add_argument("--part", default="val")
    parser.add_argument("--pixels", type=int, default=960, help="square root of the area of the input")
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--least", type=float, default=12.0)
    parser.add_argument("--limit", type=int, help="photos, and scenes of a cache_of_scenes")
    parser.add_argument("--half", action="store_true", help="convolutions in bfloat16")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    list_of = lister(args)
    counts: dict[str, list[int]] = {}
    spent, images = 0.0, 0
    for source, image, boxes, labels in samples(args):
        begun = time.perf_counter()
        listed = list_of(image)
        spent, images = spent + time.perf_counter() - begun, images + 1
        overlap = iou_matrix_xyxy(boxes, listed) >= 0.5
        size = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        within = ((centers[:, None] > listed[:, :2]) & (centers[:, None] < listed[:, 2:])).all(-1).any(1)
        for number in np.flatnonzero(size >= args.least):
            keys = [f"{source}: {labels[number]}", source]
            if source != "scenes" and labels[number] != "pole":
                keys += ["photos but for poles"]
                keys += ["photos but for poles, under 32 px"] if size[number] < 32 else []
            for key in keys:
                row = counts.setdefault(key, [0, 0, 0, 0])
                row[0] += 1
                row[1] += bool(overlap[number].any())
                row[2] += bool(overlap[number, : args.count // 2].any())
                row[3] += bool(within[number])
    report(counts, args.json, f"{images} images, {spent / max(1, images):.3f} s each")


def report(counts: dict[str, list[int]], as_json: bool, header: str) -> None:
    """Prints the shares of what `main` counted."""
    shares = {
        key: {"objects": n, "list": round(a / n, 4), "half": round(b / n, 4), "center": round(c / n, 4)}
        for key, (n, a, b, c) in sorted(counts.items())
    }
    if as_json:
        print(json.dumps(shares))
        return
    print(f"{header}\n{'objects of at least 10 labels':40} number list  half  center")
    for key, share in shares.items():
        if share["objects"] >= 10:
            print(
                f"{key:40} {share['objects']:6} {share['list']:.3f} {share['half']:.3f} {share['center']:.3f}"
            )


if __name__ == "__main__":
    main()
