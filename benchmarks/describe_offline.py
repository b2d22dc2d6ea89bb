"""How many of the generator's sentences about proposals are true, on drawn streets, where the truth is known.

    python benchmarks/describe_offline.py [--scenes 6] [--seed 9000000] [--maybe 0.15 0.25 0.35]

Proposals and what else is there come from the model alone, as in `piza data describe` without an endpoint. A sentence counts
as true where its thing is drawn (IoU 0.4) and all that it claims holds of it; as true of it alone where it holds of nothing
else drawn.
"""

import argparse

import numpy as np
import torch

import piza
from piza.boxes import iou_matrix_xyxy, xyxy_to_xywh
from piza.data.scenes import render
from piza.data.scenes.meaning import Facts
from piza.dataset import generator
from piza.dataset.candidates import model_list, tiled
from piza.dataset.records import Proposal
from piza.dataset.selection import SelectionConfig, select

SIZE = (1600, 900)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--seed", type=int, default=9_000_000)
    parser.add_argument("--maybe", type=float, nargs="+", default=[0.15, 0.25, 0.35])
    args = parser.parse_args()
    torch.set_num_threads(1)
    look = tiled(model_list(piza.load("mini")), 2)
    scenes = [render(args.seed + number, SIZE) for number in range(args.scenes)]
    seen = [look(scene.image, "") for scene in scenes]
    written: list = []
    street_sentences = generator.street_sentences

    def watched(*values, **named):  # `generated` gives texts; their meaning is needed
        written.append(street_sentences(*values, **named))
        return written[-1]

    generator.street_sentences = watched
    print("maybe  things  described  sentences  true  true of it alone")
    for maybe in args.maybe:
        counts = np.zeros(5, int)
        for scene, candidates in zip(scenes, seen, strict=True):
            kept = [kept.candidate for kept in select(candidates, SIZE, SelectionConfig()).kept]
            proposals = [
                Proposal(
                    str(n),
                    "a.jpg",
                    *SIZE,
                    tuple(xyxy_to_xywh(c.xyxy).tolist()),
                    c.category,
                    c.score,
                    "mini",
                    c.attributes,
                    "",
                )
                for n, c in enumerate(kept)
            ]
            texts = generator.generated(scene.image, proposals, candidates, 0, 2, maybe=maybe)
            told = [
                n for n, p in enumerate(proposals) if p.category and p.score >= generator.MIN_CATEGORY_SCORE
            ]
            facts = Facts(scene.objects, SIZE)
            overlap = iou_matrix_xyxy([c.xyxy for c in kept], [o.box_xyxy for o in scene.objects])
            for sentence in written[-1][0]:
                thing = overlap[told[sentence.index]]
                drawn = int(thing.argmax())
                true = thing[drawn] >= 0.4 and facts.all(sentence.meaning)[drawn] > 0
                counts[2:] += [1, true, true and facts.names_only(sentence.meaning, drawn)]
            counts[:2] += [len(kept), sum(map(bool, texts))]
        shares = [f"{100 * count / max(counts[2], 1):.0f} %" for count in counts[3:]]
        print(f"{maybe:5g}  {counts[0]:6d}  {counts[1]:9d}  {counts[2]:9d}  {shares[0]}  {shares[1]}")


if __name__ == "__main__":
    main()
