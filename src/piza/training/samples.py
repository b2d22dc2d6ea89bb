"""Training samples from rows and a folder of pictures of any size and number.

Pictures are visited in random order, every row once an epoch. A visit opens one picture and serves several windows: the
frame first, then windows of paths to its targets. What a step is made of is a function of the step and the process alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from piza.boxes import clip_xyxy
from piza.config import PathConfig
from piza.data.frames import Frame
from piza.data.sizes import OnMissing, Sizes, read_sizes
from piza.data.sorec import Row, find_image
from piza.data.windows import Look, first_look, later_look
from piza.errors import InputError
from piza.image import open_image
from piza.search.zoom_path import frame_window, input_size
from piza.training.batches import LookBatch, collate
from piza.training.listing import ListedFrame, ListedFrames, listed_frame
from piza.training.trainer import MicroBatches

Annotation = tuple[str, np.ndarray, int]  # sentence, box xyxy in pixels of the picture, number of the thing
TRIES = 50  # to draw a window of which something can be said, or a picture that can be opened


@dataclass(frozen=True)
class SampleConfig:
    path: PathConfig
    first_pixels: int  # square root of the area of the model's input for a frame
    later_pixels: int  # the same for later windows
    batch: int = 4  # windows a step, in each process
    crops_per_image: int = 4  # windows a visit: the frame and later ones; 1: frames only
    sentences: int = 4  # rows a visit at most
    whole: bool = False  # the answer to a frame is the thing, not the next window
    min_scale: float = 1.0  # inputs are shrunk by a random factor between this and 1
    micro_batch: int | None = None  # windows in one batch at most; None: all of one size
    light: bool = False  # vary brightness, colors and noise
    seed: int = 0
    processes: int = 1
    missing: OnMissing = "error"
    num_proposals: bool = False  # frames are for a first look that lists things


@dataclass
class Part:
    """Windows of one size, or frames whose things are to be listed, and their share in the windows of the step."""

    batch: LookBatch | ListedFrames
    share: float


@dataclass
class Rows:
    """Rows by picture. said: what is said of each. sizes: (width, height). skipped: rows without a picture."""

    said: dict[str, list[Annotation]]
    sizes: Sizes
    skipped: int

    def targets(self) -> list[tuple[np.ndarray, tuple[int, int]]]:
        """Every thing once: its box, and the size of its frame."""
        found = {
            (image, thing): (box, self.sizes[image])
            for image, said in self.said.items()
            for _, box, thing in said
        }
        return list(found.values())


def rows_by_picture(rows: Sequence[Row], images_dir: str | Path, missing: OnMissing = "error") -> Rows:
    """Groups rows by picture; equal boxes in a picture are one thing. Only the heads of the pictures are read.

    Raises InputError for a picture that is missing or cannot be read (with "skip" its rows are left out, and counted),
    for a box outside its picture, and when no row is left.
    """
    sizes, reasons = read_sizes((row.image for row in rows), images_dir)
    if reasons and missing == "error":
        image, why = next(iter(reasons.items()))
        raise InputError(why if image in why else f"the picture {image!r} cannot be used: {why}")
    said: dict[str, list[Annotation]] = {}
    objects: dict[tuple, int] = {}
    skipped = 0
    for row in rows:
        if row.image not in sizes:
            skipped += 1
            continue
        box = clip_xyxy(np.array(row.box_xyxy, dtype=float), frame_window(sizes[row.image]))
        if not (box[2] > box[0] and box[3] > box[1]):
            width, height = sizes[row.image]
            raise InputError(
                f"the box of row {row.id!r} lies outside its picture {row.image!r} of {width} x {height} pixels"
            )
        of_picture = said.setdefault(row.image, [])
        thing = objects.setdefault((row.image, row.box_xyxy), len(objects))
        of_picture.append((row.expression, box, thing))
    if not said:
        raise InputError(
            f"none of the {len(rows)} rows has a picture that can be opened in {str(images_dir)!r}"
        )
    return Rows(said, sizes, skipped)


class Samples:
    """`samples(step, process)` makes the windows of a step, as `piza.training.trainer.train` asks for them.

    Raises InputError for a picture that turns out to be damaged; with `missing="skip"` another one is taken, and
    `replaced` counts how often that happened, in all processes that read.
    """

    def __init__(self, rows: Rows, images_dir: str | Path, config: SampleConfig):
        self.rows, self.folder, self.config = rows, Path(images_dir), config
        self.images = sorted(rows.said)
        self.visits = sum(math.ceil(len(said) / config.sentences) for said in rows.said.values())
        self.replaced = get_context("fork").Value("q", 0)
        self._open = lru_cache(maxsize=2)(self._read)
        self._order = lru_cache(maxsize=2)(self._shuffled)

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return math.ceil(
            self.visits * self.config.crops_per_image / (self.config.batch * self.config.processes)
        )

    def __call__(self, step: int, process: int) -> MicroBatches:
        config = self.config
        # One scale for all processes, so that none waits for another.
        scale = float(np.random.default_rng([config.seed, step]).uniform(config.min_scale, 1.0))
        pixels = round(config.first_pixels * scale), round(config.later_pixels * scale)
        rng = np.random.default_rng([config.seed, step, process])
        by_size: dict[tuple[int, int], list[Look]] = {}
        frames: dict[tuple[int, int], list[ListedFrame]] = {}
        begin = (step * config.processes + process) * config.batch
        for number in range(begin, begin + config.batch):
            visit, turn = divmod(number, config.crops_per_image)
            if turn == 0 and config.num_proposals:
                reading, size = self._reading(visit, pixels, rng)
                frames.setdefault(size, []).append(reading)
                continue
            look = self._look(visit, turn == 0, rng)
            size = input_size(look.window, turn == 0, *pixels)
            by_size.setdefault(size, []).append(look)
        parts = []
        for size, looks in by_size.items():
            for some in _pieces(looks, config.micro_batch):
                batch = collate(some, size, rng if config.light else None)
                parts.append(Part(batch, len(some) / config.batch))
        for frames_listed in frames.values():
            for few in _pieces(frames_listed, config.micro_batch):
                forced = [bool(rng.random() < 0.5) for _ in few]
                parts.append(Part(ListedFrames(few, forced), len(few) / config.batch))
        return MicroBatches(parts)

    def _reading(
        self, visit: int, pixels: tuple[int, int], rng: np.random.Generator
    ) -> tuple[ListedFrame, tuple[int, int]]:
        """A frame, all things in it that rows speak of, and the rows of the visit; and the size of the input."""
        image, picture, chosen = self._picture(visit, rng)
        said = self.rows.said[image]
        objects = {thing: box for _, box, thing in said}
        number = {thing: place for place, thing in enumerate(objects)}
        rows = [(said[i][0], said[i][1], number[said[i][2]]) for i in chosen]
        frame = Frame(picture, rows, objects=np.array(list(objects.values())))
        size = input_size(frame_window(frame.size), True, *pixels)
        return listed_frame(frame, size, {}, rng, len(rows), light=self.config.light), size

    def _look(self, visit: int, first: bool, rng: np.random.Generator) -> Look:
        for _ in range(TRIES):
            image, picture, chosen = self._picture(visit, rng)
            said = self.rows.said[image]
            if first:
                frame = Frame(picture, [said[i] for i in chosen])
                return first_look(frame, rng, self.config.path, self.config.whole, wanted=len(chosen))
            look = later_look(Frame(picture, said), rng, self.config.path)  # all rows: look-alikes among them
            if look.sentences:
                return look
        raise InputError(f"{TRIES} windows of the picture {image!r} in a row give nothing to learn from")

    def _picture(self, visit: int, rng: np.random.Generator) -> tuple[str, np.ndarray, np.ndarray]:
        """The name and the pixels of a visit's picture, or of another one in place of a damaged one, and which of its rows a
        first look may speak of."""
        for _ in range(TRIES):
            image, chosen = self._visit(visit)
            try:
                return image, self._open(image), chosen
            except InputError as error:
                if self.config.missing == "error":
                    raise InputError(f"the picture {image!r} cannot be used: {error}") from None
                with self.replaced.get_lock():
                    self.replaced.value += 1
                visit = visit - visit % self.visits + int(rng.integers(self.visits))
        raise InputError(f"{TRIES} pictures in a row, {image!r} the last of them, cannot be opened")

    def _read(self, image: str) -> np.ndarray:
        picture = open_image(find_image(self.folder, image))
        if (picture.shape[1], picture.shape[0]) != self.rows.sizes[image]:
            raise InputError("its size is not what the head of its file said when the training began")
        return picture

    def _visit(self, number: int) -> tuple[str, np.ndarray]:
        """The picture of a visit, and which of its rows a first look may speak of."""
        epoch, place = divmod(number, self.visits)
        return self._order(epoch)[place]

    def _shuffled(self, epoch: int) -> list[tuple[str, np.ndarray]]:
        rng = np.random.default_rng([self.config.seed, epoch, 2**32 - 1])
        visits = []
        for image in self.images:
            count = len(self.rows.said[image])
            pieces = math.ceil(count / self.config.sentences)
            visits += [(image, some) for some in np.array_split(rng.permutation(count), pieces)]
        return [visits[i] for i in rng.permutation(len(visits))]


def _pieces(items: list, most: int | None) -> list[list]:
    """The items in lists of at most so many; None: in one."""
    most = most or len(items)
    return [items[at : at + most] for at in range(0, len(items), most)]
