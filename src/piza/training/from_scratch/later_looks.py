"""Teach the later looks of a model real photos: windows around what sentences mean, and around what looks alike.

    python -m piza.training.from_scratch.later_looks --base FOLDER --rows rows.json [--written rows.json] --streets DIR
        --signs DIR [--scenes POOL] --work DIR [--out FOLDER]

Rows are as `streets.rows` writes them, with generated and with written sentences. The grounder of --base is trained and nothing else; with --out the model is written in
the end, with the mean of its weights before and after. Goes on where it was when called again.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piza.data.frames import Frame
from piza.data.windows import TrainingWindow, later_window, told_window
from piza.image import open_image
from piza.methods import METHODS, train_only
from piza.model import accelerate
from piza.model.io import load_folder, save_folder
from piza.model.piza import Piza
from piza.training.from_scratch.base_model.window_batches import SceneBatch, collate_scenes, scene_loss
from piza.training.from_scratch.frames.scene_caches import SceneCaches
from piza.training.from_scratch.lists.listed_frames import Frames, photo_frames
from piza.training.from_scratch.lists.object_lists import swap_sides
from piza.training.from_scratch.proposals.crops import haze
from piza.training.from_scratch.proposals.train import source_folders
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

WINDOWS = 12  # a batch
SAME_FRAME = 3  # windows of one photo, whose decoding costs as much as they do
SCENES = 0.2  # share of batches of drawn scenes
WRITTEN = 0.5  # of the others, share of photos whose sentences somebody wrote
WRONG = 0.45  # share of windows around something else than what is meant
# The relevance of an object that fits what a sentence says of its target: piza.data.scenes.relevance.
FITS_TARGET = 0
KEPT = ("detector.", "zoom.", "relations.")  # what is trained


class PhotoFrames:
    """Photos with sentences, drawn by how much is said of them."""

    def __init__(self, frames: Frames, folders: dict[str, Path]):
        self.frames, self.folders = frames, folders
        chance = np.array([min(len(one.rows), 12) for one in frames.lists], float)
        self.chance = chance / chance.sum()

    def draw(self, rng: np.random.Generator) -> Frame:
        """A photo in any light, some mirrored."""
        number = int(rng.choice(len(self.chance), p=self.chance))
        key, one = self.frames.keys[number], self.frames.lists[number]
        source, name = key.split("/")
        image = open_image(self.folders[source] / name)
        mirrored = source != "signs" and rng.random() < 0.3
        objects = one.xyxy
        if mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
            objects = np.stack(
                [
                    image.shape[1] - objects[:, 2],
                    objects[:, 1],
                    image.shape[1] - objects[:, 0],
                    objects[:, 3],
                ],
                1,
            )
        said = [(swap_sides(ref) if mirrored else ref, index, known) for ref, index, known in one.rows]
        unknown = np.full((len(objects), 3), 0.5)
        return Frame(
            haze(image, rng),
            [(ref, objects[index], index) for ref, index, _ in said],
            absent=one.absent,
            objects=objects,
            relevance=[unknown if known is None else known.astype(float) for _, _, known in said],
            attributes=one.words,
        )


class LaterLooks:
    """Batches of later windows of photos and of scenes; a function of the step and the process."""

    def __init__(
        self,
        model: Piza,
        photos: PhotoFrames,
        written: PhotoFrames | None,
        scenes: SceneCaches | None,
        seed: int,
    ):
        self.path, self.pixels = model.config.path, model.config.later_pixels
        self.photos, self.written, self.scenes, self.seed = photos, written, scenes, seed

    def __call__(self, step: int, process: int) -> SceneBatch:
        """The batch of a step."""
        rng = np.random.default_rng([self.seed, step, process])
        drawn = rng.random() < SCENES
        windows: list[TrainingWindow] = []
        while len(windows) < WINDOWS:
            source: PhotoFrames | SceneCaches = self.photos
            if drawn and self.scenes:
                source = self.scenes
            elif self.written and rng.random() < WRITTEN:
                source = self.written
            frame = source.draw(rng)
            for _ in range(SAME_FRAME):
                window = self.window(frame, rng)
                if window.sentences:
                    windows.append(window)
        return collate_scenes(windows[:WINDOWS], (self.pixels, self.pixels), rng)

    def window(self, frame: Frame, rng: np.random.Generator) -> TrainingWindow:
        """A window of a path, or one around a rival of a sentence's target."""
        row = int(rng.integers(len(frame.rows)))
        rivals = rivals_of(frame, row)
        if len(rivals) and rng.random() < WRONG:
            return told_window(frame, row, frame.objects[int(rng.choice(rivals))], rng, self.path)
        return later_window(frame, rng, self.path, wrong_share=0.1)


def rivals_of(frame: Frame, row: int) -> NDArray[np.int64]:
    """Objects that a sentence's target may be taken for: what fits its description, else what shares its category."""
    owner = frame.rows[row][2]
    fits = frame.relevance[row][:, FITS_TARGET] > 0 if frame.relevance else np.zeros(len(frame.objects), bool)
    known = frame.relevance and (frame.relevance[row] != 0.5).any()
    if not known and frame.attributes:
        own = {word for word in frame.attributes[owner] if word.startswith("category=")}
        fits = np.array([bool(own & set(words)) for words in frame.attributes])
    fits = fits.copy()
    fits[owner] = False
    sides = frame.objects[:, 2:] - frame.objects[:, :2]
    return np.flatnonzero(fits & (sides.min(1) >= 5))


def prepared(base: Path) -> tuple[Piza, list[torch.nn.Parameter], set[str]]:
    """The model of a folder; what of it is trained, and the names of that in its state."""
    model = load_folder(base)
    accelerate.apply(model.detector, training=True)
    names = {n for n in METHODS[model.config.method].trained_names(model) if n.startswith(KEPT)}
    parameters = train_only(model, names)
    return model, parameters, {name for name in model.state_dict() if name.startswith(KEPT)}


def look_loss(model: Piza, batch: SceneBatch) -> dict[str, Tensor]:
    """The losses of a batch of windows, those of all that could be named in them among them."""
    return scene_loss(model, batch, objects=True)


def mean_of(before: dict[str, Tensor], after: dict[str, Tensor], keep: float) -> dict[str, Tensor]:
    """The weights of `before`, moved towards those of `after` by a share of 1 - `keep`; whole numbers are taken from `after`."""
    return {
        name: torch.lerp(after[name], weight, keep) if weight.is_floating_point() else after[name]
        for name, weight in before.items()
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True, help="as `streets.rows` writes them")
    parser.add_argument("--written", type=Path, help="the same of sentences that somebody wrote")
    parser.add_argument("--streets", type=Path)
    parser.add_argument("--signs", type=Path)
    parser.add_argument("--scenes", type=Path, nargs="*", default=[])
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoint and the log")
    parser.add_argument("--out", type=Path, help="write the model there")
    parser.add_argument(
        "--keep",
        type=float,
        default=0.5,
        help="share of the base's own weights in what is written: it keeps what the base knew (Wortsman et al. 2022)",
    )
    parser.add_argument("--steps", type=int, default=4400)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-after", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, parameters, names = prepared(args.base)
    before = {name: weight.clone() for name, weight in model.state_dict().items() if name.startswith(KEPT)}
    folders = source_folders(args.streets, args.signs)
    batches = LaterLooks(
        model,
        PhotoFrames(photo_frames(args.rows), folders),
        PhotoFrames(photo_frames(args.written), folders) if args.written else None,
        SceneCaches(*args.scenes) if args.scenes else None,
        args.seed,
    )
    config = TrainerConfig(steps=args.steps, lr=args.lr, ema_decay=0.995, save_every=240.0)
    trainer = Trainer(model.train(), parameters, batches, look_loss, config, args.work, state_names=names)
    average = trainer.run(args.stop_after)
    if args.out:
        accelerate.undo(model.detector)
        model.load_state_dict(mean_of(before, average, args.keep), strict=False)
        save_folder(model.eval(), args.out, half=True)


if __name__ == "__main__":
    main()
