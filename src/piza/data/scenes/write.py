"""Write scenes to a folder: images and rows.json in the format of SOREC."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...errors import MAX_SEED, MAX_WORKERS, InputError, check_whole
from ...files import atomic_write
from .language import KINDS, expressions
from .objects import Expression
from .scene import render


def pick_rows(rows: list[Expression], count: int, rng: np.random.Generator) -> list[Expression]:
    """At most `count` rows, of mixed kinds, about different objects as far as there are any."""
    if len(rows) <= count:
        return rows
    order = rng.permutation(len(rows))
    kinds: dict[str, int] = dict.fromkeys(KINDS, 0)
    used: dict[int, int] = {}
    taken: list[int] = []
    while len(taken) < count:
        left = [int(r) for r in order if int(r) not in taken]
        best = min(
            left,
            key=lambda r: (
                used.get(rows[r].index, 0),
                kinds[rows[r].kind],
                not rows[r].hard_category,
                not rows[r].hard_color,
            ),
        )
        taken.append(best)
        kinds[rows[best].kind] += 1
        used[rows[best].index] = used.get(rows[best].index, 0) + 1
    return [rows[r] for r in sorted(taken)]


def _one(number: int, out: Path, seed: int, size: tuple[int, int], per_image: int) -> list[dict[str, Any]]:
    """Draw and write scene `number`; its rows without ids."""
    scene_seed = seed * 1_000_003 + number
    scene = render(scene_seed, size)
    rng = np.random.default_rng([scene_seed, 4])
    rows = pick_rows(expressions(scene.objects, size, rng, 4), per_image, rng)
    name = f"{number:06d}.jpg"
    ok, data = cv2.imencode(
        ".jpg", cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 93]
    )
    if not ok:
        raise RuntimeError(f"could not encode {name}")
    with atomic_write(out / "images" / name) as path:
        Path(path).write_bytes(data.tobytes())
    found = []
    for e in rows:
        x0, y0, x1, y1 = (round(v) for v in e.box_xyxy)
        found.append({"image": name, "bbox": [x0, y0, x1 - x0, y1 - y0], "ref": e.ref})
    return found


def _setup() -> None:
    cv2.setNumThreads(1)


def write(
    out: str | Path,
    count: int,
    seed: int = 0,
    size: tuple[int, int] = (2048, 1152),
    workers: int = 1,
    expressions_per_image: int = 8,
) -> int:
    """Write `count` scenes to OUT/images/*.jpg and their sentences to OUT/rows.json; the number of rows.

    A row is {"image", "bbox": [x, y, width, height] in frame pixels, "ref", "id"}. The same arguments write the same
    bytes, whatever the number of workers. Raises InputError for a count, size or number of sentences below one.
    """
    check_whole("count", count, 1)
    check_whole("seed", seed, 0, MAX_SEED)
    check_whole("workers", workers, 1, MAX_WORKERS)
    if min(size) < 320:
        raise InputError(f"size is {size[0]}x{size[1]}; scenes need at least 320 pixels each way")
    check_whole("expressions_per_image", expressions_per_image, 1)
    out = Path(out)
    (out / "images").mkdir(parents=True, exist_ok=True)
    task = partial(_one, out=out, seed=seed, size=size, per_image=expressions_per_image)
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_setup) as pool:
            batches = list(pool.map(task, range(count), chunksize=4))
    else:
        batches = [task(n) for n in range(count)]
    rows = [dict(r, id=k + 1) for k, r in enumerate(r for b in batches for r in b)]
    with atomic_write(out / "rows.json") as path:
        lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows)
        Path(path).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return len(rows)
