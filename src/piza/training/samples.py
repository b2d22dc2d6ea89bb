"""Training samples from rows and a folder of images of any size and number.

Images come in random order, every row once an epoch. Each opened image serves a group of windows: the frame first, then windows
of paths to its targets. The batch of a step is a function of the step and the process alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from piza.boxes import clip_xyxy
from piza.config import PathConfig
from piza.data.frames import Annotation, Frame
from piza.data.sizes import OnMissing, Sizes, read_sizes
from piza.data.sorec import Row, find_image
from piza.data.windows import TrainingWindow, first_window, later_window
from piza.errors import InputError
from piza.image import open_image
from piza.search.zoom_path import frame_window, input_size
from piza.training.batches import WindowBatch, collate
from piza.training.listing import ListedFrame, ListedFrames, listed_frame
from piza.training.loader import MicroBatches

MAX_TRIES = 50  # to draw a window with sentences, or an image that can be opened
T = TypeVar("T")


@dataclass(frozen=True)
class SampleConfig:
    """How windows are drawn.

    Attributes:
        path: how windows follow each other.
        first_pixels, later_pixels: square root of the area of the model's input for a frame, and for later windows.
        batch: windows a step, in each process.
        crops_per_image: windows of each opened image, the frame and later ones; 1: frames only.
        sentences_per_image: rows of each opened image that its frame may be asked for, at most.
        whole: the answer to a frame is the object, not the next window.
        min_scale: inputs are shrunk by a random factor between this and 1.
        micro_batch: windows that go through the model together, at most; None: all of one size.
        augment: vary brightness, colors and noise.
        seed: of everything that is drawn.
        processes: how many train, each on batches of its own.
        on_missing: "error" for an image that cannot be opened, or "skip" to take another one.
        list_objects: frames are for a first look that lists objects.
    """

    path: PathConfig
    first_pixels: int
    later_pixels: int
    batch: int = 4
    crops_per_image: int = 4
    sentences_per_image: int = 4
    whole: bool = False
    min_scale: float = 1.0
    micro_batch: int | None = None
    augment: bool = False
    seed: int = 0
    processes: int = 1
    on_missing: OnMissing = "error"
    list_objects: bool = False


@dataclass
class MicroBatch:
    """Windows of one size, or frames whose objects are to be listed, and their share in the windows of the step."""

    batch: WindowBatch | ListedFrames
    share: float


@dataclass
class AnnotatedImages:
    """Rows by image.

    Attributes:
        annotations: by image name; boxes clipped to the image, numbers of targets unique over all images.
        sizes: by image name (width, height) in pixels.
        skipped: how many rows were left out because their image cannot be opened.
    """

    annotations: dict[str, list[Annotation]]
    sizes: Sizes
    skipped: int

    def targets(self) -> list[tuple[NDArray[np.float64], tuple[int, int]]]:
        """Every target once: its box, xyxy in pixels of its image, and the image's (width, height)."""
        found = {
            (image, number): (box, self.sizes[image])
            for image, annotations in self.annotations.items()
            for _, box, number in annotations
        }
        return list(found.values())


def group_rows(
    rows: Sequence[Row], images_dir: str | Path, on_missing: OnMissing = "error"
) -> AnnotatedImages:
    """Group rows by image; equal boxes in an image are one target. Only the headers of image files are read.

    Raises InputError for an image that is missing or cannot be read (with "skip" its rows are left out, and counted),
    for a box outside its image, and when no row is left.
    """
    sizes, reasons = read_sizes((row.image for row in rows), images_dir)
    if reasons and on_missing == "error":
        image, why = next(iter(reasons.items()))
        raise InputError(why if image in why else f"the image {image!r} cannot be used: {why}")
    annotations: dict[str, list[Annotation]] = {}
    numbers: dict[tuple[str, tuple[float, ...]], int] = {}
    skipped = 0
    for row in rows:
        if row.image not in sizes:
            skipped += 1
            continue
        box = clip_xyxy(np.array(row.box_xyxy, dtype=float), frame_window(sizes[row.image]))
        if not (box[2] > box[0] and box[3] > box[1]):
            width, height = sizes[row.image]
            raise InputError(
                f"the box of row {row.id!r} lies outside its image {row.image!r} of {width} x {height} pixels"
            )
        number = numbers.setdefault((row.image, row.box_xyxy), len(numbers))
        annotations.setdefault(row.image, []).append((row.expression, box, number))
    if not annotations:
        raise InputError(
            f"none of the {len(rows)} rows has an image that can be opened in {str(images_dir)!r}"
        )
    return AnnotatedImages(annotations, sizes, skipped)


class _Drawn(NamedTuple, Generic[T]):
    item: T
    place: int  # among the windows of the step in all processes
    rng: np.random.Generator  # of what is still to be drawn for it


class _OpenedImage(NamedTuple):
    name: str
    image: NDArray[np.uint8]  # (height, width, 3) RGB
    rows: NDArray[np.int64]  # indices of the annotations that its frame may be asked for


class Samples:
    """`samples(step, process)` makes the windows of a step, as a `piza.training.trainer.Trainer` asks for them.

    Raises InputError for an image that turns out to be damaged; with `on_missing="skip"` another one is taken, and
    `replaced` counts how often that happened, in all processes that read.
    """

    def __init__(self, images: AnnotatedImages, images_dir: str | Path, config: SampleConfig):
        self.images, self.folder, self.config = images, Path(images_dir), config
        self.names = sorted(images.annotations)
        self.groups_per_epoch = sum(
            math.ceil(len(annotations) / config.sentences_per_image)
            for annotations in images.annotations.values()
        )
        self.replaced = get_context("fork").Value("q", 0)
        self._open = lru_cache(maxsize=2)(self._read)
        self._order = lru_cache(maxsize=2)(self._image_groups)

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every row was used once in a frame."""
        windows = self.groups_per_epoch * self.config.crops_per_image
        return math.ceil(windows / (self.config.batch * self.config.processes))

    def __call__(self, step: int, process: int) -> MicroBatches[MicroBatch]:
        """The windows of a step, in batches of one size."""
        config = self.config
        # One scale for all processes, so that none waits for another.
        scale = float(np.random.default_rng([config.seed, step]).uniform(config.min_scale, 1.0))
        pixels = round(config.first_pixels * scale), round(config.later_pixels * scale)
        windows: dict[tuple[int, int], list[_Drawn[TrainingWindow]]] = {}
        frames: dict[tuple[int, int], list[_Drawn[ListedFrame]]] = {}
        in_step = config.processes * config.batch
        for place in range(process * config.batch, (process + 1) * config.batch):
            number = step * in_step + place
            # Of this window alone, so that it is the same whichever process it falls to.
            rng = np.random.default_rng([config.seed, number, 1])
            group, crop = divmod(number, config.crops_per_image)
            if crop == 0 and config.list_objects:
                listed, size = self._listed_frame(group, pixels, rng)
                frames.setdefault(size, []).append(_Drawn(listed, place, rng))
            else:
                window = self._window(group, crop == 0, rng)
                size = input_size(window.window, crop == 0, *pixels)
                windows.setdefault(size, []).append(_Drawn(window, place, rng))
        return self._micro_batches(windows, frames)

    def _micro_batches(
        self,
        windows: dict[tuple[int, int], list[_Drawn[TrainingWindow]]],
        frames: dict[tuple[int, int], list[_Drawn[ListedFrame]]],
    ) -> MicroBatches[MicroBatch]:
        config = self.config
        parts, numbers = [], []
        for size, of_size in windows.items():
            for some in _chunks(of_size, config.micro_batch):
                rngs = [one.rng for one in some] if config.augment else None
                batch = collate([one.item for one in some], size, rngs)
                parts.append(MicroBatch(batch, len(some) / config.batch))
                numbers.append(some[0].place)
        for listed in frames.values():
            for few in _chunks(listed, config.micro_batch):
                forced = [bool(one.rng.random() < 0.5) for one in few]
                batch_of_frames = ListedFrames([one.item for one in few], forced)
                parts.append(MicroBatch(batch_of_frames, len(few) / config.batch))
                numbers.append(few[0].place)
        return MicroBatches(parts, numbers)

    def _listed_frame(
        self, group: int, pixels: tuple[int, int], rng: np.random.Generator
    ) -> tuple[ListedFrame, tuple[int, int]]:
        """A frame with all objects that rows are about and the rows of its group; and the (width, height) of the input."""
        opened = self._opened(group, rng)
        annotations = self.images.annotations[opened.name]
        objects = {number: box for _, box, number in annotations}
        index = {number: place for place, number in enumerate(objects)}
        rows = [(annotations[i][0], annotations[i][1], index[annotations[i][2]]) for i in opened.rows]
        frame = Frame(opened.image, rows, objects=np.array(list(objects.values())))
        size = input_size(frame_window(frame.size), True, *pixels)
        return listed_frame(frame, size, {}, rng, len(rows), augment=self.config.augment), size

    def _window(self, group: int, first: bool, rng: np.random.Generator) -> TrainingWindow:
        """The frame of a group, or a later window of its image."""
        for _ in range(MAX_TRIES):
            opened = self._opened(group, rng)
            annotations = self.images.annotations[opened.name]
            if first:
                frame = Frame(opened.image, [annotations[i] for i in opened.rows])
                return first_window(
                    frame, rng, self.config.path, self.config.whole, max_sentences=len(opened.rows)
                )
            # All rows of the image, as look-alikes may be among them.
            window = later_window(Frame(opened.image, annotations), rng, self.config.path)
            if window.sentences:
                return window
        raise InputError(
            f"{MAX_TRIES} windows of the image {opened.name!r} in a row have no sentence to learn"
        )

    def _opened(self, group: int, rng: np.random.Generator) -> _OpenedImage:
        """The image of a group, or another one in place of a damaged one."""
        for _ in range(MAX_TRIES):
            epoch, place = divmod(group, self.groups_per_epoch)
            name, rows = self._order(epoch)[place]
            try:
                return _OpenedImage(name, self._open(name), rows)
            except InputError as error:
                if self.config.on_missing == "error":
                    raise InputError(f"the image {name!r} cannot be used: {error}") from None
                with self.replaced.get_lock():
                    self.replaced.value += 1
                group = epoch * self.groups_per_epoch + int(rng.integers(self.groups_per_epoch))
        raise InputError(f"{MAX_TRIES} images in a row, {name!r} the last of them, cannot be opened")

    def _read(self, name: str) -> NDArray[np.uint8]:
        image = open_image(find_image(self.folder, name))
        if (image.shape[1], image.shape[0]) != self.images.sizes[name]:
            raise InputError("its size is not what the head of its file said when the training began")
        return image

    def _image_groups(self, epoch: int) -> list[tuple[str, NDArray[np.int64]]]:
        """The groups of an epoch in their order: an image, and some of its rows."""
        rng = np.random.default_rng([self.config.seed, epoch, 2**32 - 1])
        groups: list[tuple[str, NDArray[np.int64]]] = []
        for name in self.names:
            count = len(self.images.annotations[name])
            pieces = math.ceil(count / self.config.sentences_per_image)
            groups += [(name, some) for some in np.array_split(rng.permutation(count), pieces)]
        return [groups[i] for i in rng.permutation(len(groups))]


def _chunks(items: list[T], size: int | None) -> list[list[T]]:
    """The items in lists of at most `size`; None: in one."""
    size = size or len(items)
    return [items[at : at + size] for at in range(0, len(items), size)]
