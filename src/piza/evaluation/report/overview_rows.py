"""The rows shown in the report of an evaluation: which ones, their figures, and the buttons to filter them by."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from piza.data.sorec import find_image
from piza.evaluation.error_analysis import CLASSES, RIGHT, classify
from piza.evaluation.metrics import ROUNDING
from piza.evaluation.outcome import Outcome
from piza.evaluation.report.charts import swatch
from piza.evaluation.report.page import card, figure
from piza.image import open_image
from piza.search.zoom_path import frame_window
from piza.visualize.draw import surroundings_xyxy
from piza.visualize.text import one_line

FRAME_PIXELS, WINDOW_PIXELS = 720, 360  # longer sides of the figures of a row
ROWS, ROWS_OF_CLASS = 6, 4  # shown of the best, the worst, ...; and of each class of miss beyond those

Runs = Mapping[str, Sequence[Outcome]]
Cards = tuple[str, str, list[tuple[str, Callable[[str], str]]]]
"""Heading, explanation, and the cards: class to filter by, and a function from an article's attributes to its HTML."""


def one_run(found: Sequence[Outcome], images_dir: str | Path) -> list[Cards]:
    """Wrong and sure, best, random, and more of each class of miss; no row twice."""
    used: set[int] = set()

    def take(order: Sequence[int], count: int) -> list[tuple[str, Callable[[str], str]]]:
        chosen = [place for place in order if place not in used][:count]
        used.update(chosen)
        return [
            (
                classify(found[place]) or "right",
                lambda more, o=found[place]: card(o, images_dir, FRAME_PIXELS, WINDOW_PIXELS, more),  # type: ignore[misc]
            )
            for place in chosen
        ]

    places = range(len(found))
    wrong = sorted(
        (p for p in places if not right_answers([found[p]])[0]), key=lambda p: (-found[p].score, found[p].iou)
    )
    best = sorted((p for p in places if right_answers([found[p]])[0]), key=lambda p: -found[p].iou)
    drawn = np.random.default_rng(0).permutation(len(found)).tolist()
    sections = [
        ("Worst", "Wrong, and surest of it.", take(wrong, ROWS)),
        ("Best", "The highest IoU.", take(best, ROWS)),
        ("Random", "Drawn from all rows.", take(drawn, ROWS)),
    ]
    more = [
        pair for name in CLASSES
        for pair in take([p for p in drawn if classify(found[p]) == name], ROWS_OF_CLASS)
    ]  # fmt: skip
    return [*sections, ("More misses", "Some of each class.", more)]


def several_runs(runs: Runs, images_dir: str | Path) -> list[Cards]:
    """The rows the runs disagree about most, then random ones."""
    ious = np.array([[outcome.iou for outcome in found] for found in runs.values()])
    spread = np.argsort(ious.min(0) - ious.max(0), kind="stable").tolist()
    drawn = np.random.default_rng(0).permutation(ious.shape[1]).tolist()
    disagreements = [place for place in spread if len(set((ious[:, place] >= RIGHT - ROUNDING).tolist())) > 1]

    def cards(places: Sequence[int]) -> list[tuple[str, Callable[[str], str]]]:
        return [
            (
                _who(runs, place),
                lambda more, p=place: _comparison({n: f[p] for n, f in runs.items()}, images_dir, more),  # type: ignore[misc]
            )
            for place in places
        ]

    first = disagreements[: 3 * ROWS]
    return [
        ("Disagreements", "One is right where another is not; the widest apart first.", cards(first)),
        ("Random", "Drawn from all rows.", cards([p for p in drawn if p not in first][: 2 * ROWS])),
    ]


def _who(runs: Runs, place: int) -> str:
    right = [name for name, found in runs.items() if right_answers([found[place]])[0]]
    if not right or len(right) == len(runs):
        return "all right" if right else "none right"
    return f"only {right[0]} right" if len(right) == 1 else "some right"


def _comparison(answers: Mapping[str, Outcome], images_dir: str | Path, attributes: str) -> str:
    """One row: the answers of all runs in one image, and around the target."""
    outcome = next(iter(answers.values()))
    image = open_image(find_image(images_dir, outcome.row.image))
    frame = frame_window((image.shape[1], image.shape[0]))
    target = np.clip(outcome.row.box_xyxy, np.tile(frame[:2], 2), np.tile(frame[2:], 2))
    boxes = [("target", target)]
    boxes += [(f"answer s{number}", np.array(own.box_xyxy)) for number, own in enumerate(answers.values())]
    around = np.array(surroundings_xyxy(target.tolist(), (image.shape[1], image.shape[0])))
    figures = figure(image, frame, boxes, "The whole image", FRAME_PIXELS)
    figures += figure(image, around, boxes, "Around the target", WINDOW_PIXELS)
    facts = "".join(
        f"<li>{swatch(number)}{escape(name)}: IoU {own.iou:.2f}, score {own.score:.2f}, {own.num_looks} "
        f"look{'' if own.num_looks == 1 else 's'}{escape(f', {classify(own)}'.replace('_', ' ')) if classify(own) else ''}</li>"
        for number, (name, own) in enumerate(answers.items())
    )
    return (
        f"<article{attributes}><h3>{escape(one_line(outcome.row.expression))}</h3>"
        f'<div class="figures">{figures}</div><ul class="key">{facts}</ul>'
        f'<p class="facts">{escape(f"row {outcome.row.id}, {outcome.row.image}")}</p></article>'
    )


def rows_html(sections: Sequence[Cards], legend: str, room: int) -> str:
    """The cards of all sections, while there is room for their figures, and buttons to filter them by."""
    kinds = list(dict.fromkeys(kind for _, _, cards in sections for kind, _ in cards))
    parts, left_out = [], 0
    counts = dict.fromkeys(kinds, 0)
    for title, about, cards in sections:
        drawn = []
        for kind, html in _drawn(cards, kinds):
            size = len(html.encode(errors="replace"))
            if size > room:
                left_out += 1
                continue
            room -= size
            counts[kind] += 1
            drawn.append(html)
        if drawn:
            parts.append(
                f"<section class='cards'><h3>{escape(title)}</h3><p>{escape(about)}</p>{''.join(drawn)}</section>"
            )
    buttons = "".join(
        f'<button type="button" data-show="{number}" aria-pressed="false">{escape(kind.replace("_", " "))} ({counts[kind]})</button>'
        for number, kind in enumerate(kinds)
        if counts[kind]
    )
    note = f"<p>{left_out} more rows found no room on this page.</p>" if left_out else ""
    return (
        f"<section><h2>Rows</h2><p>{escape(legend)} Small boxes are drawn larger than they are.</p>"
        f'<div class="filters" hidden><button type="button" data-show="" aria-pressed="true">all ({sum(counts.values())})'
        f"</button>{buttons}</div>{note}{''.join(parts)}</section>"
    )


def _drawn(
    cards: Sequence[tuple[str, Callable[[str], str]]], kinds: Sequence[str]
) -> Iterator[tuple[str, str]]:
    for kind, draw in cards:
        yield kind, draw(f' data-kind="{kinds.index(kind)}"')


def right_answers(found: Sequence[Outcome]) -> list[bool]:
    """Which answers have an IoU of 0.5 or more."""
    return [outcome.iou >= RIGHT - ROUNDING for outcome in found]
