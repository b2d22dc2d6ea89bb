"""Frames to fill a cache with: drawn scenes, and photos with rows in SOREC's format."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from piza.data.frames import Frame
from piza.data.scenes.attributes import attribute_words
from piza.data.sorec import Row
from piza.image import cut, open_image

SCENES_PER_GROUP = 8  # scenes that lend each other sentences


@dataclass(frozen=True)
class _SceneGroup:
    seeds: tuple[int, ...]
    size: tuple[int, int]
    shrink: int
    num_absent: int
    max_sentences: int


def scene_frames(
    seeds: Sequence[int],
    size: tuple[int, int],
    shrink: int = 1,
    num_absent: int = 0,
    workers: int = 2,
    max_sentences: int = 48,
) -> Iterator[Frame]:
    """Drawn scenes of a size (width, height), rendered by several processes, in the order of their seeds.

    `shrink` divides their size once they are drawn: first looks need no more, and many more scenes fit on a disk.
    `num_absent`: so many sentences of each are of another scene, and true of nothing in this one. `max_sentences`: of a scene.
    """
    groups = [
        _SceneGroup(tuple(seeds[at : at + SCENES_PER_GROUP]), size, shrink, num_absent, max_sentences)
        for at in range(0, len(seeds), SCENES_PER_GROUP)
    ]
    with get_context("spawn").Pool(workers) as processes:
        for frames in processes.imap(_draw_group, groups):
            yield from frames


def _draw_group(group: _SceneGroup) -> list[Frame]:
    from piza.data import scenes
    from piza.data.scenes.absent import choose
    from piza.data.scenes.meaning import Facts
    from piza.data.scenes.relevance import relevance
    from piza.data.scenes.write import pick_rows

    size, shrink = group.size, group.shrink
    stored = (size[0] // shrink, size[1] // shrink)
    drawn = [scenes.render(seed, size) for seed in group.seeds]
    frames, rows_of_scenes = [], []
    for seed, scene in zip(group.seeds, drawn, strict=True):
        rng = np.random.default_rng([seed, 1])
        rows = pick_rows(scenes.expressions(scene.objects, size, rng, per_object=4), group.max_sentences, rng)
        rows_of_scenes.append(rows)
        facts = Facts(scene.objects, size)
        frames.append(
            Frame(
                scene.image if shrink == 1 else cut(scene.image, (0, 0, *size), stored),
                [(row.ref, np.asarray(row.box_xyxy) / shrink, row.index) for row in rows],
                [(phrase, boxes / shrink) for phrase, boxes in scenes.phrases(scene, rng)],
                objects=facts.box / shrink,
                relevance=[relevance(row, facts) for row in rows],
                attributes=[attribute_words(scene_object) for scene_object in scene.objects],
            )
        )
    for number, seed in enumerate(group.seeds if group.num_absent else ()):
        others = [row for other, rows in enumerate(rows_of_scenes) if other != number for row in rows]
        rng = np.random.default_rng([seed, 2])
        found = choose(Facts(drawn[number].objects, size), others, group.num_absent, rng)
        frames[number].absent = [row.ref for row in found]
    return frames


def photo_frames(
    rows: list[Row], folder: str | Path, size: tuple[int, int], others: Iterable[str] = ()
) -> Iterator[Frame]:
    """Photos with rows in SOREC's format, then `others` (names) without any, each resized to `size` (width, height).

    Equal boxes in a photo are one object.
    """
    by_image: dict[str, list[Row]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).append(row)
    for name in others:
        by_image.setdefault(name, [])
    for name, of_image in by_image.items():
        image = open_image(Path(folder) / name)
        height, width = image.shape[:2]
        scale = np.array([size[0] / width, size[1] / height] * 2)
        if (width, height) != size:
            image = cut(image, (0, 0, width, height), size)
        numbers: dict[tuple[float, ...], int] = {}
        annotations = [
            (
                row.expression,
                np.asarray(row.box_xyxy) * scale,
                numbers.setdefault(tuple(row.box_xyxy), len(numbers)),
            )
            for row in of_image
        ]
        yield Frame(image, annotations)
