"""Teach the matcher on lists of objects, without pictures: drawn scenes, real photos and SOREC's own sentences.

    python -m piza.training.from_scratch.lists.train_matcher train --model FOLDER --attributes words.json --drawn drawn.jsonl
        --streets rows.json --sorec trainS.json val.json --out RUN [--steps N]
    python -m piza.training.from_scratch.lists.train_matcher evaluate ... --weights matcher.safetensors

--model: a folder that `words.vocabulary` wrote. One photo of SOREC in ten is held out, and --val-streets are rows of photos that
are. A run that is interrupted goes on where it was when called again. It leaves matcher.safetensors, and words.txt with the words
that the matcher was taught.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoTokenizer

from piza.files import atomic_write
from piza.model.known_words import write_known_words
from piza.model.matcher import ExpressionMatcher
from piza.model.region_encoder import STATE as REGION_STATE
from piza.model.text import Prompter
from piza.training.from_scratch.lists.object_lists import (
    IGNORED,
    NONE,
    Blur,
    ListTeller,
    ObjectList,
    ToldLists,
    read_drawn,
    read_street_rows,
    sorec_lists,
)
from piza.training.from_scratch.words.target_words import target_words
from piza.training.from_scratch.words.vocabulary import count_words
from piza.training.loader import MicroBatches
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

STATES = 96  # width of what a first look's queries hold, which lists do not know
TOLD = STATES + REGION_STATE + 1  # width of what is told of an object beside words
PREFIX = "matcher."

# Lists a step, entries a list, sentences a list, weight of the loss. SOREC's photos of few objects make batches of their own,
# which are shorter.
SHARES = {
    "drawn": (1, 40, 20, 0.5),
    "streets": (1, 40, 16, 0.5),
    "sorec_few": (10, 10, 8, 1.0),
    "sorec_many": (4, 22, 12, 0.8),
}
FEW = 9  # objects
_SOREC = Blur(keep=(0.3, 1.0))
BLURS = {"drawn": Blur(), "streets": Blur(keep=(0.5, 1.0)), "sorec_few": _SOREC, "sorec_many": _SOREC}


def widened(weights: dict[str, Tensor], words: int) -> dict[str, Tensor]:
    """The matcher's weights with columns for new attribute words, after those of the old ones; they start at zero."""

    def with_columns(columns: Tensor) -> Tensor:
        old = columns.shape[1] - TOLD
        before, after = columns.split([STATES + old, REGION_STATE + 1], 1)
        return torch.cat([before, columns.new_zeros(len(columns), words - old), after], 1)

    return weights | {n: with_columns(weights[n]) for n in ("features.weight", "traits.weight")}


def begun(folder: Path, words: int) -> ExpressionMatcher:
    """The matcher of a model folder, for `words` attribute words."""
    weights = {
        name.removeprefix(PREFIX): tensor.float()
        for name, tensor in load_file(folder / "model.safetensors").items()
        if name.startswith(PREFIX)
    }
    matcher = ExpressionMatcher(len(weights["words.weight"]), TOLD + words)
    matcher.load_state_dict(widened(weights, words))
    return matcher


class ListBatches:
    """Batches of all kinds of lists, a function of the step and the process."""

    def __init__(self, lists: dict[str, list[ObjectList]], teller: ListTeller, seed: int):
        self.lists, self.teller, self.seed = lists, teller, seed

    def __call__(self, step: int, process: int) -> MicroBatches[ToldLists]:
        """The batches of one step."""
        rng = np.random.default_rng([self.seed, step, process])
        batches = []
        for kind, lists in self.lists.items():
            count, k, rows, weight = SHARES[kind]
            # Photos with more sentences teach more.
            chance = np.array([min(len(one.rows), rows) for one in lists], float)
            chosen = rng.choice(len(lists), count, p=chance / chance.sum())
            batches.append(
                self.teller.tell([lists[int(i)] for i in chosen], k, rows, rng, BLURS[kind], kind, weight)
            )
        return MicroBatches(batches)


def list_loss(matcher: nn.Module, told: ToldLists) -> dict[str, Tensor]:
    """Cross entropy of the object that is meant, or none, at every layer; and of relevance."""
    answers, relevance = matcher.read(told.ids, told.mask, told.features, told.boxes, told.aspect)  # type: ignore[operator]
    k = answers.shape[-1]
    asked = told.target != IGNORED
    if not asked.any():  # the objects that were asked for were left out
        return {"loss": 0 * answers.sum()}
    target = torch.where(told.target == NONE, k, told.target)[asked]
    logits = torch.cat([answers, torch.zeros_like(answers[..., :1])], -1)
    which = 2 * torch.stack([functional.cross_entropy(layer[asked], target) for layer in logits]).mean()
    wrong = functional.binary_cross_entropy_with_logits(
        relevance, told.relevance.expand_as(relevance), reduction="none"
    )
    known = {value: (told.relevance == value) & asked[..., None, None] for value in (0.0, 1.0)}
    parts = [wrong[:, where].mean() if where.any() else which.new_zeros(()) for where in known.values()]
    there = target < k
    right = (answers[-1][asked].argmax(-1) == target)[there].float().sum() / there.sum().clamp(min=1)
    return {
        "loss": told.weight * (which + 0.5 * sum(parts)),
        f"which_{told.kind}": which,
        f"right_{told.kind}": right,
    }


# --- evaluation -------------------------------------------------------------------------------------------------------

TELLINGS = {
    "all that sentences say": Blur((1.0, 1.0), (1.0, 1.0), 0.0, 0.0),
    "as a first look sees": Blur((0.6, 0.6), (0.92, 0.92), 0.0, 0.0),
    "half of it": Blur((0.4, 0.4), (0.85, 0.85), 0.0, 0.0),
    "categories alone": Blur((0.0, 0.0), (1.0, 1.0), 0.0, 0.0),
}
LENGTHS = ((0, 15), (15, 20), (20, 25), (25, 30), (30, 99))


@torch.inference_mode()
def judged(
    matcher: ExpressionMatcher, teller: ListTeller, lists: Sequence[ObjectList], blur: Blur, seed: int
) -> list[dict[str, Any]]:
    """For every sentence whether the right object is chosen, and what simpler ways would choose.

    category: the share of right ones among the objects of the sentence's category; words: among those whose words fit best.
    """
    result = []
    for number, one in enumerate(lists):
        rng = np.random.default_rng([seed, number])
        told = teller.tell([one], len(one.words), len(one.rows), rng, blur)
        answers, _ = matcher.read(told.ids, told.mask, told.features, told.boxes, told.aspect)
        best = answers[-1, 0].argmax(-1)
        shown = told.features[0, :, STATES : -REGION_STATE - 1].numpy() > 0.5
        order = np.random.default_rng([seed, number])
        rows = teller._asked(one, teller._told(one, len(one.words), order, blur), len(one.rows), order, blur)
        for row, (sentence, index, _) in enumerate(rows):
            said = np.zeros(shown.shape[1], bool)
            said[[teller.words[word] for word in target_words(sentence) if word in teller.words]] = True
            category = np.array([word.startswith("category=") for word in teller.words])
            fits = (shown & said & category).sum(1)
            overlap = (shown & said).sum(1) - 0.5 * (shown & ~said).sum(1)
            result.append(
                {
                    "right": bool(best[row] == index),
                    "chance": 1 / len(one.words),
                    "category": _share(fits, index),
                    "words": _share(overlap, index),
                    "length": len(sentence.split()),
                    "alike": int((fits == fits.max()).sum()),
                }
            )
    return result


def _share(scores: np.ndarray, index: int) -> float:
    """How often a random one of the best is the right one."""
    best = scores == scores.max()
    return float(best[index] / best.sum())


def evaluate(
    matcher: ExpressionMatcher, teller: ListTeller, lists: dict[str, list[ObjectList]], seed: int = 0
) -> dict[str, Any]:
    """Accuracy on held-out lists, by what is told and by length of the sentence."""
    matcher.eval()
    report: dict[str, Any] = {}
    for kind, held in lists.items():
        for name, blur in TELLINGS.items():
            found = judged(matcher, teller, held, blur, seed)
            table: dict[str, Any] = {"rows": len(found)}
            for column in ("right", "words", "category", "chance"):
                table[column] = round(100 * float(np.mean([row[column] for row in found])), 1)
            for low, high in LENGTHS:
                some = [row["right"] for row in found if low <= row["length"] < high]
                table[f"{low} to {high - 1} words"] = [len(some), round(100 * float(np.mean(some or [0])), 1)]
            report[f"{kind}: {name}"] = table
    return report


# --- the program ------------------------------------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["train", "evaluate"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--attributes", type=Path, required=True, help="JSON list of attribute words")
    parser.add_argument("--drawn", type=Path)
    parser.add_argument("--streets", type=Path)
    parser.add_argument("--val-streets", type=Path)
    parser.add_argument("--sorec", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the run, or the report of an evaluation"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        help="what `train` left, to evaluate or to begin with; else the model's own matcher",
    )
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-after", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    words = {word: place for place, word in enumerate(json.loads(args.attributes.read_text()))}
    prompter = Prompter(AutoTokenizer.from_pretrained(args.model))
    teller = ListTeller(words, STATES, prompter)
    matcher = begun(args.model, len(words))
    if args.weights:
        weights = load_file(args.weights)
        matcher.load_state_dict(
            {name.removeprefix(PREFIX): t.float() for name, t in weights.items() if name.startswith(PREFIX)}
        )
    if args.what == "evaluate":
        held = {"sorec, 4 boxes and more": sorec_lists(args.sorec, held_out=True, min_objects=4)}
        if args.val_streets:
            held["streets"] = read_street_rows(args.val_streets)
        report = evaluate(matcher, teller, held)
        with atomic_write(args.out) as part:
            part.write_text(json.dumps(report, indent=1))
        for name, table in report.items():
            print(name, table)
        return
    sorec = sorec_lists(args.sorec, held_out=False)
    lists = {
        "sorec_few": [one for one in sorec if len(one.words) <= FEW],
        "sorec_many": [one for one in sorec if len(one.words) > FEW],
    }
    if args.drawn:
        lists["drawn"] = read_drawn(args.drawn)
    if args.streets:
        lists["streets"] = read_street_rows(args.streets)
    print(
        {kind: (len(found), sum(len(one.rows) for one in found)) for kind, found in lists.items()}, flush=True
    )
    taught = [ref for found in lists.values() for one in found for ref, *_ in one.rows]
    args.out.mkdir(parents=True, exist_ok=True)
    write_known_words(args.out, count_words(taught))
    config = TrainerConfig(steps=args.steps, lr=args.lr, ema_decay=0.995)
    batches = ListBatches(lists, teller, args.seed)
    trainer = Trainer(matcher, list(matcher.parameters()), batches, list_loss, config, args.out)
    average = trainer.run(args.stop_after)
    with atomic_write(args.out / "matcher.safetensors") as part:
        save_file({PREFIX + name: tensor.contiguous() for name, tensor in average.items()}, part)


if __name__ == "__main__":
    main()
