"""What a first look at a drawn street takes for the thing a sentence means, by kind of sentence.

    python recipes/first_look.py MODEL_FOLDER [--seed 31] [--count 63]

The scenes and sentences are those of `piza data scenes OUT --count N --seed S`. The best box of the first look is at the
thing its center is nearest to: the right one, one just beside it, a look-alike (same category, same color or not), or another.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import piza
from piza.data import scenes
from piza.data.scenes.write import pick_rows
from piza.image import cut
from piza.model.grounder import Grounding
from piza.model.piza import Piza
from piza.search.zoom_path import frame_window, input_size

SIZE = (2048, 1152)
HERE, BESIDE, NOWHERE = 40.0, 110.0, 60.0  # distances of centers, in frame pixels


def answer(model: Piza, features, sentence: str) -> Grounding:
    """What a first look answers; features as `model.encode_frame` gives them."""
    if model.config.num_proposals:
        return model.match([sentence], features)
    text, pooling = model.encode_prompts([[sentence]])
    return model.ground(text, pooling, features, torch.zeros(1))


def best_center(model: Piza, features, sentence: str) -> np.ndarray:
    """The center of the best box of a first look, in frame pixels."""
    grounding = answer(model, features, sentence)
    best = int(grounding.logits[-1, 0].max(-1)[0].argmax())
    return grounding.boxes[-1, 0, best, :2].numpy() * SIZE


def taken_for(center: np.ndarray, objects: list, target: int) -> str:
    """What the thing at a center is to the target."""
    boxes = np.array([o.box_xyxy for o in objects])
    per_sentence_queries = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - center).max(1)
    nearest = objects[int(per_sentence_queries.argmin())]
    if per_sentence_queries[target] < HERE:
        return "right"
    if per_sentence_queries[target] < BESIDE:
        return "beside it"
    if per_sentence_queries.min() > NOWHERE:
        return "nothing"
    category = "same" if nearest.category == objects[target].category else "other"
    color = "same" if nearest.color == objects[target].color else "other"
    return f"{category} category, {color} color"


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
    counts: dict[str, Counter] = {"all": Counter()}
    for number in range(args.count):
        seed = args.seed * 1_000_003 + number
        scene = scenes.render(seed, SIZE)
        rng = np.random.default_rng([seed, 4])
        rows = pick_rows(scenes.expressions(scene.objects, SIZE, rng, 4), 8, rng)
        features = model.encode_frame(cut(scene.image, frame, size))
        for row in rows:
            found = taken_for(best_center(model, features, row.ref), scene.objects, row.index)
            counts["all"][found] += 1
            counts.setdefault(row.kind, Counter())[found] += 1
    for kind, count in counts.items():
        rows = sum(count.values())
        shares = ", ".join(f"{name} {100 * n / rows:.1f}" for name, n in count.most_common())
        print(f"{kind} ({rows} rows): {shares}")


if __name__ == "__main__":
    main()
