"""A model for worker processes: it answers at once from pixels and sentence, and dies of images of certain widths."""

import os
import signal
import time
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from piza.batch.run import run_batch
from piza.errors import InputError
from piza.image import ImageReference
from piza.result import Result, Step

KILLS, KILLS_ONCE, NO_MEMORY, SLOW = 131, 133, 135, 139
"""Widths of images that end their worker, do so the first time, need more memory than there is, and take a second."""

ONCE = "PIZA_TEST_ONCE"
"""The environment variable that names a folder, where images leave a mark."""


class StandIn:
    def locate(self, image, expression, **search):
        pixels = np.asarray(image)
        height, width = pixels.shape[:2]
        if width == KILLS or (width == KILLS_ONCE and first_time()):
            os.kill(os.getpid(), signal.SIGKILL)
        if width == NO_MEMORY:
            np.ones(2**50)
        time.sleep(1 if width == SLOW else 0.005)
        results = []
        for sentence in expression:
            if sentence == "...":
                raise InputError("the sentence '...' has no words")
            number = (zlib.crc32(sentence.encode()) + int(pixels.sum())) % 1000 / 1000
            box = (number, number / 3, width / 2 + number, height / 3)
            step = Step((0.0, 0.0, width, height), (64, 48), 0.0, 0.5, np.array([box]), np.array([number]))
            source = ImageReference(image)
            results.append(Result(sentence, box, number, [step], (width, height), "stop", 1.0, source))
        return results


def run(out="out", images="photos", **options):
    """The manifest m.jsonl answered in parts of five rows, in this process unless told otherwise."""
    return run_batch("m.jsonl", images, out, **{"workers": 0, "part_rows": 5, "model": load, **options})


def load():
    return StandIn()


def load_and_die():
    os._exit(3)


def first_time():
    mark = Path(os.environ[ONCE]) / "was-here"
    if mark.exists():
        return False
    mark.touch()
    return True


def make_photos(folder, count, corrupt=(), **widths):
    """Photos 0.png, 1.png, ... of their own colors; some are no images, and some (p3=131) have a width of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number}.png"
        if number in corrupt:
            path.write_bytes(b"\x89PNG no image")
        else:
            size = (widths.get(f"p{number}", 40), 30)
            Image.new("RGB", size, (number % 256, 7 * number % 256, 90)).save(path)
    return folder


def make_rows(count, sentences=2):
    """Two rows about each of `count` photos, those of one photo not side by side."""
    return [
        {"image": f"{number}.png", "sentence": f"the object {turn}", "id": f"{number}-{turn}"}
        for turn in range(sentences)
        for number in range(count)
    ]
