"""Training samples of the proposal network: crops of drawn scenes and of real photos, with what is known of their objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from piza.data.scenes.signs import KINDS
from piza.data.windows import photometric_augmentation
from piza.image import cut, open_image
from piza.training.from_scratch.frames.cache import FrameCache
from piza.training.from_scratch.frames.sign_photos import Cutout, blend, shape_mask
from piza.training.from_scratch.streets.labels import (
    UNSEEN,
    VEHICLES,
    StreetObject,
    StreetPhoto,
    sign_words,
    with_sign_words,
)

UNKNOWN = -1.0  # an attribute of which nothing is known
LEAST = 5.0  # pixels of the crop, square root of the area: smaller objects are doubtful
SHOWN = 0.5  # share of an object that a crop must show; of what shows less, nothing is said
NEVER_DRAWN = ("pole",)  # scenes show some of them and do not name them


@dataclass
class CropSample:
    """A image uint8 (height, width, 3). Boxes are xyxy in its pixels.

    boxes: (m, 4); category: (m, categories) 1 the one, 0.5 what it may be as well, 0 what it is not; attributes: (m, words) 1,
    0 or UNKNOWN; doubtful: (n, 4); absent, absent_doubtful: (categories,) the weight of saying that a category is not in a cell,
    elsewhere and inside of doubtful boxes.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    category: NDArray[np.float32]
    attributes: NDArray[np.float32]
    doubtful: NDArray[np.float32]
    absent: NDArray[np.float32]
    absent_doubtful: NDArray[np.float32]


# What cells tell apart; other categories are words that a sentence may use.
CATEGORIES = (
    "sign", "car", "tree", "person", "lamp", "traffic light", "cone", "van", "truck", "bus", "hedge", "pedestrian light", "mailbox",
    "barrier", "balloon", "barrel", "bin", "flag", "bench", "hydrant", "bollard", "bicycle", "motorcycle", "planter", "stall",
    "dog", "cyclist", "motorcyclist", "pole",
)  # fmt: skip
# Groups of words, and words, that drawn objects have no say in.
NOT_DRAWN_GROUPS = ("arrow", "countdown", "content", "border", "lights", "tone")
NOT_DRAWN = (
    "upper=vest", "upper=outfit", "upper=dress", "upper=hoodie", "pose=riding", "pose=sitting", "state=off", "shape=arrow",
    "category=scooter", "category=animal", "category=camera", "category=device", "category=banner", "category=window",
    "category=box", "category=statue", "category=pole",
)  # fmt: skip


class Vocabulary:
    """The attribute words in the order of the model's outputs; and the categories that its cells tell apart."""

    def __init__(self, words: Sequence[str]):
        self.words, self.categories = list(words), list(CATEGORIES)
        self.place = {word: number for number, word in enumerate(words)}
        self.category = {name: number for number, name in enumerate(CATEGORIES)}
        groups: dict[str, list[int]] = {}
        for number, word in enumerate(words):
            groups.setdefault(word.split("=")[0], []).append(number)
        self.groups = {name: np.array(places) for name, places in groups.items()}
        self.plain = np.zeros(len(words), np.float32)
        for name in NOT_DRAWN_GROUPS:
            self.plain[self.groups.get(name, np.zeros(0, int))] = UNKNOWN
        self.plain[[self.place[word] for word in NOT_DRAWN if word in self.place]] = UNKNOWN

    def of_drawn(self, words: list[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(categories,) and (words,) of a drawn object, of which nearly everything is known."""
        attributes = self.plain.copy()
        attributes[[self.place[word] for word in with_sign_words(words) if word in self.place]] = 1
        category = np.array([f"category={name}" in words for name in CATEGORIES], np.float32)
        return category, attributes

    def of_real(self, known: StreetObject) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(categories,) and (words,) of a real object; what is not known of it is UNKNOWN."""
        attributes = np.full(len(self.words), UNKNOWN, np.float32)
        category = np.zeros(len(CATEGORIES), np.float32)
        category[[self.category[name] for name in known.may]] = 0.5
        if known.sure:
            category[self.category[known.may[0]]] = 1
        for name, value in zip(CATEGORIES, category, strict=True):
            if value != 0.5:
                attributes[self.place[f"category={name}"]] = value
        if all(name in (*VEHICLES, "motorcycle", "motorcyclist") for name in known.may):
            sure = all(name in VEHICLES for name in known.may) or known.label == "vehicle"
            attributes[self.place["category=vehicle"]] = 1.0 if sure else UNKNOWN
        else:
            attributes[self.place["category=vehicle"]] = 0
        for group in known.groups:
            attributes[self.groups[group]] = 0
        attributes[[self.place[word] for word in known.words if word in self.place]] = 1
        return category, attributes


@dataclass
class LabeledFrame:
    """A frame of any size with its objects, before it is cropped."""

    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    category: NDArray[np.float32]
    attributes: NDArray[np.float32]
    doubtful: NDArray[np.float64]


class Sources:
    """Photos by source, drawn scenes, and signs to paste. `shares`: how often each source is drawn."""

    def __init__(
        self,
        photos: Sequence[StreetPhoto],
        folders: dict[str, Path],
        scenes: Sequence[Path],
        words: Vocabulary,
        shares: dict[str, float],
    ):
        self.words, self.folders = words, folders
        self.scenes = [FrameCache(folder) for folder in scenes]
        self.photos: dict[str, list[StreetPhoto]] = {}
        for photo in photos:
            self.photos.setdefault(photo.source, []).append(photo)
        total = sum(shares.values())
        self.shares = {name: share / total for name, share in shares.items()}
        self._signs: list[Cutout] = []

    def signs(self) -> list[Cutout]:
        """Every sign of known kind of 20 pixels and more; decoded once."""
        for photo in self.photos.get("signs", []) if not self._signs else []:
            wanted = [o for o in photo.objects if any(word.startswith("kind=") for word in o.words)]
            image = self.open(photo) if wanted else None
            for known in wanted:
                box = np.array(known.box)
                size = np.maximum(np.round(box[2:] - box[:2]), 1).astype(int)
                kind = next(word[5:] for word in known.words if word.startswith("kind="))
                if size.min() >= 20 and size.max() <= 140 and image is not None:
                    names = list(KINDS[kind].names)
                    pixels = cut(image, box, (int(size[0]), int(size[1])))
                    self._signs.append(
                        Cutout(pixels, shape_mask(names, int(size[0]), int(size[1])), [kind], 0)
                    )
        return self._signs

    def open(self, photo: StreetPhoto) -> NDArray[np.uint8]:
        """The pixels of a photo."""
        source, name = photo.key.split("/")
        return open_image(self.folders[source] / name)

    def real(self, photo: StreetPhoto) -> LabeledFrame:
        """A photo with what is known of its objects."""
        known = [self.words.of_real(o) for o in photo.objects]
        return LabeledFrame(
            self.open(photo),
            np.array([o.box for o in photo.objects], dtype=float).reshape(-1, 4),
            np.array([c for c, _ in known], np.float32).reshape(-1, len(self.words.categories)),
            np.array([a for _, a in known], np.float32).reshape(-1, len(self.words.words)),
            np.array(photo.doubtful, dtype=float).reshape(-1, 4),
        )

    def drawn(self, index: int) -> LabeledFrame:
        """A drawn scene by its number over all caches."""
        for cache_of_scenes in self.scenes:
            if index < len(cache_of_scenes):
                frame = cache_of_scenes[index]
                break
            index -= len(cache_of_scenes)
        known = [self.words.of_drawn(words) for words in frame.attributes]
        return LabeledFrame(
            np.asarray(frame.image),
            frame.objects,
            np.array([c for c, _ in known], np.float32).reshape(-1, len(self.words.categories)),
            np.array([a for _, a in known], np.float32).reshape(-1, len(self.words.words)),
            np.zeros((0, 4)),
        )

    def weights(
        self, source: str, complete: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`absent` and `absent_doubtful` of a source."""
        names = self.words.categories
        if source == "scenes":
            plain = np.array([float(name not in NEVER_DRAWN) for name in names], np.float32)
            return plain, plain
        sure = np.array([name in complete for name in names], np.float32)
        plain = np.where(np.isin(names, UNSEEN), 0.1, 1.0).astype(np.float32)
        return np.maximum(plain, sure), sure

    def sample(self, size: tuple[int, int], area: float, rng: np.random.Generator) -> CropSample:
        """A crop (width, height) of a source drawn by its share, or several side by side of sources of small photos. area:
        the pixels that a whole frame has at the scale of a first look."""
        source = str(rng.choice(list(self.shares), p=list(self.shares.values())))
        columns, rows, low, high = 1, 1, 0.7, 1.4
        if source == "camvid":
            columns, rows, low, high = (2, 1, 0.45, 0.9) if rng.random() < 0.7 else (1, 1, 0.6, 1.0)
        elif source == "highway":
            columns, rows, low, high = (2, 2, 0.25, 0.5) if rng.random() < 0.6 else (2, 1, 0.3, 0.7)
        tile = (size[0] // columns, size[1] // rows)
        parts, complete = [], []
        for _ in range(columns * rows):
            if source == "scenes":
                told = self.drawn(int(rng.integers(sum(map(len, self.scenes)))))
            else:
                photo = self.photos[source][int(rng.integers(len(self.photos[source])))]
                told, complete = self.real(photo), photo.complete
            scale = np.sqrt(area / (told.image.shape[0] * told.image.shape[1]))
            part = crop(told, tile, scale * np.exp(rng.uniform(np.log(low), np.log(high))), rng)
            if source not in ("scenes", "signs") and rng.random() < 0.5:
                part = flipped(part)
            parts.append(part)
        whole = side_by_side(parts, columns) if len(parts) > 1 else parts[0]
        if source != "scenes" and self.signs() and rng.random() < 0.35:
            whole = self.paste(whole, rng)
        image = haze(photometric_augmentation(whole.image, rng), rng)
        absent, absent_doubtful = self.weights(source, complete)
        return CropSample(
            image,
            whole.boxes.astype(np.float32),
            whole.category,
            whole.attributes,
            whole.doubtful.astype(np.float32),
            absent,
            absent_doubtful,
        )

    def paste(self, told: LabeledFrame, rng: np.random.Generator, most: int = 3) -> LabeledFrame:
        """With one to `most` more signs of known kind, where nothing else is."""
        image = np.array(told.image)
        height, width = image.shape[:2]
        boxes: list[NDArray[np.float64]] = []
        known: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        for _ in range(int(rng.integers(1, most + 1))):
            sign = self.signs()[int(rng.integers(len(self.signs())))]
            long = float(np.exp(rng.uniform(np.log(11), np.log(min(70.0, 1.3 * max(sign.mask.shape))))))
            scale = long / max(sign.mask.shape)
            w, h = (max(8, round(s * scale)) for s in (sign.mask.shape[1], sign.mask.shape[0]))
            x, y = int(rng.integers(2, width - w - 2)), int(rng.integers(2, int(height * 0.8) - h))
            box = np.array([x, y, x + w, y + h], float)
            others = np.concatenate([told.boxes, *[b[None] for b in boxes]])
            if ((np.minimum(box[2:], others[:, 2:]) + 4 > np.maximum(box[:2], others[:, :2])).all(1)).any():
                continue
            blend(image, sign, x, y, w, h, rng)
            kind = sign.names[0]
            boxes.append(box)
            known.append(
                self.words.of_real(
                    StreetObject(box.tolist(), ["sign"], True, sign_words(kind), ["kind", "shape", "color"])
                )
            )
        if not boxes:
            return told
        return LabeledFrame(
            image,
            np.concatenate([told.boxes, np.array(boxes)]),
            np.concatenate([told.category, np.array([c for c, _ in known])]),
            np.concatenate([told.attributes, np.array([a for _, a in known])]),
            told.doubtful,
        )


def crop(told: LabeledFrame, size: tuple[int, int], scale: float, rng: np.random.Generator) -> LabeledFrame:
    """A part of (width, height) once the frame is scaled, mostly with an object in it; gray where it is beyond the frame."""
    height, width = told.image.shape[:2]
    span = np.array(size) / scale
    free = np.array([width, height]) - span
    if len(told.boxes) and rng.random() < 0.8:
        box = told.boxes[int(rng.integers(len(told.boxes)))]
        corner = (box[:2] + box[2:]) / 2 - span * rng.uniform(0.1, 0.9, 2)
    else:
        corner = free * rng.uniform(0, 1, 2)
    corner = np.where(free > 0, np.clip(corner, 0, np.maximum(free, 0)), free * rng.uniform(0, 1, 2))
    return window(told, corner, scale, size)


def window(
    told: LabeledFrame, corner: NDArray[np.float64], scale: float, size: tuple[int, int]
) -> LabeledFrame:
    """The part of (width, height) at a corner (x, y in frame pixels), once the frame is scaled."""
    height, width = told.image.shape[:2]
    low = np.maximum(np.floor(corner), 0).astype(int)
    high = np.minimum(np.ceil(corner + np.array(size) / scale), [width, height]).astype(int)
    source = told.image[low[1] : high[1], low[0] : high[0]]
    small = np.maximum(np.round((high - low) * scale), 1).astype(int)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(np.ascontiguousarray(source), (int(small[0]), int(small[1])), interpolation=way)
    image = np.full((size[1], size[0], 3), 114, np.uint8)
    at = np.round((low - corner) * scale).astype(int)
    x0, y0 = np.maximum(at, 0)
    from_x, from_y = np.maximum(-at, 0)
    piece = scaled[from_y : from_y + size[1] - y0, from_x : from_x + size[0] - x0]
    image[y0 : y0 + piece.shape[0], x0 : x0 + piece.shape[1]] = piece
    limit = np.tile(size, 2)

    def moved(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((boxes - np.tile(low, 2)) * scale + np.tile(at, 2))

    boxes, doubtful = moved(told.boxes), moved(told.doubtful)
    clipped = np.clip(boxes, 0, limit)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    left = (clipped[:, 2:] - clipped[:, :2]).clip(0).prod(1)
    kept = (left > SHOWN * area) & (left >= LEAST**2)
    unclear = clipped[~kept & (left > 0)]
    doubtful = np.clip(doubtful, 0, limit)
    doubtful = doubtful[(doubtful[:, 2:] - doubtful[:, :2]).min(1, initial=1e9) > 0]
    return LabeledFrame(
        image,
        clipped[kept],
        told.category[kept],
        told.attributes[kept],
        np.concatenate([doubtful, unclear]),
    )


def flipped(told: LabeledFrame) -> LabeledFrame:
    """The mirror image."""
    width = told.image.shape[1]

    def mirrored(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)

    return LabeledFrame(
        told.image[:, ::-1], mirrored(told.boxes), told.category, told.attributes, mirrored(told.doubtful)
    )


def side_by_side(parts: Sequence[LabeledFrame], columns: int) -> LabeledFrame:
    """Parts of one size as one frame, row by row."""
    height, width = parts[0].image.shape[:2]
    rows = [
        np.concatenate([part.image for part in parts[at : at + columns]], 1)
        for at in range(0, len(parts), columns)
    ]
    shifts = [
        np.tile([number % columns * width, number // columns * height], 2) for number in range(len(parts))
    ]
    return LabeledFrame(
        np.concatenate(rows),
        np.concatenate([part.boxes + shift for part, shift in zip(parts, shifts, strict=True)]),
        np.concatenate([part.category for part in parts]),
        np.concatenate([part.attributes for part in parts]),
        np.concatenate([part.doubtful + shift for part, shift in zip(parts, shifts, strict=True)]),
    )


def haze(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Now and then in light haze, thicker towards the top, or a little out of focus."""
    if rng.random() < 0.15:
        rows = np.linspace(1.0, rng.uniform(0.2, 1.0), image.shape[0], dtype=np.float32)[:, None, None]
        share = rng.uniform(0.05, 0.5) * rows
        gray = rng.uniform(150, 235) + rng.normal(0, 6, 3)
        image = (image * (1 - share) + gray.astype(np.float32) * share).astype(np.uint8)
    if rng.random() < 0.1:
        image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.4, 1.0)).astype(np.uint8)
    return np.ascontiguousarray(image)


def load_photos(lines: Sequence[dict[str, Any]]) -> list[StreetPhoto]:
    """Photos as `dataclasses.asdict` wrote them."""
    return [
        StreetPhoto(**{**line, "objects": [StreetObject(**o) for o in line["objects"]]}) for line in lines
    ]
