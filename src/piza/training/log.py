"""The log of a training: a table that a spreadsheet reads, and its picture. A full disk delays it, and nothing is lost."""

import csv
import os
from pathlib import Path
from typing import Any

from piza.errors import InputError
from piza.files import atomic_write

Line = dict[str, Any]


def read_lines(path: str | Path) -> list[dict[str, str]]:
    """The lines of a log, numbers as text; none where there is no file."""
    if not Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Log:
    """Appends lines to a CSV file. `keep_to` cuts what was written after this step, by a run that went on without a
    checkpoint."""

    def __init__(self, path: str | Path, keep_to: int | None = None):
        self.path = Path(path)
        self.waiting: list[Line] = []  # lines that could not be written yet
        before = read_lines(self.path)
        self.columns = list(before[0]) if before else []
        if keep_to is not None and any(_step(line) > keep_to for line in before):
            self._rewrite([line for line in before if _step(line) <= keep_to], self.columns)

    def add(self, line: Line) -> None:
        """Write a line, and those that are waiting; where they cannot be written they wait for the next call."""
        self.waiting.append(line)
        columns = list(dict.fromkeys([*self.columns, *(name for some in self.waiting for name in some)]))
        try:
            if (
                columns != self.columns
            ):  # the first line, or one with a column that the file does not have yet
                self._rewrite(read_lines(self.path), columns)
                self.columns = columns
            size = self.path.stat().st_size
            try:
                with open(self.path, "a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, self.columns, restval="").writerows(self.waiting)
            except OSError:
                os.truncate(self.path, size)  # no half lines
                raise
            self.waiting = []
        except (OSError, InputError):
            pass

    def _rewrite(self, lines: list[dict[str, str]], columns: list[str]) -> None:
        with atomic_write(self.path) as part, open(part, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(lines)


def _step(line: dict[str, str]) -> int:
    try:
        return int(line.get("step") or 0)
    except ValueError:
        return 0


PACE = ("step", "lr", "norm", "s_per_step", "s_left")


def plot_log(log: str | Path, out: str | Path, checks: str | Path | None = None) -> None:
    """Draw the losses of a log over its steps, and beside them the accuracies of `checks` (a log as well), as a PNG.

    Raises ImportError without matplotlib, InputError when `out` cannot be written.
    """
    from matplotlib.figure import Figure  # no window system, no global state
    from matplotlib.ticker import MaxNLocator

    lines = read_lines(log)
    found = read_lines(checks) if checks is not None else []
    figure = Figure(figsize=(11 if found else 7, 3.6), layout="constrained")
    axes = figure.subplots(1, 2 if found else 1, squeeze=False)[0]
    steps = [_step(line) for line in lines]
    for name in lines[0] if lines else ():
        if name not in PACE:
            values = [float(line[name] or "nan") for line in lines]
            bold = name == "loss"
            axes[0].plot(
                steps,
                values,
                label=name.replace("_", " "),
                linewidth=2.2 if bold else 1,
                color="black" if bold else None,
                marker="." if len(steps) < 40 else None,
            )
    axes[0].set(xlabel="step", ylabel="loss", yscale="log" if lines else "linear")
    if found:
        for name, label in (("acc50", "Acc50"), ("acc75", "Acc75"), ("macc", "mAcc")):
            values = [float(line[name]) for line in found]
            axes[1].plot([_step(line) for line in found], values, marker="o", markersize=4, label=label)
        axes[1].set(xlabel="step", ylabel="% of validation rows", ylim=(0, None))
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.lines:
            axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    with atomic_write(out) as part:
        figure.savefig(part, dpi=130)
