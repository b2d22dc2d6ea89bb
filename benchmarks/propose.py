"""How good the proposals of `piza data propose` are on labeled photos: recall of small labeled things, and how many are labeled.

    python benchmarks/propose.py --splits splits.json --part test --streets DIR --signs DIR [--tiles 2] [--per-photo 20]
        [--candidates FILE.jsonl] [--by-score] [--sheet SHEET.jpg]

splits.json: {"test": ["source/name", ...]}; DIR/SOURCE/images and DIR/SOURCE/boxes.jsonl; signs: rows in SOREC's format. A
labeled thing counts if it is no scenery (poles), at least 12 pixels long, within the share of the frame that is asked for, and
whole; it is found if a proposal overlaps it by IoU 0.5 (also shown: 0.3). What is not labeled may be a thing all the same: --sheet draws a sample
of the proposals, for a person to count. --candidates keeps what the model saw, so that other settings are tried at once. --by-score
chooses by the list's score alone, as if nothing were known of what is a whole thing.
"""

import argparse
import json
import time
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from PIL import Image

from piza.boxes import iou_matrix_xyxy
from piza.data.labels import read_labels
from piza.data.sorec import read_rows
from piza.dataset.candidates import Candidate, model_list, tiled
from piza.dataset.selection import SelectionConfig, select
from piza.image import open_image
from piza.visualize.draw import draw_box, surroundings_xyxy


def labeled(args):
    """ "source/name" -> path, boxes and categories of each photo of the part."""
    keys = json.loads(args.splits.read_text())[args.part]
    boxes = defaultdict(list)
    for source in {key.split("/")[0] for key in keys} - {"signs"}:
        folder = args.streets / source
        for photo in read_labels(folder / "boxes.jsonl", folder / "images"):
            boxes[f"{source}/{photo.image}"] = [(box.xyxy, box.category) for box in photo.boxes]
    for row in read_rows(args.signs / "train.json"):
        boxes[f"signs/{row.image}"].append((row.box_xyxy, "sign"))
    for key in keys[: args.limit]:
        source, name = key.split("/", 1)
        folder = args.signs if source == "signs" else args.streets / source
        yield key, folder / "images" / name, list(dict.fromkeys(boxes[key]))


def seen(args, keys_and_paths):
    """key -> candidates, from the file or from the model."""
    if args.candidates and args.candidates.is_file():
        for line in args.candidates.read_text().splitlines():
            entry = json.loads(line)
            yield (
                entry["key"],
                [
                    Candidate(tuple(c["xyxy"]), c["category"], c["score"], tuple(c["attributes"]), c["whole"])
                    for c in entry["seen"]
                ],
            )
        return
    import torch

    import piza

    torch.set_num_threads(1)
    proposer = tiled(model_list(piza.load(args.model)), args.tiles)
    file = open(args.candidates, "w") if args.candidates else None
    spent = 0.0
    for number, (key, path) in enumerate(keys_and_paths, start=1):
        image = open_image(path)
        begin = time.perf_counter()
        found = proposer(image, key)
        spent += time.perf_counter() - begin
        if file:
            file.write(json.dumps({"key": key, "seen": [asdict(c) for c in found]}) + "\n")
        if number == len(keys_and_paths):
            print(f"{spent / number:.2f} s a photo, tiles {args.tiles}")
        yield key, found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("splits", "streets", "signs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--part", default="test")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--tiles", type=int, default=2)
    parser.add_argument("--per-photo", type=int, nargs="+", default=[20])
    parser.add_argument("--min-score", type=float, nargs="+", default=[SelectionConfig().min_score])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--candidates", type=Path)
    parser.add_argument("--by-score", action="store_true")
    parser.add_argument("--sheet", type=Path, help="draw 100 proposals, chosen by chance")
    args = parser.parse_args()
    photos = {key: (path, boxes) for key, path, boxes in labeled(args)}
    candidates = dict(seen(args, [(key, path) for key, (path, _) in photos.items()]))
    if args.by_score:
        candidates = {key: [replace(c, whole=None) for c in some] for key, some in candidates.items()}
    for per_photo in args.per_photo:
        for min_score in args.min_score:
            config = SelectionConfig(per_photo=per_photo, min_score=min_score)
            chosen = report(photos, candidates, config)
    if args.sheet:
        draw(chosen, photos, args.sheet)


def report(photos, candidates, config):
    """Print the figures of one setting; returns (key, candidate) of all proposals."""
    counts = defaultdict(
        lambda: np.zeros(5, int)
    )  # labels, found at 0.5, at 0.3, proposals, proposals on a label
    chosen = []
    for key, (path, boxes) in photos.items():
        with Image.open(path) as image:
            width, height = image.size
        kept = [kept.candidate for kept in select(candidates[key], (width, height), config).kept]
        chosen += [(key, candidate) for candidate in kept]
        small = [
            box for box, category in boxes
            if category not in config.without and is_small(box, width, height, config)
        ]  # fmt: skip
        found = np.array([c.xyxy for c in kept]).reshape(-1, 4)
        best = iou_matrix_xyxy(np.array(small).reshape(-1, 4), found).max(1, initial=0)
        every = iou_matrix_xyxy(found, np.array([box for box, _ in boxes]).reshape(-1, 4)).max(1, initial=0)
        numbers = [len(small), (best >= 0.5).sum(), (best >= 0.3).sum(), len(kept), (every >= 0.3).sum()]
        counts[key.split("/")[0]] += numbers
        counts["all"] += numbers
    print(f"at most {config.per_photo} a photo, score of at least {config.min_score:g}, {len(photos)} photos")
    print("source      labels  found(0.5)  found(0.3)  proposals  a photo  on a label")
    number_of = defaultdict(int, {"all": len(photos)})
    for key in photos:
        number_of[key.split("/")[0]] += 1
    for source, (labels, half, third, kept, on) in sorted(counts.items()):
        rate = [f"{100 * n / labels:5.1f} %" if labels else "      -" for n in (half, third)]
        print(
            f"{source:10s} {labels:7d}     {rate[0]}     {rate[1]} {kept:10d} {kept / number_of[source]:8.1f}"
            f"     {100 * on / max(kept, 1):5.1f} %"
        )
    return chosen


def is_small(box, width, height, config):
    x1, y1, x2, y2 = box
    share = (x2 - x1) * (y2 - y1) / (width * height)
    whole = min(x1, y1) >= config.edge and x2 <= width - config.edge and y2 <= height - config.edge
    return whole and max(x2 - x1, y2 - y1) >= 12 and config.min_share <= share <= config.max_share


def draw(chosen, photos, sheet, count=100, columns=10, side=200):
    order = np.random.default_rng(0).permutation(len(chosen))[:count]
    page = Image.new("RGB", (columns * side, -(-len(order) // columns) * side), "white")
    for place, number in enumerate(sorted(order.tolist())):
        key, candidate = chosen[number]
        image = open_image(photos[key][0])
        window = surroundings_xyxy(candidate.xyxy, (image.shape[1], image.shape[0]), 4.0)
        tile = draw_box(image, candidate.xyxy, window, (side - 4, side - 4), line=2)
        page.paste(tile, (place % columns * side, place // columns * side))
        print(place, key, candidate.category, f"{candidate.worth:.2f}", *candidate.attributes)
    page.save(sheet, quality=85)


if __name__ == "__main__":
    main()
