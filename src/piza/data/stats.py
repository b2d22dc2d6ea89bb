"""Counting what a file of rows holds: rows, images, words, sizes and places of boxes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.data.sizes import Sizes
from piza.data.sorec import Row

PERCENTILES = (5, 25, 75, 95)


@dataclass(frozen=True)
class Measures:
    """One number a row, in the order of the rows, except `expressions` and `targets`.

    expressions: one number an image. words: parts of a sentence between white space. sizes_wh: (rows, 2) sides of the
    boxes in pixels. centers: (rows, 2) x and y, as a share of the frame, or in pixels where no frame sizes are known.
    share: area of the box over that of its frame, 0 to 1; None where no frame sizes are known. targets: different
    boxes, where several sentences may mean the same one.
    """

    expressions: NDArray[np.int64]
    words: NDArray[np.int64]
    sizes_wh: NDArray[np.float64]
    centers: NDArray[np.float64]
    share: NDArray[np.float64] | None
    targets: int

    @property
    def areas(self) -> NDArray[np.float64]:
        """(rows,) areas of the boxes in square pixels."""
        areas: NDArray[np.float64] = self.sizes_wh.prod(axis=1)
        return areas

    def to_dict(self) -> dict[str, Any]:
        """Plain values: counts, and mean, median, percentiles and ends of each measure."""
        known = self.share is not None
        result: dict[str, Any] = {
            "rows": len(self.words),
            "images": len(self.expressions),
            "targets": self.targets,
            "expressions_per_image": spread(self.expressions),
            "words_per_sentence": spread(self.words),
            "box_width_px": spread(self.sizes_wh[:, 0]),
            "box_height_px": spread(self.sizes_wh[:, 1]),
            "box_area_px": spread(self.areas),
            "box_area_percent": spread(100 * self.share) if self.share is not None else None,
            "center_unit": "share of the frame" if known else "pixels",
            "center_x": spread(self.centers[:, 0]),
            "center_y": spread(self.centers[:, 1]),
        }
        if known:
            counts = np.histogram2d(self.centers[:, 1], self.centers[:, 0], bins=3, range=[[0, 1], [0, 1]])[0]
            result["centers_percent_of_3x3"] = (100 * counts / max(counts.sum(), 1)).round(1).tolist()
        return result


def measure(rows: Sequence[Row], sizes: Sizes | None = None) -> Measures:
    """Measure rows. `sizes` gives (width, height) of every image they name; without it shares stay unknown."""
    boxes = np.array([row.box_xyxy for row in rows], np.float64).reshape(-1, 4)
    sizes_wh = boxes[:, 2:] - boxes[:, :2]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    share = None
    if sizes is not None:
        frames = np.array([sizes[row.image] for row in rows], np.float64).reshape(-1, 2)
        centers = centers / frames
        share = sizes_wh.prod(axis=1) / frames.prod(axis=1)
    return Measures(
        expressions=np.array(list(Counter(row.image for row in rows).values()), np.int64),
        words=np.array([len(row.expression.split()) for row in rows], np.int64),
        sizes_wh=sizes_wh,
        centers=centers,
        share=share,
        targets=len({(row.image, row.box_xyxy) for row in rows}),
    )


def spread(values: NDArray[Any]) -> dict[str, float] | None:
    """Mean, median, percentiles, minimum and maximum of (n,) values, to six digits; None of nothing."""
    if not len(values):
        return None
    numbers = {"mean": values.mean(), "median": np.median(values), "min": values.min()}
    numbers |= {f"p{p}": np.percentile(values, p) for p in PERCENTILES}
    numbers["max"] = values.max()
    return {name: float(f"{float(value):.6g}") for name, value in numbers.items()}


def short(number: float) -> str:
    """A number to four digits or so, never in powers of ten."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def describe(measures: Measures) -> str:
    """The measures for people: counts, and a table with a line for each measure."""
    found = measures.to_dict()
    lines = [
        f"rows      {found['rows']:,}",
        f"images    {found['images']:,}",
        f"targets   {found['targets']:,}",
        "",
    ]
    columns = ("mean", "median", "min", *(f"p{p}" for p in PERCENTILES), "max")
    lines.append(f"{'':25}" + "".join(f"{column:>10}" for column in columns))
    names = {
        "expressions_per_image": "expressions an image",
        "words_per_sentence": "words a sentence",
        "box_width_px": "box width, pixels",
        "box_height_px": "box height, pixels",
        "box_area_px": "box area, pixels",
        "box_area_percent": "box area, % of frame",
        "center_x": f"center x, {'of frame' if measures.share is not None else 'pixels'}",
        "center_y": f"center y, {'of frame' if measures.share is not None else 'pixels'}",
    }
    for key, name in names.items():
        if found[key] is not None:
            lines.append(f"{name:25}" + "".join(f"{short(found[key][column]):>10}" for column in columns))
    if measures.share is None:
        lines.append(
            "\nThe share of the frame and places in it need the frames' sizes: give the folder of images."
        )
    else:
        lines.append("\ncenters of boxes, % in each ninth of the frame")
        lines += ["".join(f"{value:>8.1f}" for value in row) for row in found["centers_percent_of_3x3"]]
    return "\n".join(lines)
