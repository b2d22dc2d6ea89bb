"""Plots of what a file of rows holds. Needs matplotlib, which comes with the extra `train`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.data.stats import Measures, short
from piza.errors import InputError
from piza.files import atomic_write

BLUE, ORANGE = "#0072B2", "#D55E00"


def check_plots(folder: str | Path) -> None:
    """Raise InputError when `write_plots` could not work: matplotlib is missing, or `folder` is a file."""
    _figure_class()
    if Path(folder).exists() and not Path(folder).is_dir():
        raise InputError(f"cannot write plots to {str(folder)!r}: expected a folder, got a file")


def write_plots(measures: Measures, folder: str | Path) -> list[Path]:
    """Write area.png, words.png, expressions.png and positions.png to `folder`, made if need be; their paths.

    Raises InputError when there are no rows, matplotlib is missing, or the folder cannot be written to.
    """
    check_plots(folder)
    if not len(measures.words):
        raise InputError("there are no rows to plot")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from None
    drawings = {"area": _area, "words": _words, "expressions": _expressions, "positions": _positions}
    paths = []
    for name, draw in drawings.items():
        figure = _figure_class()(figsize=(7, 4.2), layout="constrained")
        draw(figure, measures)
        paths.append(Path(folder) / f"{name}.png")
        with atomic_write(paths[-1]) as temporary:
            figure.savefig(temporary, dpi=120)
    return paths


def _figure_class() -> Any:
    """Matplotlib's Figure by itself: no window system, no global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("plots need matplotlib, install it with: pip install 'piza[train]'") from None
    return Figure


def _area(figure: Any, measures: Measures) -> None:
    """On a logarithmic axis: the smallest boxes are a hundred times smaller than the largest."""
    known = measures.share is not None
    values = 100 * measures.share if measures.share is not None else measures.areas
    low, high = values.min(), values.max()
    bins = np.geomspace(low * 0.9, high * 1.1, 50)
    name = "area of the box, % of the frame" if known else "area of the box, square pixels"
    axes = _histogram(figure, values, bins, name, "rows")
    axes.set_xscale("log")
    ticks = [
        v for v in (d * 10.0**e for e in range(-9, 10) for d in (1, 1.5, 2, 3, 5, 7)) if low <= v <= high
    ]
    if 2 <= len(ticks) <= 12:  # a narrow range has too few powers of ten to name
        axes.set_xticks(ticks, [short(tick) for tick in ticks])
        axes.minorticks_off()


def _words(figure: Any, measures: Measures) -> None:
    bins = np.arange(measures.words.min(), measures.words.max() + 2) - 0.5
    _histogram(figure, measures.words, bins, "words in a sentence", "rows")


def _expressions(figure: Any, measures: Measures) -> None:
    bins = np.arange(1, measures.expressions.max() + 2) - 0.5
    axes = _histogram(figure, measures.expressions, bins, "expressions about an image", "images")
    axes.set_yscale("log")  # a few images with very many would not be seen otherwise
    axes.set_ylim(bottom=0.7)
    axes.yaxis.set_major_formatter(lambda value, _: short(value))


def _positions(figure: Any, measures: Measures) -> None:
    axes = figure.subplots()
    known = measures.share is not None
    x, y = measures.centers.T
    extent = [[0, 1], [0, 1]] if known else [[0, max(x.max(), 1)], [0, max(y.max(), 1)]]
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=(48, 27), range=extent)
    mesh = axes.pcolormesh(x_edges, y_edges, np.sqrt(counts.T), cmap="cividis")
    axes.invert_yaxis()  # as in an image: y grows downwards
    bar = figure.colorbar(mesh, ax=axes)
    max_count = max(int(counts.max()), 1)
    ticks = sorted({0, 1, *(round(max_count * part) for part in (0.1, 0.4, 1))})
    bar.set_ticks([tick**0.5 for tick in ticks], labels=[str(tick) for tick in ticks])
    bar.set_label("centers of boxes")
    unit = "share of the frame" if known else "pixels"
    axes.set(xlabel=f"x, {unit}", ylabel=f"y, {unit}")


def _histogram(figure: Any, values: NDArray[Any], bins: NDArray[Any], x_label: str, y_label: str) -> Any:
    axes = figure.subplots()
    axes.hist(values, bins=bins, color=BLUE)
    for number, line, name in ((values.mean(), "-", "mean"), (np.median(values), "--", "median")):
        axes.axvline(number, color=ORANGE, linestyle=line, label=f"{name} {short(number)}")
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return axes
