"""Accuracy against looks and milliseconds: greedy search, beams, best-first search, all with the same weights and looks.

    python recipes/search_curves.py MODEL_FOLDER ROWS.json IMAGES --out curves.json [--limit N] [--plot curves.png]

Every window is looked at once and every search is replayed on what was seen, so the comparison is exact; the
milliseconds are those of the looks a search asked for, two processes never running at once.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import piza
from piza.boxes import iou_xyxy
from piza.config import SearchConfig
from piza.data.sorec import read_rows
from piza.evaluation.calibration import recorders
from piza.evaluation.metrics import accuracy, mean_accuracy
from piza.files import atomic_write


def searches(own: SearchConfig) -> Iterator[tuple[str, float, SearchConfig]]:
    """(family, knob, settings)."""
    yield "greedy", 0, replace(own, top_k=1, budget=own.max_looks)
    for k in range(1, 7):
        yield "beam", k, replace(own, top_k=10, budget=1 + k, accept_threshold=1.0)
    for budget in (3, 4, 5, 7):
        for accept_threshold in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
            yield (
                f"best-first, {budget} looks",
                accept_threshold,
                replace(own, top_k=10, budget=budget, accept_threshold=accept_threshold),
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    model = piza.load(str(args.folder))
    settings = list(searches(model.config.search))
    sums: list[dict[str, list[float]]] = [{"iou": [], "looks": [], "ms": []} for _ in settings]
    among = dict.fromkeys(
        range(1, 7), 0
    )  # rows whose right answer is among those of the best k first windows
    rows = read_rows(args.data)[: args.limit]
    for recorder in recorders(model, rows, args.images):
        for (family, knob, config), total in zip(settings, sums, strict=True):
            found = recorder.search(config)
            total["iou"].append(float(iou_xyxy(found.answer.boxes[-1], recorder.row.box_xyxy)))
            total["looks"].append(len(found.looked))
            total["ms"].append(recorder.cost(found))
            if family == "beam":
                among[int(knob)] += any(
                    iou_xyxy(path.boxes[-1], recorder.row.box_xyxy) >= 0.5
                    for path in (found.answer, *found.rejected)
                )
    table = [
        {
            "search": family,
            "knob": knob,
            "acc50": round(accuracy(total["iou"], 0.5), 1),
            "acc75": round(accuracy(total["iou"], 0.75), 1),
            "macc": round(mean_accuracy(total["iou"]), 1),
            "looks": round(float(np.mean(total["looks"])), 2),
            "ms": round(float(np.mean(total["ms"])), 1),
        }
        for (family, knob, _), total in zip(settings, sums, strict=True)
    ]
    if not rows:
        raise SystemExit(f"{args.data} holds no rows")
    best = {k: round(100 * count / len(rows), 1) for k, count in among.items()}
    with atomic_write(args.out) as part:
        Path(part).write_text(
            json.dumps({"rows": len(rows), "right_among_k": best, "table": table}, indent=1) + "\n"
        )
    for line in table:
        print(line)
    print("right among the first k windows:", best)
    if args.plot:
        plot(table, args.plot)


def plot(table: list[dict], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
    families = list(dict.fromkeys(line["search"] for line in table))
    for axis, x, label in zip(
        axes, ("looks", "ms"), ("looks a sentence", "milliseconds a sentence"), strict=True
    ):
        for family in families:
            lines = sorted((line for line in table if line["search"] == family), key=lambda line: line[x])
            marker = "*" if family == "greedy" else "s" if family == "beam" else "."
            axis.plot(
                [line[x] for line in lines],
                [line["acc50"] for line in lines],
                marker=marker,
                markersize=11 if family == "greedy" else 5,
                label=family,
                linewidth=1,
            )
        axis.set(xlabel=label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("Acc50")
    axes[0].legend(fontsize=8)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
