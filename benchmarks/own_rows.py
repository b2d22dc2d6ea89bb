"""What rows that were made here are worth: a model trained on them against one trained on given rows of the same images.

    python benchmarks/own_rows.py OUT [--scenes 40 --held-out 16 --steps 60]

Streets at night (`recipes/make_night_scenes.py`), which the embedded model was not trained on. The given rows are those that
the drawings come with. The others are made of the images alone: `piza data propose`, `describe` by the generator and
`machine-check`; accepted is what the machines do not doubt, as no person is at hand. Both models are trained from `mini` with
the same steps; they and `mini` itself are evaluated on the given rows of other images. A run that was stopped goes on.
"""

import argparse
import contextlib
import io
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from recipes.make_night_scenes import darken

from piza.boxes import iou_xyxy, xywh_to_xyxy
from piza.cli.main import main as cli
from piza.data import scenes
from piza.data.sorec import read_values
from piza.dataset.records import Checked, Decision, RecordWriter, read_records

SEEDS = {"train": 920, "held_out": 921}
TRAINING = (
    "--batch 8 --sentences-per-image 20 --min-scale 1 --schedule cosine --workers 1 --save-every 1000"
).split()


def piza(*words):
    """`piza ...` as a user types it; what it printed. Its time is shown."""
    started, said = time.perf_counter(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = cli([str(word) for word in words])
    print(f"# piza {' '.join(map(str, words[:3]))}: {time.perf_counter() - started:.0f} s", flush=True)
    if code:
        raise SystemExit(f"piza {' '.join(map(str, words))} ended with {code}")
    return said.getvalue()


def make_rows(folder):
    """Rows about the images of a folder, from nothing but these; returns their file."""
    images, rows = folder / "images", folder / "made.json"
    proposals, described, checked, log = (folder / f"{name}.jsonl" for name in ("p", "d", "c", "log"))
    if not rows.exists():
        piza("data", "propose", images, "--out", proposals, "--tiles", 1)
        piza("data", "describe", proposals, "--images", images, "--out", described, "--tiles", 1)
        piza("data", "machine-check", described, "--images", images, "--out", checked)
        log.unlink(missing_ok=True)
        with RecordWriter(log, Decision) as writer:
            for record in read_records(checked, Checked):
                for place, one in enumerate(record.sentences):
                    choice = "reject" if one.findings else "accept"
                    writer.write(
                        Decision(
                            record.id,
                            place,
                            choice,
                            one.text,
                            record.bbox,
                            "undoubted",
                            "2026-11-29T00:00:00+00:00",
                        )
                    )
        piza("data", "verify", "rows", checked, "--decisions", log, "--reviewers", 1, "--out", rows)
    records = read_records(checked, Checked)
    sentences = [one for record in records for one in record.sentences]
    print(
        f"{len(records)} proposals, {len(sentences)} sentences, {sum(not one.findings for one in sentences)} not doubted"
    )
    return rows


def compare(made, given):
    """How many of the made rows' boxes are those of things that the given rows are about, too; drawn scenes name a few only."""
    known = {}
    for row in given:
        known.setdefault(row["image"], []).append(xywh_to_xyxy(row["bbox"]))
    hits = sum(
        any(iou_xyxy(xywh_to_xyxy(row["bbox"]), box) >= 0.5 for box in known.get(row["image"], ()))
        for row in made
    )
    images = len({row["image"] for row in made})
    print(
        f"{len(made)} made rows about {images} images, {hits} of them about things that given rows are about; {len(given)} given"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--held-out", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rows-only", action="store_true", help="stop before training")
    given = parser.parse_args()
    out = given.out
    for part, count in (("train", given.scenes), ("held_out", given.held_out)):
        if not (out / part / "rows.json").exists():
            scenes.write(out / part, count=count, seed=SEEDS[part])
            darken(out / part / "images", np.random.default_rng(SEEDS[part]))
    files = {"given rows": out / "train" / "rows.json", "rows made here": make_rows(out / "train")}
    compare(*(read_values(files[name]) for name in ("rows made here", "given rows")))
    if given.rows_only:
        return
    models = {"mini as it is": "mini"}
    for name, rows in files.items():
        models[name] = out / f"model {name}"
        piza(
            "train", rows, "--images", out / "train" / "images", "--base", "mini", "--method", "full",
            "--out", models[name], "--steps", given.steps, *TRAINING,
        )  # fmt: skip
    for name, model in models.items():
        said = piza(
            "evaluate",
            out / "held_out" / "rows.json",
            "--images",
            out / "held_out" / "images",
            "--model",
            model,
            "--json",
        )
        print(name, json.dumps(json.loads(said)), flush=True)


if __name__ == "__main__":
    main()
