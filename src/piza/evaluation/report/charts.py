"""Charts for pages, as HTML with inline SVG: colors come from classes s0, s1, ... of the page's style, one a run."""

from collections.abc import Mapping, Sequence
from html import escape

from piza.evaluation.error_analysis import Bin
from piza.evaluation.metrics import Reliability

SERIES = 8  # as many runs can be told apart
WIDTH, HEIGHT = 420, 280
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40  # room around the plot, for its axes


def key(names: Sequence[str]) -> str:
    """Which color is which run; nothing for a single one."""
    if len(names) < 2:
        return ""
    items = "".join(f"<li>{swatch(number)}{escape(name)}</li>" for number, name in enumerate(names))
    return f'<ul class="key">{items}</ul>'


def swatch(number: int) -> str:
    """A small square in the color of a run."""
    return f'<svg class="swatch s{number % SERIES}" viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10"/></svg>'


def line_chart(
    curves: Mapping[str, Sequence[float]], places: Sequence[float], x_title: str, y_title: str, label: str
) -> str:
    """Curves over common `places` (the x axis runs from the first to the last); values in percent, 0 to 100."""
    low, high = places[0], places[-1]
    top = next((limit for limit in (10, 25, 50) if max(max(c) for c in curves.values()) <= limit), 100)

    def at(x: float, y: float) -> tuple[float, float]:
        return _point((x - low) / (high - low), y / top)

    ticks_x = [(f"{x:.1f}", at(x, 0)[0]) for x in places if abs(10 * x - round(10 * x)) < 1e-6]
    ticks_y = [(f"{top * part / 5:g}", at(low, top * part / 5)[1]) for part in range(6)]
    shapes = []
    for number, (name, values) in enumerate(curves.items()):
        points = [at(x, y) for x, y in zip(places, values, strict=True)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{escape(name)}, {place:g}: {value:.1f} %</title></circle>'
            for (x, y), place, value in zip(points, places, values)
        )
        shapes.append(f'<g class="s{number % SERIES}"><polyline points="{line}"/>{dots}</g>')
    return _plot("".join(shapes), ticks_x, ticks_y, x_title, y_title, label)


def reliability_chart(bins: Sequence[Reliability], number: int, label: str) -> str:
    """The share of right answers over their probability; on the diagonal, a score says what it promises. The larger a dot,
    the more answers it stands for; `number` chooses the color."""
    max_rows = max((part.rows for part in bins), default=1)
    start, end = _point(0, 0), _point(1, 1)
    shapes = [f'<line class="even" x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}"/>']
    points = [_point(min(max(part.probability, 0.0), 1.0), part.right) for part in bins]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2.5 + 6.5 * (part.rows / max_rows) ** 0.5:.1f}"><title>score '
        f"{part.probability:.2f}: {100 * part.right:.0f} % of {part.rows} right</title></circle>"
        for (x, y), part in zip(points, bins)
    )
    shapes.append(f'<g class="s{number % SERIES}"><polyline points="{line}"/>{dots}</g>')
    ticks = [part / 5 for part in range(6)]
    return _plot(
        "".join(shapes),
        [(f"{share:g}", _point(share, 0)[0]) for share in ticks],
        [(f"{100 * share:g}", _point(0, share)[1]) for share in ticks],
        "score",
        "right, %",
        label,
    )


def bin_table(title: str, runs: Mapping[str, Sequence[Bin]], labels: Sequence[str] = ()) -> str:
    """Acc50 of each bin and run: a bar, with a line for the 95 % interval where there is one.

    labels: all bins in order, where not every run has the same; else those of the first run.
    """
    body = []
    for label in labels or [part.label for part in next(iter(runs.values()))]:
        shown = label
        for number, (name, bins) in enumerate(runs.items()):
            part = next((part for part in bins if part.label == label), None)
            if part is None:
                continue
            more = "" if shown else " class='more'"
            mark = f"<td title='{escape(name)}'>{swatch(number)}</td>" if len(runs) > 1 else ""
            body.append(
                f"<tr{more}><th scope='row'>{escape(shown)}</th>{mark}<td>{part.rows}</td>"
                f"<td class='wide'>{_bar(part, number)}</td><td>{part.acc50:.1f}{interval_text(part.interval)}</td></tr>"
            )
            shown = ""
    head = f"<th>{escape(title)}</th>{'<td></td>' if len(runs) > 1 else ''}<td>rows</td><td class='wide'></td><td>Acc50, %</td>"
    return (
        f'<div class="scroll"><table class="bins"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody>'
        "</table></div>"
    )


def interval_text(interval: tuple[float, float] | None) -> str:
    """An interval in percent as HTML; nothing for None."""
    return f' <span class="quiet">({interval[0]:.1f} to {interval[1]:.1f})</span>' if interval else ""


def _bar(part: Bin, number: int) -> str:
    line = ""
    if part.interval:
        low, high = part.interval
        line = f'<rect class="range" x="{low:.1f}" y="4" width="{max(high - low, 0.3):.1f}" height="2"/>'
    return (
        f'<svg class="bar s{number % SERIES}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="ground" width="100" height="10"/><rect width="{part.acc50:.1f}" height="10"/>{line}</svg>'
    )


def _point(x: float, y: float) -> tuple[float, float]:
    """Shares of the axes, 0 to 1 -> a point of the SVG."""
    return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)


def _plot(
    shapes: str,
    ticks_x: Sequence[tuple[str, float]],
    ticks_y: Sequence[tuple[str, float]],
    x_title: str,
    y_title: str,
    label: str,
) -> str:
    base = HEIGHT - BOTTOM
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/><text x="{LEFT - 6}" y="{y + 4:.1f}" '
        f'class="end">{text}</text>'
        for text, y in ticks_y
    )
    grid += "".join(f'<text x="{x:.1f}" y="{base + 17}" class="middle">{text}</text>' for text, x in ticks_x)
    middle = (LEFT + WIDTH - RIGHT) / 2
    titles = (
        f'<text x="{middle}" y="{HEIGHT - 5}" class="middle">{escape(x_title)}</text>'
        f'<text x="{-(TOP + base) / 2}" y="12" class="middle" transform="rotate(-90)">{escape(y_title)}</text>'
    )
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f'<g class="grid">{grid}{titles}</g>{shapes}</svg>'
    )
