"""Of the objects that a sentence weighs, how many have a query (or are listed) in the first look at a drawn street.

    python recipes/query_cover.py MODEL_FOLDER [--seed 31] [--count 63]

The scenes and sentences are those of `piza data scenes OUT --count N --seed S`. An object has a query where the last layer's
box of one overlaps it by an IoU of 0.4.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from first_look import answer

import piza
from piza.data import scenes
from piza.data.scenes.meaning import Facts
from piza.data.scenes.relevance import RELEVANCE, relevance
from piza.data.scenes.write import pick_rows
from piza.image import cut
from piza.model.tensor_boxes import iou
from piza.search.zoom_path import frame_window, input_size
from piza.training.from_scratch.base_model.relevance import ON_OBJECT

SIZE = (2048, 1152)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--count", type=int, default=63, help="scenes, of eight sentences each")
    args = parser.parse_args()
    model = piza.load(str(args.folder))
    frame = frame_window(SIZE)
    size = input_size(frame, True, model.config.first_pixels, model.config.later_pixels)
    there, met = np.zeros(len(RELEVANCE)), np.zeros(len(RELEVANCE))
    queries = on = 0
    for number in range(args.count):
        seed = args.seed * 1_000_003 + number
        scene = scenes.render(seed, SIZE)
        rng = np.random.default_rng([seed, 4])
        rows = pick_rows(scenes.expressions(scene.objects, SIZE, rng, 4), 8, rng)
        facts = Facts(scene.objects, SIZE)
        box = facts.box / np.tile(SIZE, 2)
        objects = torch.from_numpy(
            np.hstack([(box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]])
        ).float()
        features = model.encode_frame(cut(scene.image, frame, size))
        for row in rows:
            overlap = iou(answer(model, features, row.ref).boxes[-1, 0], objects)
            seen = (overlap >= ON_OBJECT).any(0).numpy()
            weighed = relevance(row, facts) == 1
            there += weighed.sum(0)
            met += (weighed & seen[:, None]).sum(0)
            queries += len(overlap)
            on += int((overlap >= ON_OBJECT).any(1).sum())
    for name, share, count in zip(RELEVANCE, 100 * met / there, there, strict=True):
        print(f"{name}: {share:.1f} % of {count:.0f} have a query")
    print(f"queries: {100 * on / queries:.1f} % lie on an object")


if __name__ == "__main__":
    main()
