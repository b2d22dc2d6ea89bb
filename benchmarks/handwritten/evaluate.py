"""How often a model finds what hand-written sentences about real photos mean, by kind of target and by source of the photo.

python benchmarks/handwritten/evaluate.py --data DATA [--model mini] [--reworded] [--out results.json]

--reworded asks for the same things in other words, which reworded.json holds.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import piza
from piza.data.sorec import read_rows
from piza.evaluation.metrics import accuracy, mean_accuracy
from piza.evaluation.outcome import Outcome
from piza.evaluation.run import evaluate

HERE = Path(__file__).parent


def line(name: str, outcomes: Sequence[Outcome]) -> str:
    """One row of the table: how many, Acc50, Acc75, mAcc and mean looks."""
    ious = [outcome.iou for outcome in outcomes]
    looks = sum(outcome.num_looks for outcome in outcomes) / len(outcomes)
    return (
        f"{name:<22}{len(ious):>5}{accuracy(ious, 0.5):>7.1f}{accuracy(ious, 0.75):>7.1f}"
        f"{mean_accuracy(ious):>7.1f}{looks:>6.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of the photos")
    parser.add_argument("--model", default="mini", help="a model's name or folder")
    parser.add_argument("--reworded", action="store_true", help="ask in other words")
    parser.add_argument("--out", type=Path, help="write every answer there as JSON lines")
    args = parser.parse_args()
    kinds = json.loads((HERE / "kinds.json").read_text())
    rows = read_rows(HERE / "rows.json")
    if args.reworded:
        others = json.loads((HERE / "reworded.json").read_text(encoding="utf-8"))
        rows = [replace(row, expression=others[str(row.id)]) for row in rows]
    found = evaluate(piza.load(args.model), rows, args.data)
    print(f"{'':<22} rows  Acc50  Acc75   mAcc looks")
    print(line("all", found.outcomes))
    for kind in sorted(set(kinds.values())):
        print(line(kind, [one for one in found.outcomes if kinds[str(one.row.id)] == kind]))
    sources = [one.row.image.removeprefix("streets/").split("/")[0] for one in found.outcomes]
    for source in sorted(set(sources)):
        print(line(source, [one for one, of in zip(found.outcomes, sources, strict=True) if of == source]))
    print(f"95 % intervals by photo: {found.to_dict()['intervals']}; {found.mean_ms:.0f} ms a sentence")
    if args.out is not None:
        args.out.write_text("".join(json.dumps(one.to_dict()) + "\n" for one in found.outcomes))


if __name__ == "__main__":
    main()
