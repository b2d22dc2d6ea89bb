"""Checks of rows that exist: which of them are most likely wrong, and why.

Every row is compared with the rules of language and with its neighbors, the other rows about its photo; where the photos
are there, a grounder is asked as well.
"""

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from piza.boxes import iou_xyxy
from piza.config import settings
from piza.data.check import OTHER_BOXES, check
from piza.data.sorec import Row, canonical_name, find_image, read_rows
from piza.data.view import write_page
from piza.dataset.doubt import doubt_of, is_comparison
from piza.dataset.grounding import SAME, Asker
from piza.dataset.language_rules import LanguageRules, joined, language_findings
from piza.dataset.machine_check import twin_finding
from piza.dataset.near_duplicates import content, twins
from piza.dataset.records import Finding, RecordWriter, Text
from piza.errors import InputError, InputWarning
from piza.image import open_image

COVERED, ALMOST, FILE, OUTSIDE = "said of another, too", "nearly one box", "file", "box outside"
COVERED_GRAVE, ALMOST_GRAVE, TWO_BOXES_IOU = 0.4, 0.3, 0.7
OWN_RULES = ("float box", "extra field", "no final dot", "inner dot or question mark", "duplicate row")
"""Kinds of `piza.data.check` that say nothing against a row's meaning, or that are found here."""


@settings()
class Audited:
    """The doubts about one row. row: its number in the file, from 1. doubt: 0 to 1."""

    STEP: ClassVar[str] = "audit"

    row: int
    image: Text
    doubt: float
    findings: tuple[Finding, ...]


@dataclass
class Audit:
    """The rows of a file with the doubts about them. ranked: the most doubtful first."""

    rows: Sequence[Row]
    ranked: list[Audited] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows have each kind of finding, the most first."""
        found = Counter(kind for one in self.ranked for kind in {finding.kind for finding in one.findings})
        return dict(found.most_common())

    @property
    def doubted(self) -> int:
        """How many rows have any finding."""
        return sum(bool(one.findings) for one in self.ranked)


def audit(
    path: str | Path,
    images_dir: str | Path | None = None,
    asker: Asker | None = None,
    rules: LanguageRules = LanguageRules(),  # noqa: B008
    log: str | Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Check a file of rows.

    Args:
        path: the rows, in SOREC's format.
        images_dir: the folder of their photos; None: only the checks that need none.
        asker: a grounder that every sentence is asked of; needs the photos.
        rules: what sentences should be like.
        log: a file of JSON lines, `Audited`, which a run that was stopped goes on with.
        progress: called with photos done, and all.

    Raises:
        InputError: for a file without rows, a photo that is not there, and a log of other rows or settings.
    """
    if asker is not None and images_dir is None:
        raise InputError("a model needs the folder of the photos (--images) to be asked about rows")
    rows = read_rows(path)
    photos: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        photos[canonical_name(row.image)].append(number)
    if images_dir is not None:
        for places in photos.values():
            find_image(images_dir, rows[places[0]].image)
    findings = _without_photos(rows, photos, rules)
    for fault in check(path, images_dir).findings:
        if fault.fault.kind == OTHER_BOXES:  # of the file, not of a row
            warnings.warn(fault.fault.message, InputWarning, stacklevel=2)
        elif fault.fault.kind not in OWN_RULES:
            kind = OUTSIDE if fault.fault.kind == "box outside its image" else FILE
            findings[fault.row - 1].append(Finding(kind, 1.0, fault.fault.message))
    result = Audit(rows)
    with ExitStack() as open_files:
        writer = None
        if log is not None:
            digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
            made_with = {"rows": digest, "asked": asker.name if asker else None, **asdict(rules)}
            made_with["photos"] = images_dir is not None
            writer = open_files.enter_context(RecordWriter(log, Audited, made_with))
            result.ranked += writer.existing
        done = {one.row for one in result.ranked}
        waiting: list[Audited] = []
        for count, places in enumerate(photos.values(), start=1):
            if not all(place + 1 in done for place in places):
                found = _photo(rows, places, findings, images_dir, asker)
                waiting += [one for one in found if one.row not in done]
            if waiting and (asker is not None or count == len(photos)):  # without a model it is done at once
                if writer is not None:
                    writer.write(*waiting)
                result.ranked += waiting
                waiting = []
            progress(count, len(photos))
    result.ranked.sort(key=lambda one: (-one.doubt, one.row))
    return result


def write_audit_page(found: Audit, images_dir: str | Path, out: str | Path, count: int, title: str) -> int:
    """Write a page of the most doubtful rows, as `piza data view` does; returns how many it shows."""
    shown = [one for one in found.ranked if one.findings][:count]
    rows = []
    for one in shown:
        row = found.rows[one.row - 1]
        doubts = {"doubt": round(one.doubt, 3), "because": joined(one.findings)}
        rows.append((one.row, replace(row, extra={**doubts, **row.extra})))
    write_page(rows, images_dir, out, title)
    return len(rows)


def _without_photos(
    rows: Sequence[Row], photos: dict[str, list[int]], rules: LanguageRules
) -> list[list[Finding]]:
    """What the rules of language and the neighbors say of each row."""
    texts = [row.expression for row in rows]
    findings = [language_findings(text, rules) for text in texts]
    photo_of = [canonical_name(row.image) for row in rows]
    for twin in twins(texts, photo_of, [row.box_xyxy for row in rows]):
        close = _iou(rows[twin.first], rows[twin.second]) >= SAME
        for own, other in ((twin.first, twin.second), (twin.second, twin.first)):
            if twin.same_thing and own == twin.first:
                continue  # one of the two may stay
            found = twin_finding(twin._replace(same_thing=twin.same_thing or close), texts[other])
            if not twin.same_thing and any(one.kind == found.kind for one in findings[own]):
                continue
            findings[own].append(replace(found, message=f"row {other + 1}: {found.message}"))
    for places in photos.values():
        _compare_neighbors(rows, places, findings)
    return findings


def _compare_neighbors(rows: Sequence[Row], places: Sequence[int], findings: list[list[Finding]]) -> None:
    """Sentences that say nothing beyond what is said of another object; boxes that are nearly the same."""
    said = {place: set(content(rows[place].expression)) for place in places}
    boxes = np.array([rows[place].box_xyxy for place in places], float)
    for own in places:
        overlaps = iou_xyxy(rows[own].box_xyxy, boxes).tolist()
        for other, iou in zip(places, overlaps, strict=True):
            if own == other or rows[own].box_xyxy == rows[other].box_xyxy:
                continue
            if own > other and iou >= TWO_BOXES_IOU:
                message = f"row {other + 1}: has nearly the same box (IoU {iou:.2f}), so one of them is not well drawn"
                findings[own].append(Finding(ALMOST, ALMOST_GRAVE, message))
            less = said[own] < said[other] and iou < SAME
            if less and not is_comparison(rows[own].expression):
                message = f"row {other + 1}: says all of this, and more, of another thing"
                findings[own].append(Finding(COVERED, COVERED_GRAVE, message))


def _photo(
    rows: Sequence[Row],
    places: Sequence[int],
    findings: list[list[Finding]],
    images_dir: str | Path | None,
    asker: Asker | None,
) -> list[Audited]:
    doubts = dict.fromkeys(places, 0.0)
    own = {place: list(findings[place]) for place in places}
    if asker is not None and images_dir is not None:
        image = open_image(find_image(images_dir, rows[places[0]].image))
        answers = asker.ask(image, [(rows[place].expression, rows[place].box_xyxy) for place in places])
        for place, looks in zip(places, answers, strict=True):
            doubts[place], finding = doubt_of(rows[place].expression, rows[place].box_xyxy, looks)
            own[place] += [finding] if finding else []
    audited = []
    for place in places:
        found = tuple(sorted(own[place], key=lambda one: -one.score))
        doubt = max([doubts[place], *(finding.score for finding in found)])
        audited.append(Audited(place + 1, rows[place].image, round(doubt, 4), found))
    return audited


def _iou(a: Row, b: Row) -> float:
    return float(iou_xyxy(a.box_xyxy, b.box_xyxy))
