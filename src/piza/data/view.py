"""A page to look at rows: one HTML file with everything in it, which opens from disk without a network."""

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from piza.data.sorec import Row, find_image
from piza.files import atomic_write, check_writable
from piza.image import ImageArray, open_image
from piza.visualize.draw import draw_box, surroundings_xyxy
from piza.visualize.text import one_line

FRAME_PANEL = (1120, 840)
CLOSE_PANEL = (480, 480)
SURROUNDINGS = 5.0
"""The enlarged part is this many times the longer side of the box."""

SMALLEST_MARK = 28
"""Side below which a box on the frame is drawn larger, so that it is seen on a phone, where the frame shrinks to a third."""

QUALITY = 80
"""Of the JPEGs in the page: with the panels above, about 0.2 MB a row."""

# The page may load nothing and run nothing, whatever a sentence or a file name holds.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE_FILE = Path(__file__).with_name("view.css")


def sample(count: int, of: int, seed: int) -> list[int]:
    """`count` of the numbers below `of`, in their order; the same seed gives the same ones."""
    return sorted(np.random.default_rng(seed).permutation(of)[:count].tolist())


def write_page(rows: Sequence[tuple[int, Row]], images_dir: str | Path, out: str | Path, about: str) -> None:
    """Write a page that shows each row: frame with box, its surroundings enlarged, sentence, id, sizes.

    rows: (number in the file from 1, row). about: a line under the heading; the heading is `out`'s name. Raises
    InputError when an image cannot be read or the page cannot be written.
    """
    check_writable(out)
    with atomic_write(out) as temporary:
        with open(temporary, "w", encoding="utf-8", errors="xmlcharrefreplace") as page:
            page.write(_head(Path(out).stem, about))
            name, image = None, None
            for number, row in rows:
                if image is None or row.image != name:
                    image, name = open_image(find_image(images_dir, row.image)), row.image
                page.write(_article(number, row, image))
            page.write("</main>\n</body>\n</html>\n")


def _head(title: str, about: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE_FILE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<p class="about">{html.escape(about)}</p>
"""


def _article(number: int, row: Row, image: ImageArray) -> str:
    height, width = image.shape[:2]
    x1, y1, x2, y2 = row.box_xyxy
    frame = draw_box(image, row.box_xyxy, (0, 0, width, height), FRAME_PANEL, SMALLEST_MARK, line=4)
    window = surroundings_xyxy(row.box_xyxy, (width, height), SURROUNDINGS)
    close = draw_box(image, row.box_xyxy, window, CLOSE_PANEL, line=3)
    times = close.width / (window[2] - window[0])
    part = f"{window[2] - window[0]:.0f} x {window[3] - window[1]:.0f} pixels"
    share = 100 * (x2 - x1) * (y2 - y1) / (width * height)
    facts = {
        "row": f"{number}",
        "id": f"{row.id}",
        "image": row.image,
        "frame": f"{width} x {height}",
        "box": f"{x1:g}, {y1:g} to {x2:g}, {y2:g}",
        "size": f"{x2 - x1:g} x {y2 - y1:g}",
        "share": f"{share:.2g} % of the frame",
        "words": f"{len(row.expression.split())}",
    }
    if row.extra:
        facts["further fields"] = json.dumps(row.extra, ensure_ascii=False)
    rows = "".join(
        f'<div><dt>{html.escape(name)}</dt><dd dir="auto">{html.escape(value)}</dd></div>'
        for name, value in facts.items()
    )
    inside = x2 <= width and y2 <= height
    fault = "" if inside else '<p class="fault">The box reaches out of its image.</p>\n'
    zoom = f"enlarged {times:.1f} times" if times >= 1 else f"shrunk {1 / times:.1f} times"
    return f"""<article>
<h2 dir="auto">{html.escape(one_line(row.expression))}</h2>
<div class="pictures">
{_figure(frame, "the whole image with the box", "the frame; a small box is drawn larger than it is")}
{_figure(close, "the surroundings of the box", f"around the box: {part}, {zoom}")}
</div>
<dl>{rows}</dl>
{fault}</article>
"""


def _figure(drawing: Image.Image, alt: str, caption: str) -> str:
    buffer = io.BytesIO()
    drawing.save(buffer, "JPEG", quality=QUALITY, subsampling=0)  # else thin colored lines turn gray
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{html.escape(alt)}" width="{drawing.width}"'
        f' height="{drawing.height}"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )
