"""Records between the steps as rows, so that `piza data view` can show them."""

import json
from pathlib import Path
from typing import Any

from piza.data.labels.base import bounded_text
from piza.dataset.records import MAX_BYTES, Checked, Described, Proposal, read_records
from piza.errors import InputError

KINDS = {kind.STEP: kind for kind in (Proposal, Described, Checked)}


def values_of_records(path: str | Path) -> list[dict[str, Any]]:
    """The records of a file of proposals, described or checked ones as values of rows (`piza.data.sorec`).

    The sentence is the proposal's category and attributes where there are no others. Raises InputError as `read_records`, and
    for a file of another step.
    """
    kind = kind_of_file(path)
    values = []
    for record in read_records(path, kind):
        sentences = getattr(record, "sentences", ())
        texts = [sentence.text for sentence in sentences]
        row = {
            "image": record.image,
            "bbox": list(record.bbox),
            "ref": " | ".join(texts) or ", ".join([record.category or "thing", *record.attributes]),
            "id": record.id,
            "category": record.category,
            "score": round(record.score, 3),
            "source": record.source,
            "kept because": record.kept_because,
        }
        if isinstance(record, Described):
            row["written by"] = ", ".join(dict.fromkeys(sentence.by for sentence in record.sentences))
        if isinstance(record, Checked):
            row["doubt"] = record.doubt
            row["findings"] = [
                finding.message for sentence in record.sentences for finding in sentence.findings
            ]
        values.append(row)
    return values


def kind_of_file(path: str | Path) -> type[Proposal] | type[Described] | type[Checked]:
    """The class of a file's records, by the step that its first line names. Raises InputError where that is none of them."""
    text = bounded_text(Path(path), "JSON lines of proposals", MAX_BYTES)
    try:
        first = json.loads(next((line for line in text.split("\n") if line.strip()), ""))
    except (ValueError, RecursionError):
        first = None
    step = first.get("step") if isinstance(first, dict) else None
    if step not in KINDS:
        raise InputError(
            f"{str(path)!r}, line 1: expected a record of a step {', '.join(KINDS)}, as `piza data propose` writes it"
        )
    return KINDS[step]
