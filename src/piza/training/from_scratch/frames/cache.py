"""A frame cache: many frames of one size with what is known of them, on disk, read without decoding anything.

    CACHE/frames.npy     uint8 (count, height, width, 3) RGB, memory-mapped
    CACHE/frames.jsonl   one line a frame: {"rows": [[sentence, box, number], ...], "phrases": [[phrase, [box, ...]], ...],
                         "absent": [sentence, ...]}
    CACHE/objects.jsonl  of scenes, one line a frame: {"objects": [box, ...], "attributes": [[word, ...], ...], "relevance":
                         [[letters, letters, letters], ...]}: the appearance of every object ("category=car"), and for each row
                         what every object is to its sentence (piza.data.scenes.relevance): "1", "0", or "?" in between

Training cuts thousands of windows an hour from it; decoding JPEGs would cost as much as the model.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.data.frames import Frame
from piza.errors import InputError, reason

IMAGES, ROWS, OBJECTS = "frames.npy", "frames.jsonl", "objects.jsonl"
RELEVANCE_CODES = {"0": 0.0, "?": 0.5, "1": 1.0}


class FrameCache:
    """The frames of a folder, by index; their pixels are read when they are used.

    Attributes:
        images: (count, height, width, 3) uint8 RGB, memory-mapped.
        notes: for each frame what `frames.jsonl` says.

    Raises InputError when the folder holds no cache, or one that was not finished.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        try:
            self.images: NDArray[np.uint8] = np.load(folder / IMAGES, mmap_mode="r")
            self.notes: list[dict[str, Any]] = [
                json.loads(line) for line in (folder / ROWS).read_text().splitlines()
            ]
            objects = folder / OBJECTS
            self._objects = objects.read_text().splitlines() if objects.exists() else None
        except (OSError, ValueError) as error:
            raise InputError(f"{str(folder)!r} is no frame cache: {reason(error)}") from None
        for lines in (self.notes, self._objects if self._objects is not None else self.notes):
            if len(lines) != len(self.images):
                raise InputError(
                    f"{str(folder)!r} holds {len(self.images)} images but {len(lines)} lines; write it anew"
                )

    def __len__(self) -> int:
        return len(self.notes)

    def __getitem__(self, index: int) -> Frame:
        note = self.notes[index]
        more: dict[str, Any] = {"objects": [], "relevance": []}
        if self._objects is not None:
            more = json.loads(self._objects[index])
        return Frame(
            self.images[index],
            [(sentence, np.array(box, dtype=float), number) for sentence, box, number in note["rows"]],
            [(phrase, np.array(boxes, dtype=float).reshape(-1, 4)) for phrase, boxes in note["phrases"]],
            note.get("absent", []),
            np.array(more["objects"], dtype=float).reshape(-1, 4),
            [_decoded(letters) for letters in more["relevance"]],
            more.get("attributes", []),
        )

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))


def write_frame_cache(folder: str | Path, count: int, size: tuple[int, int], frames: Iterable[Frame]) -> None:
    """Write `count` frames of one size (width, height)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / "frames.part"
    images = np.lib.format.open_memmap(
        unfinished, mode="w+", dtype=np.uint8, shape=(count, size[1], size[0], 3)
    )
    with open(folder / ROWS, "w") as notes, open(folder / OBJECTS, "w") as objects:
        for index, frame in enumerate(frames):
            images[index] = frame.image
            more = {
                "objects": np.round(frame.objects, 2).tolist(),
                "attributes": frame.attributes,
                "relevance": [_encoded(relevance) for relevance in frame.relevance],
            }
            objects.write(json.dumps(more) + "\n")
            rows = [[sentence, np.round(box, 2).tolist(), number] for sentence, box, number in frame.rows]
            phrases = [[phrase, np.round(boxes, 2).tolist()] for phrase, boxes in frame.phrases]
            notes.write(json.dumps({"rows": rows, "phrases": phrases, "absent": frame.absent}) + "\n")
    images.flush()
    unfinished.replace(folder / IMAGES)


def _decoded(columns: list[str]) -> NDArray[np.float64]:
    return np.array([[RELEVANCE_CODES[letter] for letter in column] for column in columns]).T


def _encoded(relevance: NDArray[np.float64]) -> list[str]:
    letters = {value: letter for letter, value in RELEVANCE_CODES.items()}
    return ["".join(letters[float(value)] for value in column) for column in relevance.T]
