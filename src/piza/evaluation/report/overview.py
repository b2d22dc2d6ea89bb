"""The report of one evaluation or several: one HTML file with everything in it, which asks the network for nothing."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from piza.errors import InputError
from piza.evaluation.error_analysis import CLASSES, LOOK_LABELS, ErrorAnalysis, by_looks, error_analysis
from piza.evaluation.intervals import difference_intervals, intervals
from piza.evaluation.metrics import (
    THRESHOLDS,
    accuracy,
    auroc,
    calibration_error,
    mean_accuracy,
    reliability,
)
from piza.evaluation.outcome import Outcome, read_predictions
from piza.evaluation.report.charts import (
    SERIES,
    bin_table,
    interval_text,
    key,
    line_chart,
    reliability_chart,
    swatch,
)
from piza.evaluation.report.overview_rows import Runs, one_run, right_answers, rows_html, several_runs
from piza.evaluation.report.style import overview_script, overview_style
from piza.files import atomic_write, check_writable

MAX_BYTES = 14_000_000
"""Bytes of the page: rows whose figures find no room are left out."""


def report_folder(folder: str | Path) -> Path:
    """Make the folder of a report, if it is not there; returns the path of its page. Raises InputError where it cannot be."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write a report to {str(folder)!r}: {error.strerror}") from None
    page = Path(folder) / "index.html"
    check_writable(page)
    return page


def write_report(
    folder: str | Path, runs: Runs, images_dir: str | Path | None = None, section: str = ""
) -> int:
    """Write `folder`/index.html about one run or up to eight on the same rows; returns how many rows are compared.

    runs: name of each and its outcomes, from `evaluate` or `read_predictions`. Several are compared on the rows they have
    in common, the others with the first. images_dir: the folder of the images; without it, no row is shown. section:
    HTML of one more section, as `absent.absent_html` makes it. Raises InputError when the runs have no row in common,
    there are more than eight or none, an image cannot be read, or the folder cannot be written.
    """
    page = report_folder(folder)
    if not 1 <= len(runs) <= SERIES:
        raise InputError(f"one to {SERIES} runs can be reported on one page, got {len(runs)}")
    if images_dir is not None and not Path(images_dir).is_dir():
        raise InputError(f"the folder of images {str(images_dir)!r} does not exist")
    common = common_rows(runs)
    with atomic_write(page) as part:
        # Names and sentences may hold halves of surrogate pairs, which no encoding can write.
        part.write_text(
            report_page(common, images_dir, section), encoding="utf-8", errors="xmlcharrefreplace"
        )
    return len(next(iter(common.values())))


def read_runs(paths: Sequence[str | Path]) -> dict[str, list[Outcome]]:
    """Predictions files by their names, told apart by their folders or a number where two are called the same."""
    runs: dict[str, list[Outcome]] = {}
    for path in map(Path, paths):
        name = path.stem if path.stem not in runs else f"{path.parent.name}/{path.stem}"
        number = 2
        while name in runs:
            name, number = f"{path.stem} ({number})", number + 1
        runs[name] = read_predictions(path)
    return runs


def common_rows(runs: Runs) -> dict[str, list[Outcome]]:
    """Each run's outcomes of the rows all of them have, in one order. A row is known by its place in the file, image,
    sentence and target. Raises InputError when there is none."""
    tables = {name: {_identity(outcome): outcome for outcome in found} for name, found in runs.items()}
    first = next(iter(tables.values()))
    shared = [row for row in first if all(row in table for table in tables.values())]
    if not shared:
        raise InputError(f"there is no row that all {len(runs)} runs were asked, so they cannot be compared")
    return {name: [table[row] for row in shared] for name, table in tables.items()}


def report_page(runs: Runs, images_dir: str | Path | None = None, section: str = "") -> str:
    """The page as HTML; the runs have the same rows in the same order. section: as in `write_report`."""
    names = list(runs)
    first = runs[names[0]]
    errors = {name: error_analysis(found) for name, found in runs.items()}
    images = len({outcome.row.image for outcome in first})
    title = f"Evaluation: {names[0]}" if len(runs) == 1 else "Evaluations compared"
    parts = [
        f"<h1>{escape(title)}</h1><p>{len(first)} rows about {images} image{'' if images == 1 else 's'}.</p>",
        key(names),
        _summary(runs),
        _differences(runs),
        f"<section><h2>Accuracy by IoU threshold</h2>{_threshold_chart(runs)}</section>",
        "<section><h2>Accuracy by size, length and looks</h2><p>Bars: share of answers with an IoU of 0.5 or more; the thin"
        " line is its 95 % interval.</p>",
        bin_table(
            "area of the target, of the image", {name: found.by_size for name, found in errors.items()}
        ),
        bin_table("length of the sentence", {name: found.by_length for name, found in errors.items()}),
        bin_table("looks taken", {name: by_looks(found) for name, found in runs.items()}, LOOK_LABELS),
        f"</section>{_calibration(runs)}{section}{_misses(errors)}",
    ]
    head = "".join(parts)
    body = ""
    if images_dir is not None:
        cards = one_run(first, images_dir) if len(runs) == 1 else several_runs(runs, images_dir)
        legend = "the answer orange, the windows light blue, yellow, green, ..., in this order"
        legend = legend if len(runs) == 1 else "the answers have the colors of their runs"
        body = rows_html(
            cards, f"The target is white; {legend}.", MAX_BYTES - len(head.encode(errors="replace"))
        )
    return _PAGE.format(
        policy=_policy(),
        title=escape(title),
        style=overview_style(),
        body=f"{head}{body}",
        script=overview_script(),
    )


def _identity(outcome: Outcome) -> tuple[Any, ...]:
    target = tuple(round(v, 3) for v in outcome.row.box_xyxy)
    return outcome.index, outcome.row.image, outcome.row.expression, target


def _policy() -> str:
    """Nothing may be loaded, and nothing run but the one script, whatever a sentence or a file name holds."""
    digest = base64.b64encode(hashlib.sha256(overview_script().encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _auroc(found: Sequence[Outcome]) -> str:
    try:
        value = auroc([outcome.score for outcome in found], right_answers(found))
    except ImportError:  # scipy is an extra
        return "-"
    return "-" if np.isnan(value) else f"{value:.3f}"


def _summary(runs: Runs) -> str:
    rows = []
    for number, (name, found) in enumerate(runs.items()):
        ious = [outcome.iou for outcome in found]
        ranges = intervals(ious, [outcome.row.image for outcome in found]) or {}
        cells = [
            f"{value:.1f}{interval_text(ranges.get(measure))}"
            for measure, value in (
                ("acc50", accuracy(ious, 0.5)),
                ("acc75", accuracy(ious, 0.75)),
                ("macc", mean_accuracy(ious)),
            )
        ]
        cells += [
            f"{np.mean([outcome.num_looks for outcome in found]):.2f}",
            f"{np.mean([outcome.milliseconds for outcome in found]):.0f}",
            f"{calibration_error([outcome.score for outcome in found], right_answers(found)):.3f}",
            _auroc(found),
        ]
        mark = swatch(number) if len(runs) > 1 else ""
        rows.append(
            f"<tr><th scope='row'>{mark}{escape(name)}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>"
        )
    heads = ("Acc50, %", "Acc75, %", "mAcc, %", "looks", "ms", "calibration error", "AUROC")
    return _table(("run", *heads), rows)


def _differences(runs: Runs) -> str:
    """The others against the first, on the same resampled images."""
    (base, first), *others = runs.items()
    if not others:
        return ""
    rows = []
    ious = [outcome.iou for outcome in first]
    images = [outcome.row.image for outcome in first]
    for number, (name, found) in enumerate(others, start=1):
        own = [outcome.iou for outcome in found]
        ranges = difference_intervals(own, ious, images) or {}
        cells = []
        for measure, value in (
            ("acc50", accuracy(own, 0.5) - accuracy(ious, 0.5)),
            ("acc75", accuracy(own, 0.75) - accuracy(ious, 0.75)),
            ("macc", mean_accuracy(own) - mean_accuracy(ious)),
        ):
            sure = measure in ranges and not ranges[measure][0] <= 0 <= ranges[measure][1]
            text = f"{value:+.1f}"
            cells.append(
                f"<td>{f'<strong>{text}</strong>' if sure else text}{interval_text(ranges.get(measure))}</td>"
            )
        rows.append(f"<tr><th scope='row'>{swatch(number)}{escape(name)}</th>{''.join(cells)}</tr>")
    return (
        f"<section><h2>Difference with {escape(base)}</h2><p>In points, with the 95 % interval of the paired bootstrap by "
        "image; bold where it leaves out 0.</p>"
        f"{_table(('run', 'Acc50', 'Acc75', 'mAcc'), rows)}</section>"
    )


def _threshold_chart(runs: Runs) -> str:
    curves = {
        name: [accuracy([outcome.iou for outcome in found], threshold) for threshold in THRESHOLDS]
        for name, found in runs.items()
    }
    label = "Accuracy at IoU thresholds from 0.5 to 0.95"
    return (
        key(list(runs))
        + f"<div class='charts'>{line_chart(curves, THRESHOLDS, 'IoU', 'right, %', label)}</div>"
    )


def _calibration(runs: Runs) -> str:
    charts = []
    for number, (name, found) in enumerate(runs.items()):
        scores, right = [outcome.score for outcome in found], right_answers(found)
        error = calibration_error(scores, right)
        caption = f"{name}: expected calibration error {error:.3f}, AUROC {_auroc(found)}"
        chart = reliability_chart(reliability(scores, right), number, f"Reliability of the score of {name}")
        charts.append(f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>")
    return (
        "<section><h2>What the score is worth</h2><p>The share of right answers (IoU of 0.5 or more) over their score, in ten "
        "bins: on the dashed line, a score is a probability; below it, the model is too sure. Larger dots stand for more "
        f"answers.</p><div class='charts'>{''.join(charts)}</div></section>"
    )


def _misses(errors: Mapping[str, ErrorAnalysis]) -> str:
    rows = []
    for name, meaning in CLASSES.items():
        cells = "".join(
            f"<td>{found.classes[name]} <span class='quiet'>({100 * found.classes[name] / max(found.misses, 1):.0f} %)</span></td>"
            for found in errors.values()
        )
        rows.append(
            f"<tr><th scope='row'>{name.replace('_', ' ')}<br><span class='quiet'>{escape(meaning)}</span></th>{cells}</tr>"
        )
    heads = ["class", *(f"{run}: {found.misses} of {found.rows} missed" for run, found in errors.items())]
    return f"<section><h2>Where it goes wrong</h2>{_table(heads, rows)}</section>"


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th scope='col'>{escape(text)}</th>" for text in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title><style>{style}</style></head><body>
{body}
<script>{script}</script>
</body></html>
"""
