"""What the machines' check finds of faults that were planted in drawn scenes, and what it makes of right sentences.

    python benchmarks/planted_faults.py --scenes 50 --seed 914                 # measure
    python benchmarks/planted_faults.py --scenes 40 --seed 800 --save fit.jsonl
    python benchmarks/planted_faults.py --fit fit.jsonl                        # the WEIGHTS of piza.dataset.doubt
    python benchmarks/planted_faults.py --shift fit.jsonl                      # their constant, for a model trained anew

Four kinds of sentences in each scene: right ones; sentences of another thing; ambiguous ones, which are those of another
scene that are surely true of two things or more here; and right ones whose box is moved by half its width or height.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

import piza
from piza.boxes import clip_xyxy, iou_xyxy
from piza.data.scenes.language import expressions
from piza.data.scenes.meaning import Facts
from piza.data.scenes.scene import render
from piza.data.scenes.write import pick_rows
from piza.dataset.doubt import DOUBTFUL, Evidence, doubt_of, evidence_of, features
from piza.dataset.grounding import asker_of

SIZE = (2048, 1152)
KINDS = ("right", "another thing", "ambiguous", "half off")
EACH = 4  # faults of a kind in a scene, at most; twice as many right sentences
FALSE_ALARMS = 0.09  # in scenes not fitted on; a margin below a tenth
RIDGE = 1e-3
PARTS = 5


def scenes_of(count, seed):
    """[(image, objects, all sentences, eight of them)]"""
    found = []
    for number in range(count):
        scene_seed = seed * 1_000_003 + number  # as `piza data scenes --seed` draws them
        scene = render(scene_seed, SIZE, 0)
        rng = np.random.default_rng([scene_seed, 4])
        told = expressions(scene.objects, SIZE, rng, 4)
        found.append((scene_seed, scene.objects, told, pick_rows(told, 2 * EACH, rng)))
    return found


def planted(number, scenes, rng):
    """[(kind, sentence, box xyxy)] of one scene."""
    _, objects, _, rows = scenes[number]
    asked = [("right", row.ref, row.box_xyxy) for row in rows]
    pairs = [
        (a, b) for a in rows for b in rows if a.index != b.index and iou_xyxy(a.box_xyxy, b.box_xyxy) < 0.2
    ]
    asked += [
        ("another thing", pairs[place][0].ref, pairs[place][1].box_xyxy)
        for place in rng.permutation(len(pairs))[:EACH]
    ]
    facts = Facts(objects, SIZE)
    others = [one for other, scene in enumerate(scenes) if other != number for one in scene[2]]
    count = 0
    for place in rng.permutation(len(others)):
        fits = np.flatnonzero(facts.all(others[place].meaning) == 1)
        if len(fits) >= 2 and count < EACH:
            asked.append(("ambiguous", others[place].ref, objects[rng.choice(fits)].box_xyxy))
            count += 1
    for row in rows[:EACH]:
        x1, y1, x2, y2 = row.box_xyxy
        dx, dy = [((x2 - x1) / 2, 0), ((x1 - x2) / 2, 0), (0, (y2 - y1) / 2), (0, (y1 - y2) / 2)][
            rng.integers(4)
        ]
        asked.append(
            ("half off", row.ref, tuple(clip_xyxy((x1 + dx, y1 + dy, x2 + dx, y2 + dy), (0, 0, *SIZE))))
        )
    return asked


def collect(options):
    """A line a sentence: its kind, evidence, doubt and finding."""
    asker = asker_of(piza.load(options.model), options.model)
    scenes = scenes_of(options.scenes, options.seed)
    rng = np.random.default_rng(options.seed)
    lines, seconds = [], 0.0
    for number in range(len(scenes)):
        asked = planted(number, scenes, rng)
        image = render(scenes[number][0], SIZE, 0).image
        started = time.perf_counter()
        answers = asker.ask(image, [(text, box) for _, text, box in asked])
        seconds += time.perf_counter() - started
        for (kind, text, box), looks in zip(asked, answers, strict=True):
            found = doubt_of(text, box, looks)
            finding = found.finding.kind if found.finding else ""
            lines.append(
                {
                    "kind": kind, "scene": number, "text": text, "evidence": evidence_of(text, box, looks),
                    "doubt": found.doubt, "finding": finding,
                }
            )  # fmt: skip
        if options.save and number % 5 == 4:
            write(options.save, lines)
    print(f"{seconds / len(lines):.3f} s a sentence, {len(lines)} sentences in {len(scenes)} scenes")
    return lines


def write(path, lines):
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))


def report(lines):
    by_kind = defaultdict(list)
    for line in lines:
        by_kind[line["kind"]].append(line)
    for kind in KINDS:
        found = [line["doubt"] >= DOUBTFUL for line in by_kind[kind]]
        names = defaultdict(int)
        for line in by_kind[kind]:
            names[line["finding"]] += 1
        print(f"{kind:15s} {len(found):5d} sentences, {100 * np.mean(found):5.1f} % doubted  {dict(names)}")
    faults = [line["doubt"] >= DOUBTFUL for line in lines if line["kind"] != "right"]
    print(f"{'all planted':15s} {len(faults):5d} sentences, {100 * np.mean(faults):5.1f} % doubted")
    right = [line["doubt"] for line in by_kind["right"]]
    print("false alarms: planted found in all (and by kind)")
    for rate in (0.02, 0.05, 0.1, 0.15, 0.2):
        threshold = np.quantile(right, 1 - rate)
        shares = [100 * np.mean([line["doubt"] > threshold for line in by_kind[kind]]) for kind in KINDS[1:]]
        all_found = 100 * np.mean([line["doubt"] > threshold for line in lines if line["kind"] != "right"])
        print(f"  {100 * rate:4.0f} %  {all_found:5.1f} %  ({', '.join(f'{share:.1f}' for share in shares)})")


def fit(lines):
    """Logistic regression, both classes weighing the same. It is shifted so that `FALSE_ALARMS` of the right sentences are
    doubted, counted in scenes that the weights were not fitted on: in five parts, each in its turn."""
    rows = [features(Evidence(*line["evidence"])) for line in lines]
    names = [name for name in rows[0] if name != "one"]
    values = np.array([[row[name] for name in names] for row in rows])
    wrong = np.array([line["kind"] != "right" for line in lines])
    scenes = np.unique([line["scene"] for line in lines], return_inverse=True)[1]
    unseen = np.zeros(len(lines))
    for part in range(PARTS):
        here = scenes % PARTS == part
        weights, constant = regress(values[~here], wrong[~here])
        unseen[here] = values[here] @ weights + constant
    weights, constant = regress(values, wrong)
    shift = np.quantile(unseen[~wrong], 1 - FALSE_ALARMS)
    print(
        f"# {100 * np.mean(unseen[wrong] > shift):.1f} % of the planted are doubted in scenes not fitted on"
    )
    found = {"one": constant - shift, **dict(zip(names, weights, strict=True))}
    print("WEIGHTS: Mapping[str, float] = {")
    print("".join(f'    "{name}": {value:.4f},\n' for name, value in found.items()) + "}")


def shift(lines):
    """The constant of WEIGHTS with which `FALSE_ALARMS` of the right sentences are doubted, the other weights as they are: for a
    model that was trained anew."""
    from piza.dataset.doubt import WEIGHTS

    rows = [(line["kind"], features(Evidence(*line["evidence"]))) for line in lines]
    logits = {
        kind: [sum(WEIGHTS[name] * row[name] for name in WEIGHTS) for of, row in rows if of == kind]
        for kind in KINDS
    }
    by = np.quantile(logits["right"], 1 - FALSE_ALARMS)
    wrong = [value > by for kind in KINDS[1:] for value in logits[kind]]
    print(
        f'"one": {WEIGHTS["one"] - by:.4f},  # {100 * np.mean(wrong):.1f} % of the planted are doubted here'
    )


def regress(values, wrong):
    """Weights and constant of the log-odds of `wrong`."""
    from scipy.optimize import minimize

    weight = np.where(wrong, (~wrong).sum() / wrong.sum(), 1.0)
    mean, spread = values.mean(0), values.std(0) + 1e-9
    scaled = np.c_[(values - mean) / spread, np.ones(len(values))]
    sign = 2.0 * wrong - 1

    def loss(b):
        logits = scaled @ b
        slope = -sign / (1 + np.exp(sign * logits))
        value = (weight * np.logaddexp(0, -sign * logits)).mean() + RIDGE * (b[:-1] ** 2).sum()
        return value, scaled.T @ (weight * slope) / len(scaled) + 2 * RIDGE * np.r_[b[:-1], 0]

    b = minimize(loss, np.zeros(scaled.shape[1]), jac=True, method="L-BFGS-B").x
    plain = b[:-1] / spread
    return plain, float(b[-1] - (plain * mean).sum())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=80)
    parser.add_argument("--seed", type=int, default=914)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--save", help="write the evidence there, a line a sentence")
    parser.add_argument("--fit", nargs="+", help="files that --save wrote")
    parser.add_argument("--shift", nargs="+", help="files that --save wrote, for the constant alone")
    given = parser.parse_args()
    if given.fit or given.shift:
        found = []
        for path in given.fit or given.shift:
            lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
            found += [{**line, "scene": f"{path}-{line['scene']}"} for line in lines]
        (fit if given.fit else shift)(found)
    else:
        gathered = collect(given)
        if given.save:
            write(given.save, gathered)
        report(gathered)
