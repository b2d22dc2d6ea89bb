"""Sentences about objects that are absent: whether a model's score tells what is in an image from what is not.

`piza data scenes --absent` writes sentences that are true of nothing in their image. A search answers them all the
same, with its best guess; what can be hoped for is a low score, so that a threshold (`min_score`) refuses them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from piza.data.sorec import Row, kind_of, read_list, row_faults
from piza.errors import InputError
from piza.evaluation.metrics import ROUNDING, auroc
from piza.evaluation.oracle import oracle_first_window
from piza.evaluation.outcome import Outcome
from piza.evaluation.run import Baseline, Evaluation, Locator, evaluate, summarize

THRESHOLDS = (0.05, *(tenths / 10 for tenths in range(1, 10)))
RIGHT = 0.5
"""IoU from which on an answer is right."""

_NO_BBOX = [0, 0, 1, 1]  # a row must have a box; that of an absent sentence is never compared with


class Absent(NamedTuple):
    """A sentence that is true of nothing in its image. image: as in `Row`."""

    image: str
    expression: str


class AtThreshold(NamedTuple):
    """What a threshold does, in percent.

    kept: right answers that reach it, of all right answers. refused: absent sentences whose answer is below it, of all of
    them. precision: right answers, of all answers that reach it, to either kind of sentence. NaN for a share of none.
    """

    threshold: float
    kept: float
    refused: float
    precision: float


@dataclass
class AbsentScores:
    """What the score is worth against sentences about nothing.

    present, absent: how many sentences of each kind were asked. right: how many answers to those whose target is present
    are right (IoU of 0.5 or more). auroc: share of pairs of a sentence of each kind in which the one whose target is
    present has the higher score, ties half; whether its answer is right does not count. NaN where scipy is not installed.
    table: a line a threshold.
    """

    present: int
    right: int
    absent: int
    auroc: float
    table: list[AtThreshold]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; None for NaN."""
        numbers = {"present": self.present, "right": self.right, "absent": self.absent}
        table = [{name: _plain(value) for name, value in line._asdict().items()} for line in self.table]
        return {**numbers, "auroc": _plain(self.auroc), "thresholds": table}


def read_absent(path: str | Path) -> list[Absent]:
    """Read a list of {"image", "ref"}; further fields are ignored.

    Raises InputError, naming the file, the row (from 1) and the field, for anything else, and for rows with a box: their
    target is present.
    """
    found = []
    for number, values in enumerate(read_list(path), start=1):
        where = f"{str(path)!r}, row {number}"
        if not isinstance(values, dict):
            raise InputError(f"{where}: a row must be an object, but it is {kind_of(values)}")
        if "bbox" in values:
            raise InputError(
                f"{where}: a sentence that is true of nothing has no 'bbox', but this row has one"
            )
        faults = row_faults({**values, "bbox": _NO_BBOX})
        if faults:
            raise InputError(f"{where}: {faults[0].message}")
        found.append(Absent(values["image"], values["ref"]))
    if not found:
        raise InputError(f"there are no sentences in {str(path)!r}")
    return found


def absent_rows(rows: Sequence[Row], absent: Sequence[Absent], limit: int | None = None) -> list[Row]:
    """The rows that `evaluate_both` asks: the first `limit` of `rows`, then absent sentences: all of them or, where
    there is a limit, those about the images of these rows. Their boxes are not compared with anything."""
    if limit is not None:
        rows = rows[: max(limit, 0)]
        images = {row.image for row in rows}
        absent = [one for one in absent if one.image in images]
    corners = (0.0, 0.0, 1.0, 1.0)
    return [*rows, *(Row(one.image, corners, one.expression, "absent") for one in absent)]


def evaluate_both(
    model: Locator | Callable[[], Locator],
    rows: Sequence[Row],
    absent: Sequence[Absent],
    images_dir: str | Path,
    limit: int | None = None,
    baseline: Baseline | None = None,
    **options: Any,
) -> tuple[Evaluation, AbsentScores]:
    """`evaluate`, with sentences about nothing asked beside the rows: each image is opened once for all its sentences.

    The evaluation is that of the rows alone; only the time for an image is shared with the absent sentences about it.
    With a `limit`, absent sentences are asked about images of the first rows only. `write` and `done`, among the
    `options` of `evaluate`, get and hold the absent sentences too, with an index of `len(rows)` and more.

    Raises InputError as `evaluate` does, where no absent sentence is left to ask, and for the oracle, which must be told
    a target.
    """
    check_absent_baseline(baseline)
    asked = absent_rows(rows, absent, limit)
    rows = list(rows)[: None if limit is None else max(limit, 0)]
    if not rows:
        raise InputError("there are no rows to evaluate")
    if len(asked) == len(rows):
        raise InputError("there are no sentences about nothing to ask about these images")
    outcomes = evaluate(model, asked, images_dir, baseline=baseline, **options).outcomes
    present = [outcome for outcome in outcomes if outcome.index < len(rows)]
    about_nothing = [outcome for outcome in outcomes if outcome.index >= len(rows)]
    for name, found in (("rows", present), ("sentences about nothing", about_nothing)):
        if not found:
            raise InputError(f"none of the {name} has an image that can be opened in {str(images_dir)!r}")
    summary = summarize(present, len(rows) - len(present))
    return summary, compare_scores(present, [outcome.score for outcome in about_nothing])


def check_absent_baseline(baseline: Baseline | None) -> None:
    """Raise InputError for a baseline that no sentence about nothing can be asked of."""
    if baseline is oracle_first_window:
        raise InputError("the baseline 'oracle' is told the target, and a sentence about nothing has none")


def compare_scores(present: Sequence[Outcome], absent_scores: Sequence[float]) -> AbsentScores:
    """Outcomes of rows whose target is present, against the scores of the answers to sentences about nothing."""
    scores = [outcome.score for outcome in present]
    right = [outcome.score for outcome in present if outcome.iou >= RIGHT - ROUNDING]
    try:
        area = auroc([*scores, *absent_scores], [True] * len(scores) + [False] * len(absent_scores))
    except ImportError:  # scipy is an extra
        area = math.nan
    table = []
    for threshold in THRESHOLDS:
        kept, given = (sum(score >= threshold for score in group) for group in (right, scores))
        mistaken = sum(score >= threshold for score in absent_scores)
        table.append(
            AtThreshold(
                threshold,
                _percent(kept, len(right)),
                _percent(len(absent_scores) - mistaken, len(absent_scores)),
                _percent(kept, given + mistaken),
            )
        )
    return AbsentScores(len(scores), len(right), len(absent_scores), area, table)


def absent_text(found: AbsentScores) -> str:
    """The numbers for people: AUROC, and a line a threshold."""
    lines = [
        f"absent      {found.absent} sentences, against {found.present} whose target is present, {found.right} answered right",
        f"AUROC       {_shown(found.auroc, 3)}",
        f"{'min score':<12}{'right kept':>10}   {'absent refused':>14}   {'precision':>9}",
    ]
    for line in found.table:
        lines.append(
            f"{line.threshold:<12.2f}{_cell(line.kept):>10}   {_cell(line.refused):>14}   {_cell(line.precision):>9}"
        )
    return "\n".join(lines)


def absent_html(found: AbsentScores) -> str:
    """A section of the report page: the same numbers."""
    heads = ("min score", "right answers kept", "absent sentences refused", "precision")
    head = "".join(f"<th scope='col'>{escape(text)}</th>" for text in heads)
    body = "".join(
        f"<tr><th scope='row'>{line.threshold:.2f}</th>"
        + "".join(f"<td>{_cell(value)}</td>" for value in line[1:])
        + "</tr>"
        for line in found.table
    )
    return (
        f"<section><h2>Absent objects</h2><p>{found.absent} sentences that are true of nothing in their image, against "
        f"{found.present} whose target is present, {found.right} of them answered right. AUROC of the score: "
        f"{_shown(found.auroc, 3)}.</p>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>'
    )


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else math.nan


def _cell(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1f} %"


def _shown(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
