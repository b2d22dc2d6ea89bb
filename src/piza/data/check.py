"""Looking for what is wrong with a file of rows in SOREC's format: all of it, not only the first fault."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piza.boxes import reaches_out
from piza.data.box_formats import BoxFormat, doubt_of, read_list_with_boxes
from piza.data.sizes import read_sizes
from piza.data.sorec import (
    CATEGORY,
    FIELDS,
    Fault,
    canonical_name,
    missing,
    row_faults,
    show,
    without_collector,
)

# What a model can live with; all other kinds are errors.
NO_DOT, INNER_DOT, TWO_BOXES = "no final dot", "inner dot or question mark", "one sentence, two boxes"
OTHER_BOXES = "boxes that look like another format"
WARNINGS = (NO_DOT, INNER_DOT, TWO_BOXES, OTHER_BOXES)

ADVICE = {
    NO_DOT: 'does not end with "."',
    INNER_DOT: "would be cut in two by grounding models",
}


@dataclass(frozen=True)
class Finding:
    """One fault. row: its number in the file, from 1."""

    row: int
    fault: Fault

    @property
    def level(self) -> str:
        """Either "warning" or "error"."""
        return "warning" if self.fault.kind in WARNINGS else "error"


@dataclass(frozen=True)
class Report:
    """The findings in one file. images: how many the rows name. sizes_known: whether boxes were compared with images."""

    file: str
    rows: int
    images: int
    sizes_known: bool
    findings: Sequence[Finding]

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.level == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return len(self.findings) - self.errors

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `findings` holds every one, with row, field, kind, level and message."""
        return {
            "file": self.file,
            "rows": self.rows,
            "images": self.images,
            "images_checked": self.sizes_known,
            "errors": self.errors,
            "warnings": self.warnings,
            "counts": dict(Counter(finding.fault.kind for finding in self.findings)),
            "findings": [
                {"row": finding.row, "level": finding.level, **finding.fault._asdict()}
                for finding in self.findings
            ],
        }


def check(
    path: str | Path,
    images_dir: str | Path | None = None,
    boxes: BoxFormat = BoxFormat(),  # noqa: B008
) -> Report:
    """Check a file of rows, and with `images_dir` that each image is there and holds its boxes.

    SOREC's own habits are the measure: exactly the fields image, bbox, ref and id, boxes in whole pixels, nothing
    twice; a category, as rows made here have it, is no fault. Images are not decoded, only their sizes are read. `boxes`: how they are written; the findings are about them as they are
    read. Raises InputError when the file holds no JSON list, or
    there is no such folder.
    """
    with without_collector():
        content = read_list_with_boxes(path, images_dir, boxes)
        findings: list[Finding] = []
        sound: list[tuple[int, dict[str, Any]]] = []
        for number, values in enumerate(content, start=1):
            faults = row_faults(values)
            if not faults:
                sound.append((number, values))
            if isinstance(values, dict):
                faults += _habits(values)
            findings += [Finding(number, fault) for fault in faults]
        findings += _duplicates(content, sound) + _spellings(sound)
        images = {row["image"]: None for _, row in sound}
        if images_dir is not None:
            findings += _against_images(sound, images_dir, str(path), boxes)
    findings.sort(key=lambda finding: finding.row)
    return Report(str(path), len(content), len(images), images_dir is not None, findings)


def describe(report: Report, examples: int = 3) -> str:
    """The report for people: how much of what, and the first few of each kind with row and field."""
    state = "" if report.sizes_known else " (not looked for: no folder of images was given)"
    lines = [
        f"{report.file}",
        f"rows      {report.rows}",
        f"images    {report.images}{state}",
        f"errors    {report.errors}",
        f"warnings  {report.warnings}",
    ]
    by_kind: dict[str, list[Finding]] = {}
    for finding in report.findings:
        by_kind.setdefault(finding.fault.kind, []).append(finding)
    for kind, found in sorted(by_kind.items(), key=lambda item: (item[0] in WARNINGS, -len(item[1]))):
        lines.append(f"\n{found[0].level}: {kind} ({len(found)})")
        lines += [f"  row {f.row}, {f.fault.field}: {_short(f.fault.message)}" for f in found[:examples]]
        if len(found) > examples:
            lines.append(f"  ... and {len(found) - examples} more")
    return "\n".join(lines)


def _habits(values: dict[str, Any]) -> list[Fault]:
    """Deviations from what SOREC does in every row, though the readers here accept them."""
    faults = [] if "id" in values else [missing("id")]
    if len(values) > len(FIELDS) - len(faults):
        for field in values:
            if field == CATEGORY:
                if not isinstance(values[field], str) or not values[field].strip():
                    faults.append(
                        Fault(
                            field,
                            "wrong value",
                            f"expected the name of a category, got {show(values[field])}",
                        )
                    )
            elif field not in FIELDS:
                faults.append(Fault(field, "extra field", f"SOREC has no field {show(field)}"))
    bbox = values.get("bbox")
    if isinstance(bbox, list) and any(isinstance(v, float) for v in bbox):
        faults.append(
            Fault("bbox", "float box", f"SOREC's boxes are in whole pixels, this one is {show(bbox)}")
        )
    sentence = values.get("ref")
    if isinstance(sentence, str) and sentence.strip():
        sentence = sentence.strip()
        if not sentence.endswith("."):
            faults.append(Fault("ref", NO_DOT, f"{ADVICE[NO_DOT]}: {json.dumps(sentence[-60:])}"))
        inner = sentence.removesuffix(".")
        if "." in inner or "?" in inner:
            at = max(min(inner.find(mark) for mark in ".?" if mark in inner) - 30, 0)
            near = json.dumps(inner[at : at + 60])
            faults.append(Fault("ref", INNER_DOT, f"{ADVICE[INNER_DOT]}: {near}"))
    return faults


def _duplicates(content: list[Any], sound: list[tuple[int, dict[str, Any]]]) -> list[Finding]:
    findings = []
    rows: dict[tuple[Any, ...], int] = {}
    boxes: dict[tuple[Any, ...], int] = {}
    for number, row in sound:
        box, about = tuple(row["bbox"]), (row["image"], row["ref"])
        first = rows.setdefault((*about, box), number)
        other = boxes.setdefault(about, number)
        if first != number:
            message = f"same image, box and sentence as row {first}"
            findings.append(Finding(number, Fault("row", "duplicate row", message)))
        elif other != number:
            message = f"same image and sentence as row {other}, but another box"
            findings.append(Finding(number, Fault("ref", TWO_BOXES, message)))
    ids: dict[Any, int] = {}
    for number, row in enumerate(content, start=1):
        identity = row.get("id") if isinstance(row, dict) else None
        if isinstance(identity, (int, str)) and not isinstance(identity, bool):
            first = ids.setdefault(identity, number)
            if first != number:
                message = f"{show(identity)} is the id of row {first} too"
                findings.append(Finding(number, Fault("id", "duplicate id", message)))
    return findings


def _spellings(sound: list[tuple[int, dict[str, Any]]]) -> list[Finding]:
    """Names of images that are one file in several spellings, such as a.jpg and ./a.jpg: once for each further one."""
    findings = []
    first: dict[str, tuple[str, int]] = {}
    names: set[str] = set()
    for number, row in sound:
        name = row["image"]
        other, at = first.setdefault(canonical_name(name), (name, number))
        if name != other and name not in names:
            message = f"{show(name)} and, in row {at}, {show(other)} are one image in two spellings"
            findings.append(Finding(number, Fault("image", "two spellings", message)))
        names.add(name)
    return findings


def _against_images(
    sound: list[tuple[int, dict[str, Any]]], images_dir: str | Path, source: str, boxes: BoxFormat
) -> list[Finding]:
    """Images that cannot be read, once each, and boxes that reach out of theirs; or, once, that all look like others."""
    first_rows: dict[str, int] = {}
    counts: Counter[str] = Counter()
    for number, row in sound:
        first_rows.setdefault(row["image"], number)
        counts[row["image"]] += 1
    sizes, reasons = read_sizes(first_rows, images_dir)
    findings = []
    for image, why in reasons.items():
        message = f"{why} ({counts[image]} row{'s' * (counts[image] > 1)})"
        findings.append(Finding(first_rows[image], Fault("image", "no image", message)))
    for number, row in sound:
        if row["image"] not in sizes:
            continue
        width, height = sizes[row["image"]]
        x, y, w, h = row["bbox"]
        if reaches_out(row["bbox"], (width, height)):
            message = f"the box {show(row['bbox'])} reaches to {x + w}, {y + h}, but the image is {width} x {height}"
            findings.append(Finding(number, Fault("bbox", "box outside its image", message)))
    if doubt := doubt_of([row for _, row in sound], sizes, source, boxes):
        findings.append(Finding(sound[0][0], Fault("bbox", OTHER_BOXES, doubt)))
    return findings


def _short(message: str) -> str:
    return message if len(message) <= 160 else f"{message[:157]}..."
