"""People's decisions, combined: which sentences are settled, how far people agree, and the resulting rows.

The log of decisions is only ever appended to. A person's last decision about a sentence is the one that counts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from piza.boxes import iou_xyxy, xywh_to_xyxy
from piza.config import settings
from piza.dataset.records import NO_CATEGORY, Box, Checked, Decision
from piza.errors import InputError

Key = tuple[str, int]
"""A sentence: the id of its proposal, and its place among the proposal's sentences, from 0."""

KEEP = ("accept", "fix")
CHOICES = ("accept", "fix", "reject")
SAME = 0.999  # IoU of a box with what becomes of it on its way through other programs


@settings()
class Rules:
    """When people agree. reviewers: how many have to, for each sentence. min_iou: of their boxes."""

    reviewers: int = Field(default=2, ge=1, le=9)
    min_iou: float = Field(default=0.5, gt=0, le=1)


class Settled(NamedTuple):
    """Where a sentence stands.

    state: "open" (too few have decided), "disputed" (they disagree, and no two more than the others agree), "kept" or
    "rejected". decision: the one to take text and box of, where it is kept.
    """

    state: Literal["open", "disputed", "kept", "rejected"]
    decision: Decision | None = None


@dataclass(frozen=True)
class Agreement:
    """How far two people agree.

    who: their names. sentences: how many both decided. same: the share with the same choice. kappa: Cohen's, of the three
    choices; None where chance alone would always agree. boxes: how many both kept. iou: the mean IoU of their boxes; None
    without any.
    """

    who: tuple[str, str]
    sentences: int
    same: float
    kappa: float | None
    boxes: int
    iou: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "who": list(self.who), "sentences": self.sentences, "same": self.same, "kappa": self.kappa,
            "boxes": self.boxes, "iou": self.iou,
        }  # fmt: skip


def latest(decisions: Iterable[Decision]) -> dict[Key, dict[str, Decision]]:
    """Each person's last decision about each sentence, by sentence and name; in the order of the log."""
    found: dict[Key, dict[str, Decision]] = defaultdict(dict)
    for decision in decisions:
        own = found[decision.id, decision.sentence]
        own.pop(decision.who, None)  # so that the order is that of the last decisions
        own[decision.who] = decision
    return dict(found)


def settle(decisions: Mapping[str, Decision], rules: Rules) -> Settled:
    """Where one sentence stands after its decisions, by name.

    Two decisions agree where both reject, or both keep it with the same words and boxes of at least `min_iou`. All of
    `reviewers` have to; once they do not, those who agree with each other have to be `reviewers`, and at least two, and
    more than any others. What is kept has the words and the box of the last fix among them, if there is any.
    """
    people = list(decisions.values())
    if len(people) < rules.reviewers:
        return Settled("open")
    groups: list[list[Decision]] = []
    for one in people:
        home = next((group for group in groups if all(agree(one, other, rules) for other in group)), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    groups.sort(key=len, reverse=True)
    tied = len(groups) > 1 and len(groups[0]) == len(groups[1])
    if tied or len(groups[0]) < (rules.reviewers if len(groups) == 1 else max(2, rules.reviewers)):
        return Settled("disputed")
    if groups[0][0].decision == "reject":
        return Settled("rejected")
    fixes = [one for one in groups[0] if one.decision == "fix"]
    return Settled("kept", (fixes or groups[0])[-1])


def agree(a: Decision, b: Decision, rules: Rules) -> bool:
    """Whether two decisions about one sentence come to the same."""
    if "reject" in (a.decision, b.decision):
        return a.decision == b.decision
    return _plain(a.text) == _plain(b.text) and iou_xywh(a.bbox, b.bbox) >= rules.min_iou


def iou_xywh(a: Box, b: Box) -> float:
    """Intersection over union of two boxes [x, y, width, height]."""
    return float(iou_xyxy(xywh_to_xyxy(a), xywh_to_xyxy(b)))


def agreements(decisions: Iterable[Decision]) -> list[Agreement]:
    """For each two people with sentences in common, those with the most first."""
    common: dict[tuple[str, str], list[tuple[Decision, Decision]]] = defaultdict(list)
    for people in latest(decisions).values():
        for a, b in combinations(sorted(people), 2):
            common[a, b].append((people[a], people[b]))
    found = [_agreement(who, pairs) for who, pairs in common.items()]
    return sorted(found, key=lambda one: (-one.sentences, one.who))


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two people's choices about the same things: 1 is full agreement, 0 what chance would give.

    None without a pair, and where both always chose the same one thing, as chance would then agree, too.
    """
    if not pairs:
        return None
    count = len(pairs)
    same = sum(a == b for a, b in pairs) / count
    left, right = (Counter(pair[side] for pair in pairs) for side in (0, 1))
    chance = sum(left[choice] * right[choice] for choice in left) / count**2
    return None if chance == 1 else (same - chance) / (1 - chance)


def _agreement(who: tuple[str, str], pairs: Sequence[tuple[Decision, Decision]]) -> Agreement:
    choices = [(a.decision, b.decision) for a, b in pairs]
    kept = [iou_xywh(a.bbox, b.bbox) for a, b in pairs if a.decision in KEEP and b.decision in KEEP]
    return Agreement(
        who,
        len(pairs),
        sum(a == b for a, b in choices) / len(pairs),
        cohens_kappa(choices),
        len(kept),
        float(np.mean(kept)) if kept else None,
    )


def check_decisions(decisions: Iterable[Decision], records: Sequence[Checked], source: str) -> None:
    """Raise InputError for a decision about a sentence that is not among the records, or reads there otherwise than it did when it
    was accepted or rejected, and for a box outside of its photo.

    source: the name of the log, for the message.
    """
    known = {record.id: record for record in records}
    for number, one in enumerate(decisions, start=1):
        where = f"{source}, decision {number}"
        record = known.get(one.id)
        if record is None:
            raise InputError(
                f"{where} is about the proposal {one.id!r}, which the checked sentences do not hold: is it another set's log?"
            )
        if one.sentence >= len(record.sentences):
            raise InputError(
                f"{where} is about sentence {one.sentence} of {one.id!r}, which has {len(record.sentences)}, counted from 0"
            )
        asked = record.sentences[one.sentence].text
        if one.decision != "fix" and (
            _plain(one.text) != _plain(asked) or iou_xywh(one.bbox, record.bbox) < SAME
        ):
            raise InputError(
                f"{where} {one.decision}s {one.text!r:.80}, but the sentence or its box is another one now, {asked!r:.80}: is it "
                "another set's log, or was the file changed since?"
            )
        if one.decision in KEEP:
            try:
                check_kept(one, record)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None


def check_kept(decision: Decision, record: Checked) -> None:
    """Raise InputError where what is kept of a sentence has no words, or a box that is none in its photo."""
    from piza.dataset.records import check_box

    if not decision.text.strip():
        raise InputError("the sentence is empty; reject it, or write one")
    check_box(decision.bbox, (record.width, record.height))


def states(records: Sequence[Checked], decisions: Iterable[Decision], rules: Rules) -> dict[Key, Settled]:
    """Where each sentence of the records stands, in their order."""
    decided = latest(decisions)
    keys = [(record.id, place) for record in records for place in range(len(record.sentences))]
    return {key: settle(decided.get(key, {}), rules) for key in keys}


def rows(records: Sequence[Checked], decisions: Iterable[Decision], rules: Rules) -> list[dict[str, Any]]:
    """The rows of what was kept, in SOREC's format and the order of the records; ids count from 1.

    Boxes are rounded to whole pixels, as SOREC's are, and stay inside of their photos. Each row has its proposal's `category`
    besides, "unknown" where that has none: SOREC's layout tells its two test parts apart by it.
    """
    found = states(records, decisions, rules)
    kept: list[dict[str, Any]] = []
    for record in records:
        for place in range(len(record.sentences)):
            decision = found[record.id, place].decision
            if decision is not None:
                box = whole_pixels(decision.bbox, (record.width, record.height))
                kept.append(
                    {
                        "image": record.image, "bbox": box, "ref": _plain(decision.text), "id": len(kept) + 1,
                        "category": record.category or NO_CATEGORY,
                    }
                )  # fmt: skip
    return kept


def whole_pixels(bbox: Box, size: tuple[int, int]) -> list[int]:
    """A box [x, y, width, height] with its edges at the nearest whole pixels of a photo of `size`, at least one pixel wide
    and high."""
    x, y, width, height = bbox
    left, top = min(round(x), size[0] - 1), min(round(y), size[1] - 1)
    right, bottom = (
        max(min(round(x + width), size[0]), left + 1),
        max(min(round(y + height), size[1]), top + 1),
    )
    return [left, top, right - left, bottom - top]


def _plain(text: str) -> str:
    return " ".join(text.split())
