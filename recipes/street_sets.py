"""The sets of rows that `mini` is calibrated, chosen and tested on beside the hand-written ones.

    python recipes/street_sets.py --data DATA --work WORK --out SETS

DATA has streets/ and signs/; WORK is that of `recipes/train_streets.sh` (teacher.jsonl and splits.json; missing rows are written
there). SETS/*.json are rows whose images lie under DATA:

    generated_test    sentences that were generated about photos to test on
    signs_test        sentences about traffic signs, photos to test on
    written, written_2, written_3 and the same with _reworded: recipes/written_streets_val*.jsonl, photos to choose on
    calibration, calibration_absent: what the evidence is fitted on, with `recipes/calibrate.py SETS/calibration.json DATA --absent
                      SETS/calibration_absent.json --more DRAWN_ROWS DRAWN_IMAGES FOLDER --write`
    absent, near_misses: sentences about things that are not in the photos to choose on, generated and written

Everything is drawn by --seed.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from piza.data.sorec import read_rows
from piza.files import atomic_write

HERE = Path(__file__).parent
WRITTEN = {"written": "", "written_2": "_2", "written_3": "_3"}
TESTED = 300  # rows of a test set
GENERATED, OF_LISTED, OF_HAND_DRAWN, DRAWN_ABSENT = 230, 330, 160, 210


def image_of(key: str) -> str:
    """The path under DATA of the photo with this key."""
    source, name = key.split("/")
    return f"signs/images/{name}" if source == "signs" else f"streets/{source}/images/{name}"


def some(rows: list[Any], count: int, rng: np.random.Generator) -> list[Any]:
    """As many of them, in their order."""
    return [rows[i] for i in sorted(rng.permutation(len(rows))[:count])]


def as_row(told: dict[str, Any]) -> dict[str, Any]:
    """A row of {"key", "xyxy", "sentence"}."""
    left, top, right, bottom = told["xyxy"]
    box = [left, top, right - left, bottom - top]
    return {"image": image_of(told["key"]), "bbox": [round(v, 1) for v in box], "ref": told["sentence"]}


def generated(args: argparse.Namespace, split: str) -> dict[str, Any]:
    """What `streets.rows` writes about the photos of a split."""
    path = args.work / f"{split}.json"
    if not path.exists():
        command = [sys.executable, "-m", "piza.training.from_scratch.streets.rows", "--split", split]
        command += ["--streets", args.data / "streets", "--signs", args.data / "signs", "--out", path]
        command += ["--maybe", args.work / "teacher.jsonl", "--splits", args.work / "splits.json"]
        subprocess.run(list(map(str, command)), check=True)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def absent_of(told: dict[str, Any], count: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Sentences about other photos, of categories that the photo does not show."""
    shown = {photo["key"]: {o["category"] for o in photo["objects"]} for photo in told["photos"]}
    objects = {photo["key"]: photo["objects"] for photo in told["photos"]}
    keys = sorted(key for key, categories in shown.items() if categories)
    found = []
    while len(found) < count:
        row = told["rows"][int(rng.integers(len(told["rows"])))]
        key = keys[int(rng.integers(len(keys)))]
        if objects[row["key"]][row["index"]]["category"] not in shown[key]:
            found.append({"image": image_of(key), "ref": row["sentence"]})
    return found


def sets_of(args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """The sets by name."""
    rng = np.random.default_rng(args.seed)
    val, test = generated(args, "val"), generated(args, "test")
    tested = set(json.loads((args.work / "splits.json").read_text())["test"])
    signs = [
        {"key": f"signs/{row.image}", "xyxy": row.box_xyxy, "sentence": row.expression}
        for row in read_rows(args.data / "signs/train.json")
        if f"signs/{row.image}" in tested
    ]
    sets = {
        "generated_test": list(map(as_row, some(test["rows"], TESTED, rng))),
        "signs_test": list(map(as_row, some(signs, TESTED, rng))),
    }
    misses = []
    for name, suffix in WRITTEN.items():
        lines = (HERE / f"written_streets_val{suffix}.jsonl").read_text(encoding="utf-8").splitlines()
        told = list(map(json.loads, lines))
        misses += [
            {"image": image_of(one["key"]), "ref": one["sentence"]} for one in told if one["xyxy"] is None
        ]
        told = [one for one in told if one["xyxy"] is not None]
        sets[name] = list(map(as_row, told))
        others = [one | {"sentence": other} for one in told for other in one["reworded"][:1]]
        sets[f"{name}_reworded"] = list(map(as_row, others))
    sets["calibration"] = [
        *some(list(map(as_row, val["rows"])), GENERATED, rng),
        *some(sets["written"] + sets["written_2"], OF_LISTED, rng),
        *some(sets["written_3"], OF_HAND_DRAWN, rng),
    ]
    sets["absent"], sets["near_misses"] = absent_of(val, DRAWN_ABSENT, rng), misses
    sets["calibration_absent"] = [*some(sets["absent"], 140, rng), *some(misses, 140, rng)]
    return sets


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with streets/ and signs/")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, rows in sets_of(args).items():
        numbered = [row | {"id": number} for number, row in enumerate(rows)]
        with atomic_write(args.out / f"{name}.json") as part:
            part.write_text(json.dumps(numbered, ensure_ascii=False))
        print(f"{name}: {len(rows)} rows about {len({row['image'] for row in rows})} photos")


if __name__ == "__main__":
    main()
