"""How often boxes in another format are noticed, and how often right ones are doubted, on boxes about real photos.

    python benchmarks/reliability/box_formats.py ROWS.json DIR [LABELS.jsonl DIR ...]

Takes rows in SOREC's format or boxes in JSON lines (`piza data sentences`), each with its folder of photos. Draws files of
some rows from them, writes their boxes as corners, in percent and in thousandths, and counts what is refused, doubted or taken
without a word. The boxes as they are count as right.
"""

import argparse
import random
from collections import Counter, defaultdict
from typing import Any

from piza.data.box_formats import BoxFormat, doubt_of, require_plausible
from piza.data.labels import read_labels
from piza.data.sizes import Sizes, read_sizes
from piza.data.sorec import read_values
from piza.errors import InputError

DRAWS = 500


def boxes_of(path: str, images: str) -> tuple[list[dict[str, Any]], Sizes]:
    if path.endswith(".json"):
        rows = read_values(path)
        sizes = read_sizes([row["image"] for row in rows], images)[0]
        return [row for row in rows if row["image"] in sizes], sizes
    photos = read_labels(path, images)
    found = [(photo.image, box.xyxy) for photo in photos for box in photo.boxes]
    rows = [{"image": name, "bbox": [a, b, c - a, d - b]} for name, (a, b, c, d) in found]
    sizes = {photo.image: (photo.width, photo.height) for photo in photos}
    return [row for row in rows if min(row["bbox"][2:]) >= 1], sizes


def written(row: dict[str, Any], size: tuple[int, int], kind: str) -> dict[str, Any]:
    x, y, w, h = row["bbox"]
    if kind == "corners":
        return {**row, "bbox": [x, y, x + w, y + h]}
    scale = {"right": None, "percent": 100, "thousandths": 1000}[kind]
    if scale is None:
        return row
    return {**row, "bbox": [scale * value / side for value, side in zip((x, y, w, h), size * 2)]}


def outcome(rows: list[dict[str, Any]], sizes: Sizes) -> str:
    try:
        require_plausible(rows, sizes, "rows", BoxFormat())
    except InputError:
        return "refused"
    return "doubted" if doubt_of(rows, sizes, "rows", BoxFormat()) else "taken"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("given", nargs="+", metavar="FILE DIR")
    given = parser.parse_args().given
    rng = random.Random(0)
    for path, images in zip(given[::2], given[1::2]):
        rows, sizes = boxes_of(path, images)
        by_photo = defaultdict(list)
        for row in rows:
            by_photo[row["image"]].append(row)
        doubted = Counter(outcome(own, sizes) for own in by_photo.values())["doubted"]
        print(
            f"{path}: {len(rows)} boxes; all boxes of one photo are doubted in {doubted} of {len(by_photo)}"
        )
        for count in (1, 2, 3, 5, 10, 100):
            said = []
            for kind in ("right", "corners", "percent", "thousandths"):
                draws = [rng.sample(rows, min(count, len(rows))) for _ in range(DRAWS)]
                seen = Counter(
                    outcome([written(row, sizes[row["image"]], kind) for row in draw], sizes)
                    for draw in draws
                )
                said.append(f"{kind} {dict(seen)}")
            print(f"  {count} rows: {'; '.join(said)}")


if __name__ == "__main__":
    main()
