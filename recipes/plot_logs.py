"""Draws the losses of every stage found in a work folder: python recipes/plot_logs.py runs/mini docs/mini_training.png"""

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LOSSES = (
    "class", "which", "name", "box", "dense_which", "dense_name", "dense_box", "object", "attributes", "relevant", "irrelevant",
)  # fmt: skip
STAGES = ("close", "ground", "zoom", "whole", "adapters", "match", "list", "both")


def main(work: Path, out: Path) -> None:
    """Draw one panel a stage."""
    stages = [stage for stage in STAGES if (work / stage / "log.csv").exists()]
    figure, axes = plt.subplots(
        1, len(stages), figsize=(3.4 * len(stages), 3.6), squeeze=False, layout="constrained"
    )
    for axis, stage in zip(axes[0], stages, strict=True):
        with open(work / stage / "log.csv") as file:
            rows = list(csv.DictReader(file))
        steps = [int(row["step"]) for row in rows]
        for name in LOSSES:
            if name in rows[0]:
                values = [float(row[name] or "nan") for row in rows]
                axis.plot(steps, values, label=name.replace("_", " "), linewidth=1)
        axis.set(title=stage, xlabel="step", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    axes[0][0].set_ylabel("loss")
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
