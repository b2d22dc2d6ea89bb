"""A page of misses: one HTML file that needs nothing else, light or dark, on a screen or a phone."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piza.boxes import clip_xyxy
from piza.data.sorec import find_image
from piza.evaluation.error_analysis import CLASSES, classify, error_analysis, holds
from piza.evaluation.outcome import Outcome
from piza.evaluation.report.style import page_style
from piza.files import atomic_write
from piza.image import ImageArray, cut, open_image
from piza.search.zoom_path import frame_window, side
from piza.visualize.draw import surroundings_xyxy
from piza.visualize.primitives import WINDOW_COLORS
from piza.visualize.text import one_line

FRAME_PIXELS = 960  # longer side of a frame on the page
WINDOW_PIXELS = 480  # longer side of an enlarged window
MIN_MARK = 0.018
"""Of the longer side of a figure: smaller boxes are drawn this large, so that they are seen."""

Box = Sequence[float]


def write_page(path: str | Path, outcomes: Sequence[Outcome], images_dir: str | Path, count: int = 4) -> None:
    """Write the page of `count` misses of each class to `path`; images are read from `images_dir`.

    Raises InputError when the file cannot be written or an image cannot be read.
    """
    with atomic_write(path) as part:
        part.write_text(misses_page(outcomes, images_dir, count), encoding="utf-8")


def misses_page(outcomes: Sequence[Outcome], images_dir: str | Path, count: int = 4) -> str:
    """The page as HTML: for each class of `error_analysis.CLASSES` up to `count` misses, spread evenly over the rows."""
    found = error_analysis(outcomes)
    by_class: dict[str, list[Outcome]] = {name: [] for name in CLASSES}
    for outcome in outcomes:
        name = classify(outcome)
        if name is not None:
            by_class[name].append(outcome)
    sections = []
    for name, misses in by_class.items():
        if not misses or count < 1:
            continue
        places = sorted(set(np.linspace(0, len(misses) - 1, min(count, len(misses))).round().astype(int)))
        cards = "".join(card(misses[place], images_dir) for place in places)
        sections.append(
            f'<section><h2 id="{name}">{escape(_sentence(CLASSES[name]))}</h2>'
            f"<p>{len(places)} of {len(misses)}</p>{cards}</section>"
        )
    rows = "".join(
        f"<tr><td>{_link(name, number)}</td><td>{number}</td><td>{100 * number / max(found.misses, 1):.1f} %</td></tr>"
        for name, number in found.classes.items()
    )
    return _PAGE.format(
        style=page_style(),
        summary=f"{found.misses} of {found.rows} answers have an IoU below 0.5 with their target.",
        rows=rows,
        sections="".join(sections) or "<p>Nothing was missed.</p>",
    )


def card(
    outcome: Outcome,
    images_dir: str | Path,
    frame_pixels: int = FRAME_PIXELS,
    window_pixels: int = WINDOW_PIXELS,
    attributes: str = "",
) -> str:
    """One row as an HTML article: sentence, frame, windows, answer, target, facts.

    frame_pixels, window_pixels: longer sides of its figures in pixels. attributes: of the article, HTML.
    """
    image = open_image(find_image(images_dir, outcome.row.image))
    frame = frame_window((image.shape[1], image.shape[0]))
    target, answer = clip_xyxy(outcome.row.box_xyxy, frame), clip_xyxy(outcome.box_xyxy, frame)
    boxes = [("target", target), ("answer", answer)]
    closer = [window for window in outcome.windows if side(np.asarray(window)) < 0.999 * side(frame)]
    windows = [
        (f"window w{number % len(WINDOW_COLORS)}", clip_xyxy(window, frame))
        for number, window in enumerate(closer)
    ]
    figures = [figure(image, frame, windows + boxes, "The whole image", frame_pixels)]
    last = clip_xyxy(outcome.windows[-1], frame)
    if windows and side(last) > 0:
        size = f"{last[2] - last[0]:.0f} x {last[3] - last[1]:.0f} pixels"
        figures.append(figure(image, last, boxes, f"The last window, {size}", window_pixels))
    if not windows or not holds(last, target):
        around: NDArray[Any] = np.array(surroundings_xyxy(target.tolist(), (image.shape[1], image.shape[0])))
        figures.append(figure(image, around, boxes, "Around the target", window_pixels))
    looks = f"{outcome.num_looks} look{'' if outcome.num_looks == 1 else 's'}"
    facts = (
        f"row {outcome.row.id}, {outcome.row.image}: IoU {outcome.iou:.3f}, score {outcome.score:.2f}, {looks}, "
        f"ended by {outcome.stopped}; target {_size(target)}, answer {_size(answer)} pixels"
    )
    return (
        f"<article{attributes}><h3>{escape(one_line(outcome.row.expression))}</h3>"
        f'<div class="figures">{"".join(figures)}</div><p class="facts">{escape(facts)}</p></article>'
    )


def figure(
    image: ImageArray,
    window: NDArray[Any],
    boxes: Sequence[tuple[str, NDArray[Any]]],
    caption: str,
    longest: int,
) -> str:
    """One part of an image with boxes over it, as HTML; boxes (CSS class, box) and window are xyxy in pixels of the image."""
    extent = window[2:] - window[:2]
    scale = longest / float(extent.max())
    if window[2] - window[0] >= image.shape[1]:
        scale = min(scale, 1.0)  # a small image is not blown up
    width, height = (max(1, round(float(v) * scale)) for v in extent)
    inside = clip_xyxy(window, frame_window((image.shape[1], image.shape[0])))
    file = io.BytesIO()
    Image.fromarray(cut(image, inside, (width, height))).save(file, "JPEG", quality=82)
    data = base64.b64encode(file.getvalue()).decode()
    scales = np.tile(np.array([width, height]) / extent, 2)
    shown = [
        (name, (np.asarray(box) - np.tile(window[:2], 2)) * scales)
        for name, box in boxes
        if (np.minimum(box[2:], window[2:]) > np.maximum(box[:2], window[:2])).all()
    ]
    shapes = "".join(_rectangle(name, box, (width, height)) for name, box in shown)
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(caption)}">'
        f'<image width="{width}" height="{height}" href="data:image/jpeg;base64,{data}"/>{shapes}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _rectangle(name: str, box: NDArray[Any], size: tuple[int, int]) -> str:
    """A box in pixels of a figure of (width, height): a dark line under a colored one, seen on any ground."""
    min_side = MIN_MARK * max(size)
    if not name.startswith("window"):
        grow = np.maximum(min_side - (box[2:] - box[:2]), 0) / 2
        box = np.concatenate([box[:2] - grow, box[2:] + grow])
    x0, y0, x1, y1 = clip_xyxy(box, (1, 1, max(size[0] - 1, 1), max(size[1] - 1, 1)))
    place = f'x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}"'
    return f'<rect class="halo" {place}/><rect class="{name}" {place}/>'


def _size(box: NDArray[Any]) -> str:
    return f"{box[2] - box[0]:.0f} x {box[3] - box[1]:.0f}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _link(name: str, number: int) -> str:
    text = escape(_sentence(CLASSES[name]))
    return f'<a href="#{name}">{text}</a>' if number else text


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>What the search missed</title><style>{style}</style></head><body>
<h1>What the search missed</h1>
<p>{summary}</p>
<table>{rows}</table>
<ul class="key"><li><span class="target"></span>the target</li><li><span class="answer"></span>the answer</li>
<li><span class="w0"></span>the first window</li><li><span class="w1"></span>the second</li>
<li><span class="w2"></span>the third</li></ul>
{sections}
</body></html>
"""
