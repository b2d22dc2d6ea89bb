"""Which candidates of a photo become proposals: small, whole, each object once, and a spread of kinds and places.

SOREC's objects fill 0.01 to 0.15 % of their photo and are not cut off by its edge; these are the defaults here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import Field

from piza.boxes import area_xyxy, iou_xyxy
from piza.config import settings
from piza.dataset.candidates import Candidate
from piza.errors import MAX_COUNT, InputError

NESTED = (
    0.85  # of the smaller box, if it is nearly as large: two of one kind, one in the other, are one thing
)
NEARLY = 0.4  # of the larger box's area; a much smaller one is another thing behind or before it
SAME_KIND = 0.97  # what the next thing of a kind is worth, for each that is there already
SAME_PLACE = 0.98  # and the next thing of a ninth of the photo
PLACES = (
    ("upper left", "upper middle", "upper right"),
    ("middle left", "center", "middle right"),
    ("lower left", "lower middle", "lower right"),
)


@settings()
class SelectionConfig:
    """What is kept of a photo's candidates. Shares are parts of the photo's area, 0 to 1."""

    min_share: float = Field(default=0.0001, ge=0, le=1)
    max_share: float = Field(default=0.0015, gt=0, le=1)
    min_side: float = Field(default=12.0, ge=0, le=65535)  # pixels, of the longer side
    edge: float = Field(default=2.0, ge=0, le=65535)  # pixels: what comes nearer to the edge is cut off by it
    duplicate_iou: float = Field(default=0.5, gt=0, le=1)  # boxes that overlap more are of one thing
    min_score: float = Field(default=0.25, ge=0, le=1)  # of `Candidate.worth`
    per_photo: int = Field(default=20, ge=1, le=MAX_COUNT)
    categories: tuple[str, ...] = ()  # only these; none: all
    without: tuple[str, ...] = ("tree", "hedge", "pole")  # scenery, of which no sentence is about one

    def __post_init__(self) -> None:
        if self.min_share >= self.max_share:
            raise InputError(
                f"expected min_share below max_share, got {self.min_share:g} and {self.max_share:g}"
            )


@dataclass(frozen=True)
class Selected:
    """A candidate that becomes a proposal, and why."""

    candidate: Candidate
    because: str


@dataclass
class Selection:
    """What is kept of a photo, best first; and how many of its candidates were dropped for which reason."""

    kept: list[Selected] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def select(candidates: Sequence[Candidate], size: tuple[int, int], config: SelectionConfig) -> Selection:
    """What is kept of the candidates of a photo of (width, height) pixels. The same candidates give the same answer."""
    result = Selection()
    sound: list[Candidate] = []
    for candidate in candidates:
        why = _unsound(candidate, size, config)
        if why:
            result.dropped[why] += 1
        else:
            sound.append(_clipped(candidate, size))
    merged = merge_duplicates(sound, config.duplicate_iou)
    result.dropped["duplicate"] += len(sound) - len(merged)
    left: list[Candidate] = []
    for candidate in merged:
        why = _unfit(candidate, size, config)
        if why:
            result.dropped[why] += 1
        else:
            left.append(candidate)
    result.kept = _spread(left, size, config.per_photo)
    result.dropped["over the limit of the photo"] += len(left) - len(result.kept)
    result.dropped = +result.dropped
    return result


def merge_duplicates(candidates: Sequence[Candidate], duplicate_iou: float) -> list[Candidate]:
    """Each object once, the worthiest first; one of no known category takes that of its best duplicate.

    Duplicates are boxes that overlap by `duplicate_iou`, and boxes of one category of which one lies in the other.
    """
    ordered = sorted(candidates, key=lambda c: (-c.worth, c.xyxy))
    boxes = np.array([c.xyxy for c in ordered], np.float64).reshape(-1, 4)
    areas = area_xyxy(boxes)
    kept: list[Candidate] = []
    places: list[int] = []
    for number, candidate in enumerate(ordered):
        box, others = boxes[number], boxes[places]
        same = iou_xyxy(box, others) > duplicate_iou
        smaller, larger = np.minimum(areas[number], areas[places]), np.maximum(areas[number], areas[places])
        nested = (_shared(box, others) > NESTED * smaller) & (smaller > NEARLY * larger)
        for other in np.flatnonzero(nested & ~same):
            same[other] = kept[other].category == candidate.category
        if not same.any():
            kept.append(candidate)
            places.append(number)
            continue
        first = int(same.argmax())
        if not kept[first].category and candidate.category:
            kept[first] = replace(kept[first], category=candidate.category, attributes=candidate.attributes)
    return kept


def _shared(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    return np.asarray(np.prod(np.maximum(high - low, 0.0), axis=-1))


def _clipped(candidate: Candidate, size: tuple[int, int]) -> Candidate:
    """Rounded to a hundredth pixel, inside the photo."""
    sides = (*size, *size)
    x1, y1, x2, y2 = (
        round(min(max(v, 0.0), float(side)), 2) for v, side in zip(candidate.xyxy, sides, strict=True)
    )
    return replace(candidate, xyxy=(x1, y1, x2, y2))


def _unsound(candidate: Candidate, size: tuple[int, int], config: SelectionConfig) -> str:
    """Why a candidate says nothing; "" if it does."""
    if not np.isfinite(candidate.score) or candidate.worth < config.min_score:
        return "low score"
    x1, y1, x2, y2 = _clipped(candidate, size).xyxy
    return "" if x2 > x1 and y2 > y1 else "no area"


def _unfit(candidate: Candidate, size: tuple[int, int], config: SelectionConfig) -> str:
    """Why a candidate is no proposal; "" if it is one."""
    x1, y1, x2, y2 = candidate.xyxy
    share = (x2 - x1) * (y2 - y1) / (size[0] * size[1])
    if candidate.category in config.without or (
        config.categories and candidate.category not in config.categories
    ):
        return "other category"
    if share > config.max_share:
        return "too large"
    if share < config.min_share or max(x2 - x1, y2 - y1) < config.min_side:
        return "too small"
    if min(x1, y1) < config.edge or x2 > size[0] - config.edge or y2 > size[1] - config.edge:
        return "cut off by the edge"
    return ""


def _spread(candidates: Sequence[Candidate], size: tuple[int, int], limit: int) -> list[Selected]:
    """The best ones, one after the other; what is of a kind or in a place that is there already counts for less."""
    waiting = list(candidates)
    kinds: Counter[str] = Counter()
    places: Counter[str] = Counter()
    of_kind = Counter(candidate.category for candidate in candidates)
    kept: list[Selected] = []
    while waiting and len(kept) < limit:
        worth = [
            c.worth * SAME_KIND ** kinds[c.category] * SAME_PLACE ** places[_place(c, size)] for c in waiting
        ]
        chosen = waiting.pop(int(np.argmax(worth)))
        place = _place(chosen, size)
        kinds[chosen.category] += 1
        places[place] += 1
        x1, y1, x2, y2 = chosen.xyxy
        share = 100 * (x2 - x1) * (y2 - y1) / (size[0] * size[1])
        kept.append(
            Selected(
                chosen,
                f"{share:.3f} % of the photo, not cut off, {_how_sure(chosen)}; choice {len(kept) + 1} of {len(candidates)}: "
                f"{chosen.category or 'thing'} {kinds[chosen.category]} of {of_kind[chosen.category]}, "
                f"{places[place]} in the {place}",
            )
        )
    return kept


def _how_sure(candidate: Candidate) -> str:
    whole = "" if candidate.whole is None else f", one whole thing {candidate.whole:.2f}"
    return f"score {candidate.score:.2f}{whole}"


def _place(candidate: Candidate, size: tuple[int, int]) -> str:
    x1, y1, x2, y2 = candidate.xyxy
    column, row = (
        min(int(3 * (low + high) / 2 / side), 2) for low, high, side in ((x1, x2, size[0]), (y1, y2, size[1]))
    )
    return PLACES[row][column]
