"""The plots of the study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from study_table import BASE, FORMS, METHODS, SEARCHES, SETS, Line, Row

from piza.files import atomic_write

PLAIN, GREEDY, BEST, INK = "#9a9a9a", "#56b4e9", "#d55e00", "#16324a"  # of Okabe and Ito
MARKS = {"coop": "^", "lora": "s", "adapter_plus": "o", "full": "D", "base": "x"}


def plot_macc(lines: dict[tuple[Row, str], Line], out: str | Path) -> None:
    """Bars: each method plain, zooming greedily and zooming best first; the thin lines are 95 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    ways = [("plain", "frame", PLAIN), ("piza", "greedy", GREEDY), ("piza", "best", BEST)]
    for axis, part in zip(figure.subplots(1, 2, sharey=True), SETS, strict=True):
        for number, (form, search, color) in enumerate(ways):
            some = [
                (place, line)
                for place, method in enumerate(METHODS)
                if (line := lines.get((Row(method, form, search), part)))
            ]
            heights = [line.macc for _, line in some]
            axis.bar(
                [place + 0.27 * (number - 1) for place, _ in some],
                heights,
                width=0.25,
                color=color,
                yerr=_errors([line for _, line in some]),
                error_kw={"linewidth": 1, "ecolor": INK},
                label=f"{FORMS[form]}, {SEARCHES[search]}",
            )
        base = lines.get((BASE[0], part))
        if base:
            axis.axhline(base.macc, color=INK, linestyle=":", linewidth=1.2, label="zero-shot, one look")
        axis.set_xticks(range(len(METHODS)), [name.replace(" ", "\n") for name in METHODS.values()])
        axis.set(title=part, xlim=(-0.6, len(METHODS) - 0.4))
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        if part == "scenes":
            axis.set_ylabel("mAcc, %")
            figure.legend(
                *axis.get_legend_handles_labels(),
                loc="outside lower center",
                ncols=4,
                fontsize=8,
                frameon=False,
            )
    with atomic_write(out) as file:
        figure.savefig(file, dpi=130)


def _errors(lines: Sequence[Line]) -> Any:
    """(2, n): how far intervals reach below and above; none where one of the lines has no interval."""
    if not lines or any(line.ranges is None for line in lines):
        return None
    ends = [(line.macc - line.ranges["macc"][0], line.ranges["macc"][1] - line.macc) for line in lines]  # type: ignore[index]
    return np.array(ends).T


def plot_looks(lines: dict[tuple[Row, str], Line], out: str | Path) -> None:
    """mAcc over looks a sentence, on a logarithmic axis; up and to the left is better."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    colors = {
        "frame": PLAIN,
        "greedy": GREEDY,
        "best": BEST,
        "quarter": "#f0e442",
        "tiles": "#009e73",
        "sliding": "#cc79a7",
        "oracle": "#e69f00",
    }
    top = 1.05 * max(line.ranges["macc"][1] if line.ranges else line.macc for line in lines.values()) or 1.0
    for axis, part in zip(figure.subplots(1, 2, sharey=True), SETS, strict=True):
        for (row, where), line in lines.items():
            if where == part:
                style = {"marker": MARKS[row.method], "color": colors[row.search], "markersize": 7}
                beside = 1.05 ** (
                    list(MARKS).index(row.method) - 2
                )  # so that points of equal looks are seen apart
                axis.errorbar(
                    [line.num_looks * beside],
                    [line.macc],
                    yerr=_errors([line]),
                    **style,
                    linestyle="",
                    elinewidth=0.8,
                )
        axis.set(title=part, xscale="log", xlabel="looks a sentence", xlim=(0.8, 300))
        axis.set_xticks([1, 2, 5, 10, 20, 50, 100, 200], ["1", "2", "5", "10", "20", "50", "100", "200"])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_ylim(0, top)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if part == "scenes":
            axis.set_ylabel("mAcc, %")
    used = {row.search for row, _ in lines}
    marks = {row.method for row, _ in lines}
    key = [
        Line2D([], [], marker="o", linestyle="", color=colors[s], label=name)
        for s, name in SEARCHES.items()
        if s in used
    ] + [
        Line2D([], [], marker=mark, linestyle="", color=INK, label=METHODS.get(method, "base"))
        for method, mark in MARKS.items()
        if method in marks
    ]
    figure.legend(handles=key, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    with atomic_write(out) as file:
        figure.savefig(file, dpi=130)
