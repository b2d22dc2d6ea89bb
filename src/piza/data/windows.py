"""Training windows: parts of frames, each with sentences and the boxes to predict.

Three kinds are taught. `grounding_window`: any part of a frame; the answers are the objects themselves (a base model).
`first_window`: the whole frame; the answer is the next window of each target's path, or the object. `later_window`: a window
of a path as the model might have predicted it; the answer is the next box. Some sentences of a later window are about objects
that are not in it, and some later windows lie around the wrong object, so that a low score comes to mean "not here".

All boxes are xyxy in pixels of the frame, unless a docstring says otherwise.
"""

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from piza.boxes import clip_xyxy
from piza.config import PathConfig
from piza.data.frames import Annotation, Frame
from piza.image import cut
from piza.search.zoom_path import frame_window, jitter_window, plan_windows, side, square_window

Box = NDArray[np.float64]

MAX_PHRASE_BOXES = 6  # phrases that are true of more objects in a window are not taught in it
COMPARING_WEIGHT = (
    2.0  # how much likelier a comparing sentence is drawn: they are rare, and the slowest to be learned
)


@dataclass
class TrainingWindow:
    """One window with what is to be predicted in it. All boxes are xyxy in pixels of the frame.

    Attributes:
        window: (4,) the part of the frame that is shown.
        progress: how far along the search is, 0 (the frame) to 1.
        sentences: one a block of the prompt. A sentence that no answer belongs to is true of nothing in the window.
        block, answer, target: of equal length, one entry an answer: the index of its sentence, the box to predict (the next
            window of a path, or the object), and the box of the object itself.
        relevance: for each sentence (m, 3) what the objects of the frame are to it, None where it is not known.
    """

    frame: Frame
    window: Box
    progress: float
    sentences: list[str] = field(default_factory=list)
    block: list[int] = field(default_factory=list)
    answer: list[Box] = field(default_factory=list)
    target: list[Box] = field(default_factory=list)
    relevance: list[NDArray[np.float64] | None] = field(default_factory=list)

    def add(
        self,
        sentence: str,
        answers: list[Box],
        targets: list[Box],
        relevance: NDArray[np.float64] | None = None,
    ) -> None:
        """Add a sentence with its answers and, in the same order, the objects they lead to; none where it is absent."""
        self.sentences.append(sentence)
        self.relevance.append(relevance)
        self.block += [len(self.sentences) - 1] * len(answers)
        self.answer += answers
        self.target += targets

    def normalized(self, boxes: list[Box]) -> NDArray[np.float32]:
        """Boxes xyxy in pixels of the frame as (n, 4) cxcywh normalized to the window."""
        found = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        origin, size = np.tile(self.window[:2], 2), np.tile(self.window[2:] - self.window[:2], 2)
        found = (found - origin) / size
        return np.concatenate([(found[:, :2] + found[:, 2:]) / 2, found[:, 2:] - found[:, :2]], 1).astype(
            np.float32
        )

    def pixels(self, size: tuple[int, int], rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
        """The window resized to (width, height), as (height, width, 3) uint8 RGB; with `rng`, photometrically augmented."""
        image = cut(self.frame.image, self.window, size)
        return image if rng is None else photometric_augmentation(image, rng)


def photometric_augmentation(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Vary brightness, contrast, saturation, tint and noise, mildly enough that the names of colors stay true.

    (height, width, 3) uint8 RGB to the same.
    """
    x = image.astype(np.float32)
    if rng.random() < 0.8:
        gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.04, 3))
        gray = x.mean(2, keepdims=True)
        middle = float(gray.mean())
        saturation = np.exp(rng.normal(0, 0.2))
        contrast = np.exp(rng.normal(0, 0.15))
        x = (gray + (x - gray) * saturation - middle) * contrast + middle + rng.normal(0, 10)
        x = x * gain.astype(np.float32)
    if rng.random() < 0.3:
        x = x + rng.normal(0, rng.uniform(1, 8), x.shape[:2] + (1,)).astype(np.float32)
    return np.clip(x, 0, 255).astype(np.uint8)


def grounding_window(
    frame: Frame,
    rng: np.random.Generator,
    window: Box,
    min_side: float,
    max_sentences: int = 8,
    sentence_share: float = 0.5,
    absent_share: float = 0.25,
) -> TrainingWindow:
    """Phrases and sentences about a window; the answers are the objects.

    About `absent_share` of them are true of nothing in it, preferably such that share words with what is there ("red
    cone" beside "blue cone"). Objects under `min_side` pixels (root of the visible area) are left out, and so are phrases with
    objects at the window's edge. `sentence_share`: how often a whole sentence is preferred to a phrase.
    """
    texts: list[tuple[str, Box, int]] = [
        (sentence, box[None], number) for sentence, box, number in frame.rows
    ]
    texts += [(phrase, boxes, -1) for phrase, boxes in frame.phrases]
    present: list[tuple[float, str, list[Box]]] = []
    absent: list[str] = []
    used: set[int] = set()
    visible = _visible_boxes([boxes for _, boxes, _ in texts], window, min_side)
    for i in rng.permutation(len(texts)):
        text, _, number = texts[i]
        here = visible[i]
        if number in used or here is None or len(here) > MAX_PHRASE_BOXES:
            continue
        if number >= 0:
            used.add(number)
        if here:
            wish = 1.0 if (number >= 0) == (rng.random() < sentence_share) else 0.0
            present.append((wish + rng.random(), text, here))
        else:
            absent.append(text)
    count = int(rng.integers(1, max_sentences + 1))
    chosen = [(text, here) for _, text, here in sorted(present, key=lambda item: -item[0])]
    num_absent = round(count * absent_share + rng.uniform(-0.5, 0.5))
    absent = _by_shared_words(absent, [text for text, _ in chosen], rng)
    result = TrainingWindow(frame, window, progress=0.0)
    for text, here in chosen[: max(1, count - num_absent)]:
        result.add(text, here, here)
    for text in absent[: max(0, num_absent)]:
        result.add(text, [], [])
    return result


def _visible_boxes(groups: list[Box], window: Box, min_side: float) -> list[list[Box] | None]:
    """For each group of boxes (n, 4) those that the window shows, clipped to it; None where one is neither in nor out."""
    counts = [len(boxes) for boxes in groups]
    boxes = np.concatenate(groups)
    overlap = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    share = np.clip(overlap, 0, None).prod(1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-9)
    shown = clip_xyxy(boxes, window)
    doubtful = (share > 0.05) & (share < 0.7)
    doubtful |= (share >= 0.7) & (np.sqrt((shown[:, 2:] - shown[:, :2]).prod(1)) < min_side)
    visible: list[list[Box] | None] = []
    for end, count in zip(np.cumsum(counts), counts, strict=True):
        part = slice(end - count, end)
        visible.append(None if doubtful[part].any() else list(shown[part][share[part] >= 0.7]))
    return visible


def _by_shared_words(absent: list[str], present: list[str], rng: np.random.Generator) -> list[str]:
    """Absent sentences, those first that share the most words with the present ones; nearly equal ones by chance."""
    words = {word for text in present for word in text.lower().split()} - _COMMON

    def order(text: str) -> float:
        own = text.lower().split()
        return float(-len(words & set(own)) / (4 + len(own)) - 0.1 * rng.random())

    return sorted(absent, key=order)


_WORD = re.compile(r"\w+")
_COMMON = frozenset("a an the of in on to is that which with and its it for at by this there".split())


def window_around(
    box: Box,
    frame_size: tuple[int, int],
    rng: np.random.Generator,
    min_width: float,
    max_width: float,
    aspect: float,
) -> Box:
    """A window with `box` somewhere in it, `min_width` to `max_width` pixels wide as far as the frame of (width, height)
    allows, width / height = `aspect`."""
    limit = min(frame_size[0], frame_size[1] * aspect)
    width = float(np.exp(rng.uniform(np.log(min(min_width, limit)), np.log(min(max_width, limit)))))
    size = np.array([width, width / aspect])
    free = np.maximum(size - (box[2:] - box[:2]), 0)
    corner = np.clip(box[:2] - rng.uniform(0, 1, 2) * free, 0, np.array(frame_size) - size)
    return np.asarray(clip_xyxy(np.concatenate([corner, corner + size]), frame_window(frame_size)))


# What a cut may make untrue of an object it shows: places in the image, and counting.
_OF_THE_FRAME = re.compile(r"\b(scene|picture|image|first|second|third|fourth|fifth)\b")
# And true of an object that was not meant: being the extreme.
_EXTREME = re.compile(r"\b(\w+most|\w+est|last)\b")
_ORDINAL = re.compile(r"\b(first|second|third|fourth|fifth)\b")


def compares(sentence: str) -> bool:
    """Whether a sentence tells its object by a superlative or an ordinal."""
    return bool(_EXTREME.search(sentence) or _ORDINAL.search(sentence))


def part_of(frame: Frame, window: tuple[int, int, int, int]) -> Frame:
    """A window (x0, y0, x1, y1 in pixels) as a frame of its own, with the sentences that stay true in it.

    What is the only one, the nearest or the leftmost of a frame is so in every part that shows it. A sentence that is true
    of one object outside is true of nothing inside, unless it names an extreme.
    """
    x0, y0, x1, y1 = window
    rows: list[Annotation] = []
    absent: list[str] = []
    relevance: list[NDArray[np.float64]] = []
    for index, (sentence, box, number) in enumerate(frame.rows):
        if _OF_THE_FRAME.search(sentence):
            continue
        inside = box[0] >= x0 + 2 and box[1] >= y0 + 2 and box[2] <= x1 - 2 and box[3] <= y1 - 2
        outside = box[0] >= x1 or box[1] >= y1 or box[2] <= x0 or box[3] <= y0
        if inside:
            rows.append((sentence, box - np.array([x0, y0, x0, y0]), number))
            relevance += frame.relevance[index : index + 1]
        elif outside and not _EXTREME.search(sentence):
            absent.append(sentence)
    absent += [
        sentence
        for sentence in frame.absent
        if not _OF_THE_FRAME.search(sentence) and not _EXTREME.search(sentence)
    ]
    objects = frame.objects - np.array([x0, y0, x0, y0])
    return Frame(frame.image[y0:y1, x0:x1], rows, [], absent, objects, relevance, frame.attributes)


def first_window(
    frame: Frame,
    rng: np.random.Generator,
    config: PathConfig,
    whole: bool = False,
    max_sentences: int = 8,
    absent_share: float = 0.2,
) -> TrainingWindow:
    """The whole frame and at most `max_sentences`; the answer to each is the next window of its path, or the object where
    the path is configured so or `whole` is set.

    One sentence about each object comes before second ones; sentences that compare come `COMPARING_WEIGHT` times as likely.
    `absent_share` of them are true of nothing, if the frame has such.
    """
    result = TrainingWindow(frame, frame_window(frame.size), progress=0.0)
    num_absent = min(len(frame.absent), round(max_sentences * absent_share + rng.uniform(-0.5, 0.5)))
    times_used: dict[int, int] = {}  # by object, less one
    order: list[tuple[int, int]] = []
    weight = [COMPARING_WEIGHT if compares(sentence) else 1.0 for sentence, _, _ in frame.rows]
    # Exponential luck, so that a sentence's chance to come first is in proportion to its weight.
    for index in np.argsort(rng.exponential(size=len(frame.rows)) / weight):
        number = frame.rows[index][2]
        times_used[number] = times_used.get(number, -1) + 1
        order.append((times_used[number], int(index)))
    for _, index in sorted(order, key=lambda item: item[0])[: max(1, max_sentences - num_absent)]:
        sentence, box, _ = frame.rows[index]
        tight = whole or config.answers == "object"
        answer = box if tight else plan_windows(box, frame.size, config)[1]
        result.add(sentence, [answer], [box], frame.relevance[index] if frame.relevance else None)
    for index in rng.permutation(len(frame.absent))[:num_absent]:
        result.add(frame.absent[index], [], [])
    return result


def later_window(
    frame: Frame,
    rng: np.random.Generator,
    config: PathConfig,
    max_sentences: int = 5,
    wrong_share: float = 0.35,
) -> TrainingWindow:
    """A window after the first, on the path of a random sentence's target.

    With `wrong_share`, the last window of a path is around another object than the sentence's, mostly around one that is
    described in much the same words: that is where a first look goes wrong.
    """
    own = frame.rows[int(rng.integers(len(frame.rows)))]
    _, target, number = own
    windows = plan_windows(target, frame.size, config)
    step = int(rng.integers(1, len(windows)))
    last = step == len(windows) - 1
    others = [frame.rows[i] for i in rng.permutation(len(frame.rows)) if frame.rows[i][2] != number]
    progress = step / len(windows) + (rng.uniform(-0.1, 0.1) if rng.random() < 0.5 else 0.0)
    if others and last and rng.random() < wrong_share:
        alike = rng.random() < 0.7
        center = _look_alike(frame, own, rng) if alike else others[0][1]
        middle = (float(center[[0, 2]].mean()), float(center[[1, 3]].mean()))
        ideal = square_window(middle, side(windows[step]), frame.size)
        window = jitter_window(ideal, center, frame.size, rng)
    else:
        window = jitter_window(windows[step], target, frame.size, rng)
    result = TrainingWindow(frame, window, progress=float(np.clip(progress, 0.05, 1.0)))
    _add_sentences(
        result, [own, *others], step, len(windows), config, int(rng.integers(1, max_sentences + 1))
    )
    return result


def told_window(
    frame: Frame,
    row: int,
    rival: Box,
    rng: np.random.Generator,
    config: PathConfig,
    max_sentences: int = 5,
) -> TrainingWindow:
    """A last window around `rival`, an object that a sentence's target may be taken for; the sentence is that of `row`.

    Where the window shows the target as well, that is the answer; where it does not, the sentence is true of nothing in it.
    """
    own = frame.rows[row]
    windows = plan_windows(rival, frame.size, config)
    step = len(windows) - 1
    window = jitter_window(windows[-1], rival, frame.size, rng)
    progress = step / len(windows) + (rng.uniform(-0.1, 0.1) if rng.random() < 0.5 else 0.0)
    result = TrainingWindow(frame, window, progress=float(np.clip(progress, 0.05, 1.0)))
    others = [frame.rows[i] for i in rng.permutation(len(frame.rows)) if frame.rows[i][2] != own[2]]
    count = int(rng.integers(1, max_sentences + 1))
    _add_sentences(result, [own, *others], step, len(windows), config, count)
    return result


def _add_sentences(
    window: TrainingWindow,
    rows: list[Annotation],
    step: int,
    path_length: int,
    config: PathConfig,
    count: int,
) -> None:
    """Add up to `count` of the sentences that a window at `step` of a path can be asked for, one an object; the first row is
    the one the path belongs to. At most two of the others are absent."""
    frame_size, path_owner = window.frame.size, rows[0][2]
    last = step == path_length - 1
    used: set[int] = set()
    absent_left = 2
    for sentence, box, number in rows:
        share = _share_inside(box, window.window)
        if number in used or len(window.sentences) >= count or 0.02 < share < 0.95:
            continue
        if share >= 0.95:
            planned = plan_windows(box, frame_size, config)
            ratio = side(window.window) / side(planned[step]) if step < len(planned) else 0.0
            if number != path_owner and not (len(planned) == path_length and 0.5 < ratio < 2.0):
                continue  # of another size: this window is not one of its path
            tight = last or config.answers == "object"
            answer = clip_xyxy(box if tight else planned[step + 1], window.window)
            window.add(sentence, [answer], [clip_xyxy(box, window.window)])
        elif number == path_owner or absent_left > 0:
            absent_left -= number != path_owner
            window.add(sentence, [], [])
        else:
            continue
        used.add(number)


def _share_inside(box: Box, window: Box) -> float:
    """Share of the box's area that lies in the window."""
    low, high = np.maximum(box[:2], window[:2]), np.minimum(box[2:], window[2:])
    area = float((box[2:] - box[:2]).prod())
    return float(np.clip(high - low, 0, None).prod()) / max(area, 1e-9)


def _look_alike(frame: Frame, row: Annotation, rng: np.random.Generator) -> Box:
    """The box of another object that the same phrase is true of, the phrase being as narrow as there is; without
    phrases, of the object whose sentence shares the most words."""
    sentence, target, number = row
    narrow = sorted((boxes for _, boxes in frame.phrases if len(boxes) > 1), key=len)
    for boxes in narrow:
        same = np.abs(boxes - target).max(1) < 2
        if same.any() and not same.all():
            return np.asarray(boxes[rng.choice(np.flatnonzero(~same))])
    words = set(_WORD.findall(sentence.lower())) - _COMMON
    others = [
        (box, set(_WORD.findall(other.lower())) - _COMMON) for other, box, own in frame.rows if own != number
    ]
    return max(others, key=lambda other: len(words & other[1]) / max(1, len(words | other[1])))[0]
