"""Drawn scenes as lists of objects with sentences, without their pictures: what the matcher is taught on.

    python -m piza.training.from_scratch.lists.drawn --out drawn.jsonl --count 3000 [--first-seed S]

One JSON line a scene: {"width", "height", "objects": [{"xyxy", "attributes"}, ...], "rows": [[sentence, index, relevance],
...], "absent": [sentence, ...]}, as `streets.rows` writes photos. Goes on where it was when called again.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from piza.data.scenes import expressions, render
from piza.data.scenes.absent import choose
from piza.data.scenes.attributes import attribute_words
from piza.data.scenes.meaning import Facts
from piza.data.scenes.objects import Expression, SceneObject
from piza.data.scenes.relevance import relevance
from piza.data.scenes.write import pick_rows
from piza.training.from_scratch.streets.rows import written_relevance

SIZE = (2048, 1152)
FIRST_SEED = 2**43  # no seed of `piza data scenes` reaches it
TOGETHER = 8  # scenes that lend each other sentences which are true of nothing


def scene_group(seeds: list[int], max_rows: int = 64, absent: int = 4) -> list[str]:
    """The lines of some scenes."""
    told: list[tuple[list[SceneObject], list[Expression]]] = []
    for seed in seeds:
        objects = render(seed, SIZE, 0).objects
        rng = np.random.default_rng([seed, 1])
        told.append((objects, pick_rows(expressions(objects, SIZE, rng, 4), max_rows, rng)))
    lines = []
    for number, (objects, rows) in enumerate(told):
        facts = Facts(objects, SIZE)
        others = [row for other, (_, found) in enumerate(told) if other != number for row in found]
        rng = np.random.default_rng([seeds[number], 2])
        line = {
            "width": SIZE[0],
            "height": SIZE[1],
            "objects": [{"xyxy": list(o.box_xyxy), "attributes": attribute_words(o)} for o in objects],
            "rows": [[e.ref, e.index, written_relevance(relevance(e, facts))] for e in rows],
            "absent": [e.ref for e in choose(facts, others, absent, rng)] if others else [],
        }
        lines.append(json.dumps(line) + "\n")
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    args = parser.parse_args()
    lines = args.out.read_text().splitlines(keepends=True) if args.out.exists() else []
    done = len([line for line in lines if line.endswith("\n")]) // TOGETHER * TOGETHER
    with open(args.out, "w") as file:
        file.writelines(lines[:done])
        for at in range(done, args.count, TOGETHER):
            seeds = [args.first_seed + number for number in range(at, min(at + TOGETHER, args.count))]
            file.writelines(scene_group(seeds))
            file.flush()


if __name__ == "__main__":
    main()
