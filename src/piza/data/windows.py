"""Training samples: windows cut from frames, each with sentences and the boxes to answer.

Three kinds of look are taught. `ground_look`: any window, answer the things themselves (the base model).
`first_look`: the whole frame, answer the next window of each target's path. `later_look`: a window of a path as the
model might have predicted it, answer the next box; some sentences are of things that are not in the window, and some
windows lie around the wrong thing, so that a low score comes to mean "not here".
"""

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from piza.boxes import clip_xyxy
from piza.config import PathConfig
from piza.data.frames import Frame
from piza.image import cut
from piza.search.zoom_path import frame_window, jitter_window, plan_windows, side, square_window


@dataclass
class Look:
    """One window to teach. Boxes are xyxy in frame pixels.

    sentences: the blocks of the prompt. block, answer, thing: which sentence, the box to predict, the thing itself;
    a sentence without a box is true of nothing in the window. roles: for each sentence what the things of the frame are to
    it, where that is known.
    """

    frame: Frame
    window: NDArray
    progress: float
    sentences: list[str] = field(default_factory=list)
    block: list[int] = field(default_factory=list)
    answer: list[NDArray] = field(default_factory=list)
    thing: list[NDArray] = field(default_factory=list)
    relevance: list[NDArray | None] = field(default_factory=list)

    def add(
        self, sentence: str, answers: list[NDArray], objects: list[NDArray], relevance: NDArray | None = None
    ) -> None:
        self.sentences.append(sentence)
        self.relevance.append(relevance)
        self.block += [len(self.sentences) - 1] * len(answers)
        self.answer += answers
        self.thing += objects

    def normalized(self, boxes: list[NDArray]) -> NDArray[np.float32]:
        """(n, 4) cxcywh, normalized to the window."""
        found = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        origin, size = np.tile(self.window[:2], 2), np.tile(self.window[2:] - self.window[:2], 2)
        found = (found - origin) / size
        return np.concatenate([(found[:, :2] + found[:, 2:]) / 2, found[:, 2:] - found[:, :2]], 1).astype(
            np.float32
        )

    def pixels(self, size: tuple[int, int], rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
        """The window resized to (width, height); with `rng`, in other light and noise."""
        picture = cut(self.frame.picture, self.window, size)
        return picture if rng is None else relight(picture, rng)


def relight(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, contrast, saturation, tint and noise, mild enough that the names of colors stay true."""
    x = picture.astype(np.float32)
    if rng.random() < 0.8:
        gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.04, 3))
        gray = x.mean(2, keepdims=True)
        middle = float(gray.mean())
        saturation = np.exp(rng.normal(0, 0.2))
        x = (
            (gray + (x - gray) * saturation - middle) * np.exp(rng.normal(0, 0.15))
            + middle
            + rng.normal(0, 10)
        )
        x = x * gain.astype(np.float32)
    if rng.random() < 0.3:
        x = x + rng.normal(0, rng.uniform(1, 8), x.shape[:2] + (1,)).astype(np.float32)
    return np.clip(x, 0, 255).astype(np.uint8)


def _inside(box: NDArray, window: NDArray) -> float:
    """Share of the box's area that lies in the window."""
    low, high = np.maximum(box[:2], window[:2]), np.minimum(box[2:], window[2:])
    area = float((box[2:] - box[:2]).prod())
    return float(np.clip(high - low, 0, None).prod()) / max(area, 1e-9)


def ground_look(
    frame: Frame,
    rng: np.random.Generator,
    window: NDArray,
    least: float,
    most: int = 8,
    sentence_share: float = 0.5,
    absent_share: float = 0.25,
) -> Look:
    """Phrases and sentences about a window; the answers are the things.

    About `absent_share` of them are true of nothing in it, preferably such that share words with what is there ("red
    cone" beside "blue cone"). Things under `least` frame pixels are left out, and so are phrases with things at the
    window's edge.
    """
    look = Look(frame, window, progress=0.0)
    said: list[tuple[str, NDArray, int]] = [(ref, box[None], thing) for ref, box, thing in frame.rows]
    said += [(phrase, boxes, -1) for phrase, boxes in frame.phrases]
    counts = [len(boxes) for _, boxes, _ in said]
    boxes = np.concatenate([boxes for _, boxes, _ in said])
    overlap = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    share = np.clip(overlap, 0, None).prod(1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-9)
    shown = clip_xyxy(boxes, window)
    doubtful = (share > 0.05) & (share < 0.7)  # neither here nor not
    doubtful |= (share >= 0.7) & (np.sqrt((shown[:, 2:] - shown[:, :2]).prod(1)) < least)
    ends = np.cumsum(counts)
    present: list[tuple[float, str, list[NDArray]]] = []
    absent: list[str] = []
    seen: set[int] = set()
    for i in rng.permutation(len(said)):
        text, _, thing = said[i]
        part = slice(ends[i] - counts[i], ends[i])
        if thing in seen or doubtful[part].any():
            continue
        here = list(shown[part][share[part] >= 0.7])
        if len(here) > 6:
            continue
        if thing >= 0:
            seen.add(thing)
        if here:
            wish = 1.0 if (thing >= 0) == (rng.random() < sentence_share) else 0.0
            present.append((wish + rng.random(), text, here))
        else:
            absent.append(text)
    wanted = int(rng.integers(1, most + 1))
    chosen = [(text, here) for _, text, here in sorted(present, key=lambda item: -item[0])]
    few = round(wanted * absent_share + rng.uniform(-0.5, 0.5))
    words = {word for text, _ in chosen for word in text.lower().split()} - _COMMON
    absent.sort(
        key=lambda text: (
            -len(words & set(text.lower().split())) / (4 + len(text.split())) - 0.1 * rng.random()
        )
    )
    for text, here in chosen[: max(1, wanted - few)] + [(text, []) for text in absent[: max(0, few)]]:
        look.add(text, here, here)
    return look


_WORD = re.compile(r"\w+")
_COMMON = frozenset("a an the of in on to is that which with and its it for at by this there".split())


def window_around(
    box: NDArray,
    frame_size: tuple[int, int],
    rng: np.random.Generator,
    least: float,
    most: float,
    aspect: float,
) -> NDArray:
    """A window with `box` somewhere in it, `least` to `most` pixels wide (as the frame allows), width / height = aspect."""
    limit = min(frame_size[0], frame_size[1] * aspect)
    width = float(np.exp(rng.uniform(np.log(min(least, limit)), np.log(min(most, limit)))))
    size = np.array([width, width / aspect])
    free = np.maximum(size - (box[2:] - box[:2]), 0)
    corner = np.clip(box[:2] - rng.uniform(0, 1, 2) * free, 0, np.array(frame_size) - size)
    return clip_xyxy(np.concatenate([corner, corner + size]), frame_window(frame_size))


# What a cut may make untrue of a thing it shows: places in the picture, and counting.
_OF_THE_FRAME = re.compile(r"\b(scene|picture|image|first|second|third|fourth|fifth)\b")
# And true of a thing that it did not mean: being the extreme.
_EXTREME = re.compile(r"\b(\w+most|\w+est|last)\b")


_ORDINAL = re.compile(r"\b(first|second|third|fourth|fifth)\b")
COMPARING = (
    2.0  # times as likely to be told as others: they are rarer in a pool, and the slowest to be learned
)


def compares(sentence: str) -> bool:
    """Whether it tells its thing by a superlative or an ordinal."""
    return bool(_EXTREME.search(sentence) or _ORDINAL.search(sentence))


def part_of(frame: Frame, window: tuple[int, int, int, int]) -> Frame:
    """A window (x0, y0, x1, y1; pixels) as a frame of its own, with the sentences that stay true in it.

    What is the only one, the nearest or the leftmost of a frame is so in every part that shows it. A sentence that is true
    of one thing outside is true of nothing inside, unless it names an extreme.
    """
    x0, y0, x1, y1 = window
    rows, absent, relevance = [], [], []
    for number, (sentence, box, thing) in enumerate(frame.rows):
        if _OF_THE_FRAME.search(sentence):
            continue
        inside = box[0] >= x0 + 2 and box[1] >= y0 + 2 and box[2] <= x1 - 2 and box[3] <= y1 - 2
        outside = box[0] >= x1 or box[1] >= y1 or box[2] <= x0 or box[3] <= y0
        if inside:
            rows.append((sentence, box - np.array([x0, y0, x0, y0]), thing))
            relevance += frame.relevance[number : number + 1]
        elif outside and not _EXTREME.search(sentence):
            absent.append(sentence)
    absent += [
        sentence
        for sentence in frame.absent
        if not _OF_THE_FRAME.search(sentence) and not _EXTREME.search(sentence)
    ]
    objects = frame.objects - np.array([x0, y0, x0, y0])
    return Frame(frame.picture[y0:y1, x0:x1], rows, [], absent, objects, relevance, frame.attributes)


def first_look(
    frame: Frame,
    rng: np.random.Generator,
    config: PathConfig,
    whole: bool = False,
    wanted: int = 8,
    absent_share: float = 0.2,
) -> Look:
    """The whole frame and at most `wanted` sentences; the answer to each is the next window of its path or the thing, as
    the path is configured (`whole`: its thing).

    Of every thing one sentence, then second ones while more are wanted; sentences that compare come `COMPARING` times as
    likely. `absent_share` of them are true of nothing, if
    the frame has such.
    """
    look = Look(frame, frame_window(frame.size), progress=0.0)
    few = min(len(frame.absent), round(wanted * absent_share + rng.uniform(-0.5, 0.5)))
    told: dict[int, int] = {}  # how often a thing was spoken of already
    order: list[tuple[int, int]] = []
    weight = [COMPARING if compares(sentence) else 1.0 for sentence, _, _ in frame.rows]
    # Exponential luck, so that a sentence's chance to come first is in proportion to its weight.
    for index in np.argsort(rng.exponential(size=len(frame.rows)) / weight):
        thing = frame.rows[index][2]
        told[thing] = told.get(thing, -1) + 1
        order.append((told[thing], int(index)))
    for _, index in sorted(order, key=lambda item: item[0])[: max(1, wanted - few)]:
        sentence, box, _ = frame.rows[index]
        tight = whole or config.answers == "object"
        answer = box if tight else plan_windows(box, frame.size, config)[1]
        look.add(sentence, [answer], [box], frame.relevance[index] if frame.relevance else None)
    for index in rng.permutation(len(frame.absent))[:few]:
        look.add(frame.absent[index], [], [])
    return look


def _look_alike(frame: Frame, row: tuple[str, NDArray, int], rng: np.random.Generator) -> NDArray:
    """The box of another thing that the same phrase is true of, the phrase being as narrow as there is; without
    phrases, of the thing whose sentence shares the most words."""
    sentence, target, thing = row
    narrow = sorted((boxes for _, boxes in frame.phrases if len(boxes) > 1), key=len)
    for boxes in narrow:
        same = np.abs(boxes - target).max(1) < 2
        if same.any() and not same.all():
            return boxes[rng.choice(np.flatnonzero(~same))]
    words = set(_WORD.findall(sentence.lower())) - _COMMON
    others = [
        (box, set(_WORD.findall(ref.lower())) - _COMMON) for ref, box, own in frame.rows if own != thing
    ]
    return max(others, key=lambda other: len(words & other[1]) / max(1, len(words | other[1])))[0]


def later_look(
    frame: Frame, rng: np.random.Generator, config: PathConfig, most: int = 5, wrong_share: float = 0.35
) -> Look:
    """A window after the first. With `wrong_share`, it is around another thing than the first sentence's, mostly around
    one that is spoken of in much the same words: that is where a first look goes wrong."""
    sentence, target, thing = frame.rows[int(rng.integers(len(frame.rows)))]
    windows = plan_windows(target, frame.size, config)
    step = int(rng.integers(1, len(windows)))
    last = step == len(windows) - 1
    others = [frame.rows[i] for i in rng.permutation(len(frame.rows)) if frame.rows[i][2] != thing]
    progress = step / len(windows) + (rng.uniform(-0.1, 0.1) if rng.random() < 0.5 else 0.0)
    if others and last and rng.random() < wrong_share:
        alike = rng.random() < 0.7
        center = _look_alike(frame, (sentence, target, thing), rng) if alike else others[0][1]
        ideal = square_window(
            (float(center[[0, 2]].mean()), float(center[[1, 3]].mean())), side(windows[step]), frame.size
        )
        window = jitter_window(ideal, center, frame.size, rng)
    else:
        window = jitter_window(windows[step], target, frame.size, rng)
    look = Look(frame, window, progress=float(np.clip(progress, 0.05, 1.0)))
    seen: set[int] = set()
    wanted = int(rng.integers(1, most + 1))
    absent = 2
    for ref, box, owner in [(sentence, target, thing), *others]:
        share = _inside(box, window)
        if owner in seen or len(look.sentences) >= wanted or 0.02 < share < 0.95:
            continue
        if share >= 0.95:
            planned = plan_windows(box, frame.size, config)
            ratio = side(window) / side(planned[step]) if step < len(planned) else 0.0
            if owner != thing and not (len(planned) == len(windows) and 0.5 < ratio < 2.0):
                continue  # of another size: this window is not one of its path
            tight = last or config.answers == "object"
            look.add(ref, [clip_xyxy(box if tight else planned[step + 1], window)], [clip_xyxy(box, window)])
        elif owner == thing or absent > 0:
            absent -= owner != thing
            look.add(ref, [], [])
        else:
            continue
        seen.add(owner)
    return look
