"""A pool: many frames of one size with what may be said of them, on disk, read without decoding anything.

    POOL/frames.npy     uint8 (count, height, width, 3) RGB, memory-mapped
    POOL/frames.jsonl   one line a frame: {"rows": [[sentence, box, thing], ...], "phrases": [[phrase, [box, ...]], ...],
                        "absent": [sentence, ...]}
    POOL/roles.jsonl    of scenes, one line a frame: {"things": [box, ...], "attributes": [[word, ...], ...], "roles": [[letters,
                        letters, letters], ...]}: how every thing looks ("category=car"), and for each row what every thing
                        is to its sentence (piza.data.scenes.relevance): "1", "0", or "?" in between

Training cuts thousands of windows an hour from it; decoding JPEGs would cost as much as the model.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from piza.data.scenes.objects import SceneObject
from piza.data.sorec import Row
from piza.errors import InputError
from piza.image import cut, open_image


@dataclass
class Frame:
    """A picture with sentences. Boxes are xyxy in frame pixels.

    rows: (sentence, box, number of the thing in its frame); a thing may have several sentences.
    phrases: (noun phrase, (n, 4) all boxes it is true of). absent: sentences that are true of nothing in the picture.
    things: (m, 4) all nameable things, looks: how each looks, and roles: for each row (m, 3) what they are to its sentence,
    0, 0.5 or 1; empty where that is not known.
    """

    picture: NDArray[np.uint8]
    rows: list[tuple[str, NDArray, int]]
    phrases: list[tuple[str, NDArray]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    objects: NDArray = field(default_factory=lambda: np.zeros((0, 4)))
    relevance: list[NDArray] = field(default_factory=list)
    attributes: list[list[str]] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.shape[1], self.picture.shape[0]


class Pool:
    def __init__(self, folder: str | Path):
        folder = Path(folder)
        try:
            self.pictures = np.load(folder / "frames.npy", mmap_mode="r")
            lines = (folder / "frames.jsonl").read_text().splitlines()
            of_roles = folder / "roles.jsonl"
            self.relevance = of_roles.read_text().splitlines() if of_roles.exists() else []
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} is no pool of frames: {error}") from None
        self.notes = [json.loads(line) for line in lines]
        for lines in (self.notes, self.relevance or self.notes):
            if len(lines) != len(self.pictures):
                raise InputError(
                    f"{folder} holds {len(self.pictures)} pictures but {len(lines)} lines; write it anew."
                )

    def __len__(self) -> int:
        return len(self.notes)

    def __getitem__(self, index: int) -> Frame:
        note = self.notes[index]
        more = json.loads(self.relevance[index]) if self.relevance else {"objects": [], "relevance": []}
        return Frame(
            self.pictures[index],
            [(ref, np.array(box, dtype=float), thing) for ref, box, thing in note["rows"]],
            [(phrase, np.array(boxes, dtype=float).reshape(-1, 4)) for phrase, boxes in note["phrases"]],
            note.get("absent", []),
            np.array(more["objects"], dtype=float).reshape(-1, 4),
            [_read_roles(letters) for letters in more["relevance"]],
            more.get("attributes", []),
        )


VALUES = {"0": 0.0, "?": 0.5, "1": 1.0}


def _read_roles(columns: list[str]) -> NDArray:
    return np.array([[VALUES[letter] for letter in column] for column in columns]).T


def _written_roles(relevance: NDArray) -> list[str]:
    letter = {value: letter for letter, value in VALUES.items()}
    return ["".join(letter[float(value)] for value in column) for column in relevance.T]


def write_pool(folder: str | Path, count: int, size: tuple[int, int], frames: Iterable[Frame]) -> None:
    """Writes `count` frames of one size (width, height)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = np.lib.format.open_memmap(
        folder / "frames.part", mode="w+", dtype=np.uint8, shape=(count, size[1], size[0], 3)
    )
    with open(folder / "frames.jsonl", "w") as notes, open(folder / "roles.jsonl", "w") as of_roles:
        for index, frame in enumerate(frames):
            pictures[index] = frame.picture
            more = {
                "objects": np.round(frame.objects, 2).tolist(),
                "attributes": frame.attributes,
                "relevance": [_written_roles(relevance) for relevance in frame.relevance],
            }
            of_roles.write(json.dumps(more) + "\n")
            rows = [[ref, np.round(box, 2).tolist(), thing] for ref, box, thing in frame.rows]
            phrases = [[phrase, np.round(boxes, 2).tolist()] for phrase, boxes in frame.phrases]
            notes.write(json.dumps({"rows": rows, "phrases": phrases, "absent": frame.absent}) + "\n")
    pictures.flush()
    (folder / "frames.part").replace(folder / "frames.npy")


def _looks(thing: SceneObject) -> list[str]:
    shown = {"category": thing.category, "color": thing.color, "shade": thing.shade, **thing.attributes}
    return [f"{name}={value}" for name, value in shown.items() if value]


def _scene_frames(job: tuple[tuple[int, ...], tuple[int, int], int, int, int]) -> list[Frame]:
    from piza.data import scenes
    from piza.data.scenes.absent import choose
    from piza.data.scenes.meaning import Facts
    from piza.data.scenes.relevance import relevance
    from piza.data.scenes.write import pick_rows

    seeds, size, shrink, absent, most = job
    stored = (size[0] // shrink, size[1] // shrink)
    drawn = [scenes.render(seed, size) for seed in seeds]
    frames, told = [], []
    for seed, scene in zip(seeds, drawn, strict=True):
        rng = np.random.default_rng([seed, 1])
        rows = pick_rows(scenes.expressions(scene.objects, size, rng, per_object=4), most, rng)
        told.append(rows)
        facts = Facts(scene.objects, size)
        frames.append(
            Frame(
                scene.image if shrink == 1 else cut(scene.image, (0, 0, *size), stored),
                [(row.ref, np.asarray(row.box_xyxy) / shrink, row.index) for row in rows],
                [(phrase, boxes / shrink) for phrase, boxes in scenes.phrases(scene, rng)],
                objects=facts.box / shrink,
                relevance=[relevance(row, facts) for row in rows],
                attributes=[_looks(thing) for thing in scene.objects],
            )
        )
    for number, seed in enumerate(seeds if absent else ()):
        others = [row for other, rows in enumerate(told) if other != number for row in rows]
        rng = np.random.default_rng([seed, 2])
        found = choose(Facts(drawn[number].objects, size), others, absent, rng)
        frames[number].absent = [row.ref for row in found]
    return frames


TOGETHER = 8  # scenes that lend each other sentences


def scene_frames(
    seeds: Sequence[int],
    size: tuple[int, int],
    shrink: int = 1,
    absent: int = 0,
    workers: int = 2,
    most: int = 48,
) -> Iterator[Frame]:
    """Synthetic scenes, rendered by several processes, in the order of their seeds.

    `shrink` divides their size once they are drawn: first looks need no more, and many more scenes fit on a disk.
    `absent`: so many sentences of each are of another scene, and true of nothing in this one. `most`: sentences a scene.
    """
    groups = [tuple(seeds[at : at + TOGETHER]) for at in range(0, len(seeds), TOGETHER)]
    with get_context("spawn").Pool(workers) as processes:
        for frames in processes.imap(
            _scene_frames, [(group, size, shrink, absent, most) for group in groups]
        ):
            yield from frames


def photo_frames(
    rows: list[Row], folder: str | Path, size: tuple[int, int], others: Iterable[str] = ()
) -> Iterator[Frame]:
    """Photos with rows in SOREC's format, then `others` (names) without any, each resized to `size`.

    Equal boxes in a photo are one thing.
    """
    by_picture: dict[str, list[Row]] = {}
    for row in rows:
        by_picture.setdefault(row.image, []).append(row)
    for name in others:
        by_picture.setdefault(name, [])
    for name, of_picture in by_picture.items():
        picture = open_image(Path(folder) / name)
        height, width = picture.shape[:2]
        scale = np.array([size[0] / width, size[1] / height] * 2)
        if (width, height) != size:
            picture = cut(picture, (0, 0, width, height), size)
        objects: dict[tuple, int] = {}
        found = [
            (
                row.expression,
                np.asarray(row.box_xyxy) * scale,
                objects.setdefault(tuple(row.box_xyxy), len(objects)),
            )
            for row in of_picture
        ]
        yield Frame(picture, found)
