"""Makes a model's scores probabilities: fits the evidence of its search on rows that are neither trained nor tested on.

    python recipes/calibrate.py MODEL_FOLDER ROWS.json IMAGES [--absent FILE] [--more ROWS.json IMAGES] [--limit N] [--write]

Prints how well a last look's score tells right from wrong (AUROC) and how far the answers' probabilities are from their
accuracy (expected calibration error), before and after, on every second picture, the evidence being fitted on the others;
then fits it on all of them. With --write, puts it into the folder's piza.json, unless a higher score came out as worth less.
"""

import argparse
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import torch

import piza
from piza.boxes import iou_xyxy
from piza.config import Evidence
from piza.data.sorec import Row, read_rows
from piza.evaluation.calibration import choice_of, fit, recorders
from piza.evaluation.metrics import auroc, calibration_error
from piza.files import atomic_write
from piza.model.piza import Piza
from piza.search.hypothesis import SearchOutcome


def report(model: Piza, name: str, evidence: Evidence, data: list[tuple], budget: int) -> dict[str, float]:
    """data: recorders whose looks were taken already."""
    config = replace(model.config.search, evidence=evidence, budget=budget, accept_threshold=1.0)
    asked = [(recorder.search(config), recorder.row) for recorder in data]
    found = [(f, row) for f, row in asked if not math.isnan(row.box_xyxy[0])]
    right = [bool(iou_xyxy(f.answer.boxes[-1], row.box_xyxy) >= 0.5) for f, row in found]
    ends = [(path, row) for f, row in found for path in (f.answer, *f.rejected) if len(path.log_odds) > 1]
    figures = {
        "rows": len(found),
        "acc50": 100 * sum(right) / len(found),
        "looks": sum(len(f.looked) for f, _ in found) / len(found),
        "auroc_last_look": auroc(
            [path.log_odds[-1] for path, _ in ends],
            [bool(iou_xyxy(path.boxes[-1], row.box_xyxy) >= 0.5) for path, row in ends],
        ),
        "auroc_answer": auroc([f.answer.probability for f, _ in found], right),
        "calibration_error": calibration_error([f.answer.probability for f, _ in found], right),
    }
    if len(found) < len(asked):
        there = [not math.isnan(row.box_xyxy[0]) for _, row in asked]
        figures["auroc_there"] = auroc([f.answer.probability for f, _ in asked], there)
    print(name, json.dumps({k: round(v, 3) for k, v in figures.items()}), flush=True)
    return figures


def nothing(file: Path, images: set[str]) -> list[Row]:
    """Sentences of nothing as rows whose box nothing overlaps, so that "none of them" is right."""
    nowhere = (math.nan, math.nan, math.nan, math.nan)
    said = json.loads(file.read_text())
    return [Row(one["image"], nowhere, one["ref"], n) for n, one in enumerate(said) if one["image"] in images]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--more", nargs=2, type=Path, action="append", default=[], metavar=("ROWS", "IMAGES"))
    parser.add_argument(
        "--absent", type=Path, help="sentences of nothing in IMAGES (piza data scenes --absent), to fit with"
    )
    parser.add_argument("--limit", type=int, help="rows of each file")
    parser.add_argument("--windows", type=int, default=6, help="first windows followed to their end")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    model = piza.load(str(args.folder))
    wide = replace(
        model.config.search, budget=1 + args.windows, accept_threshold=1.0, top_k=10, evidence=Evidence()
    )
    halves: tuple[list, list] = ([], [])
    for data, images in [(args.data, args.images), *args.more]:
        rows: list[Row] = read_rows(data)[: args.limit]
        if args.absent and data is args.data:
            rows += nothing(args.absent, {row.image for row in rows})
        pictures = sorted({row.image for row in rows})
        for recorder in recorders(model, rows, images):
            recorder.search(wide)
            half = pictures.index(recorder.row.image) % 2
            if half == 0:  # the others are searched again, with evidence that may ask for other windows
                recorder.forget_image()
            halves[half].append(recorder)
    found: list[list[SearchOutcome]] = [[recorder.search(wide) for recorder in half] for half in halves]

    def choices(*parts: int) -> list:
        chosen = []
        for part in parts:
            for recorder, search in zip(halves[part], found[part], strict=True):
                whole = choice_of(search, recorder.row.box_xyxy)
                chosen += [whole, whole.after_first_look()]
        return chosen

    for budget in (2, 1 + args.windows):
        report(model, f"before, {budget} looks", Evidence(), halves[1], budget)
        report(model, f"after,  {budget} looks", fit(choices(0)), halves[1], budget)
    evidence = fit(choices(0, 1))
    print(evidence)
    if args.write and min(evidence.first, evidence.later) <= 0:
        print(
            "not written: by these rows a higher score would be worth less; more rows or a better model are wanted"
        )
    elif args.write:
        path = args.folder / "piza.json"
        config = json.loads(path.read_text())
        config["search"]["evidence"] = asdict(evidence)
        with atomic_write(path) as part:
            Path(part).write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
