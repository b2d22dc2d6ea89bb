"""One model in eight threads: 100 mixed calls in each, compared with the same calls in one thread.

    python benchmarks/reliability/threads.py --threads 8 --calls 100

A call is one of: a sentence or several about an image as an array, a file or bytes, with options of the search, its
drawing, its film, its exports. Equal means: every number, to the last bit, and every byte of a drawing.
"""

import argparse
import hashlib
import io
import json
import threading
import time
from typing import Any

import numpy as np
from PIL import Image

import piza
from piza.data.scenes.scene import render

SENTENCES = [
    "the red car",
    "the round sign",
    "the man in blue",
    "the second tree from the left",
    "the zorgle",
]
OPTIONS: list[dict[str, Any]] = [
    {}, {"budget": 2}, {"budget": 3, "greedy": True}, {"whole_frame": True}, {"max_looks": 2}, {"min_score": 0.9, "budget": 2},
]  # fmt: skip


def images(count: int) -> list[np.ndarray]:
    return [render(seed, (352 + 32 * seed, 320)).image for seed in range(count)]


def encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def call(model: Any, pictures: list[Any], number: int) -> str:
    """What call `number` answers, as text; a function of the number alone."""
    rng = np.random.default_rng(number)
    picture = pictures[rng.integers(len(pictures))]
    source = (picture[0], picture[1], Image.fromarray(picture[0]))[rng.integers(3)]
    several = rng.random() < 0.3
    chosen = [SENTENCES[i] for i in rng.permutation(len(SENTENCES))[: 1 + rng.integers(3)]]
    options = OPTIONS[rng.integers(len(OPTIONS))]
    results = model.locate(source, chosen if several else chosen[0], keep_image=True, **options)
    results = results if several else [results]
    said: list[Any] = [{**result.to_dict(), "milliseconds": 0} for result in results]
    kind = rng.integers(8)
    if kind == 0:
        said.append(results[0].to_coco(1))
    elif kind == 1:
        said.append(results[0].to_label_studio("a.jpg"))
    elif kind == 2 and number % 3 == 0:  # the times in it differ
        results[0].milliseconds = 0.0
        said.append(hashlib.sha256(results[0].draw(600).tobytes()).hexdigest())
    return json.dumps(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    model = piza.load(options.model)
    pictures = [(image, encoded(image)) for image in images(3)]
    total = options.threads * options.calls
    began = time.monotonic()
    expected = [call(model, pictures, number) for number in range(total)]
    alone = time.monotonic() - began
    answers: list[str | None] = [None] * total
    failures: list[str] = []

    def work(thread: int) -> None:
        for number in range(thread, total, options.threads):
            try:
                answers[number] = call(model, pictures, number)
            except BaseException as error:
                failures.append(repr(error))

    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = time.monotonic() - began
    different = sum(a != b for a, b in zip(answers, expected, strict=True))
    print(
        f"{total} calls, {len(set(expected))} different answers: in one thread {alone:.0f} s, in {options.threads} threads "
        f"{together:.0f} s; {len(failures)} raised, {different} differ"
    )
    for line in sorted(set(failures))[:5]:
        print(line)
    raise SystemExit(bool(failures or different))


if __name__ == "__main__":
    main()
