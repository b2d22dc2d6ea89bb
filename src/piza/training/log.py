"""The log of a training: a table that a spreadsheet reads, and its plot. A full disk delays it, and nothing is lost."""

import csv
import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from piza.errors import InputError
from piza.files import atomic_write

Line = dict[str, str]
MAX_DIGITS = 18  # of the number of a step
PACE = ("step", "lr", "norm", "s_per_step", "s_left")  # columns that are no losses


class LogTable(NamedTuple):
    """A log as it was read. `dropped`: how many lines could not be used, the header being one."""

    columns: list[str]
    lines: list[Line]
    dropped: int


def read_log(path: str | Path) -> LogTable:
    """Read a log; a missing file is an empty one. Lines that are damaged are left out and counted: a usable line has a whole
    number as its step and a number or nothing in every column."""
    path = Path(path)
    if not path.exists():
        return LogTable([], [], 0)
    text = path.read_bytes().decode("utf-8", errors="replace").replace("\0", "\ufffd")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error:
        rows = [line.split(",") for line in text.splitlines() if line]
    if rows and not text.endswith("\n"):
        rows[-1] = []  # half a line, to which the next one would be appended
    columns = rows[0] if rows else []
    if "step" not in columns or not all(_is_name(name) for name in columns) or _repeats(columns):
        return LogTable([], [], len(rows))
    lines = [
        dict(zip(columns, row, strict=True))
        for row in rows[1:]
        if len(row) == len(columns) and all(_is_number(value) for value in row)
    ]
    lines = [line for line in lines if line["step"].isdecimal() and len(line["step"]) <= MAX_DIGITS]
    return LogTable(columns, lines, len(rows) - 1 - len(lines))


def _is_name(text: str) -> bool:
    return text.isidentifier() and text.isascii()


def _repeats(names: list[str]) -> bool:
    return len(set(names)) < len(names)


def _is_number(text: str) -> bool:
    if not text:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii()


class TrainingLog:
    """Appends lines to a CSV file.

    `keep_to`: lines after this step are removed; a run that goes on from an earlier checkpoint writes them again. Lines that
    are damaged are left out, the old file is kept beside the new one, and `report` is told.
    """

    def __init__(
        self,
        path: str | Path,
        keep_to: int | None = None,
        report: Callable[[str], None] = lambda text: None,
    ):
        self.path = Path(path)
        self.waiting: list[dict[str, Any]] = []  # lines that could not be written yet
        self.columns, lines, dropped = read_log(self.path)
        kept = [line for line in lines if keep_to is None or int(line["step"]) <= keep_to]
        if dropped:
            damaged = self.path.with_name(f"{self.path.stem}.damaged{self.path.suffix}")
            os.replace(self.path, damaged)
            report(
                f"{str(self.path)!r} is damaged: {dropped} of its lines cannot be read and are left out; the old file is kept as "
                f"{damaged.name!r}"
            )
        if self.columns and (dropped or len(kept) < len(lines)):
            self._rewrite(kept, self.columns)

    def steps(self) -> set[int]:
        """The steps that have a line."""
        return {int(line["step"]) for line in read_log(self.path).lines}

    def add(self, line: dict[str, Any]) -> None:
        """Write a line, and those that are waiting; where they cannot be written they wait for the next call."""
        self.waiting.append(line)
        columns = list(dict.fromkeys([*self.columns, *(name for some in self.waiting for name in some)]))
        try:
            if columns != self.columns:  # the first line, or one with a new column
                self._rewrite(read_log(self.path).lines, columns)
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

    def _rewrite(self, lines: list[Line], columns: list[str]) -> None:
        with atomic_write(self.path) as part, open(part, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(lines)


def plot_log(log: str | Path, out: str | Path, checks: str | Path | None = None) -> None:
    """Draw the losses of a log over its steps, and beside them the accuracies of `checks` (a log as well), as a PNG.

    Raises ImportError without matplotlib, InputError when `out` cannot be written.
    """
    from matplotlib.figure import Figure  # no window system, no global state
    from matplotlib.ticker import MaxNLocator

    table = read_log(log)
    found = read_log(checks).lines if checks is not None else []
    figure = Figure(figsize=(11 if found else 7, 3.6), layout="constrained")
    axes = figure.subplots(1, 2 if found else 1, squeeze=False)[0]
    steps = [int(line["step"]) for line in table.lines]
    for name in table.columns:
        if name in PACE or not table.lines:
            continue
        bold = name == "loss"
        axes[0].plot(
            steps,
            [_value(line, name) for line in table.lines],
            label=name.replace("_", " "),
            linewidth=2.2 if bold else 1,
            color="black" if bold else None,
            marker="." if len(steps) < 40 else None,
        )
    axes[0].set(xlabel="step", ylabel="loss", yscale="log" if table.lines else "linear")
    if found:
        for name, label in (("acc50", "Acc50"), ("acc75", "Acc75"), ("macc", "mAcc")):
            values = [_value(line, name) for line in found]
            axes[1].plot([int(line["step"]) for line in found], values, marker="o", markersize=4, label=label)
        axes[1].set(xlabel="step", ylabel="% of validation rows", ylim=(0, None))
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.lines:
            axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    with atomic_write(out) as part:
        figure.savefig(part, dpi=130)


def _value(line: Line, name: str) -> float:
    return float(line.get(name) or math.nan)
