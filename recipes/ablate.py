"""What each ingredient of mini's first look brings: short trainings from the same seed, each without one ingredient.

    python recipes/ablate.py list --work WORK --streets DIR --signs DIR --scenes POOL --nanodet nanodet_g.onnx
    python recipes/ablate.py matcher --work WORK --streets DIR --signs DIR --scenes POOL --sorec trainS.json val.json --val ROWS ...

WORK is that of `recipes/train_streets.sh` after its last step, POOL one that it drew. `list`: proposal networks, judged by how many
labeled things of the photos to choose on they list (`proposals.recall`). `matcher`: matchers from nothing, told what the finished
network and encoder say, judged by the written sentences about these photos, drawn streets and held-out photos of SOREC. Prints a
JSON line an arm; what is finished stays in WORK/ablation, and an arm that is interrupted goes on where it was. One thread.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from piza.files import atomic_write
from piza.methods import train_only
from piza.model.matcher import ExpressionMatcher
from piza.model.text import Prompter
from piza.training.checkpoint import averaged_weights
from piza.training.from_scratch.lists.batches import ListedBatches, evaluate
from piza.training.from_scratch.lists.cached import read_cache
from piza.training.from_scratch.lists.listed_frames import photo_frames
from piza.training.from_scratch.lists.object_lists import ListTeller, sorec_lists
from piza.training.from_scratch.lists.reader import ListReader
from piza.training.from_scratch.lists.train_matcher import PREFIX, STATES
from piza.training.from_scratch.lists.train_matcher import evaluate as evaluate_told
from piza.training.from_scratch.proposals.crops import Sources
from piza.training.from_scratch.proposals.train import (
    LISTED,
    SHARES,
    CropBatches,
    loss_of,
    network_of,
    new_network,
    read_photos,
    read_words,
    source_folders,
    start_from_nanodet,
)
from piza.training.from_scratch.regions.matcher_alone import SHARES as STEP
from piza.training.from_scratch.regions.matcher_alone import (
    MatcherAlone,
    moved_cache,
    start_encoder,
    write_states,
)
from piza.training.from_scratch.regions.matcher_alone import loss_of as matcher_loss
from piza.training.from_scratch.regions.pixels import RegionPixels
from piza.training.from_scratch.regions.train import read_sentences
from piza.training.trainer import Trainer
from piza.training.trainer_config import TrainerConfig

STEPS = {"list": 400, "matcher": 300}
# Kinds of lists, as `regions.train` calls them, that an arm of the matcher does without.
MATCHER_ARMS: dict[str, tuple[str, ...]] = {
    "everything": (),
    "without SOREC's sentences": ("sorec",),
    "without written sentences and names": ("written", "named", "beside"),
    "without real photos": ("photos", "written", "named", "beside"),
}
LIST_ARMS = ("everything", "without pretrained backbone", "without real photos", "without drawn streets")


def taught_list(args: argparse.Namespace, arm: str, run: Path) -> dict[str, Any]:
    """Teach a proposal network; the share that it lists of labeled things in photos to choose on and 100 drawn streets."""
    words = read_words()
    network = new_network(args.base, words, LISTED, regions=False)
    network.half_precision = args.half
    pretrained = arm != "without pretrained backbone"
    if pretrained:
        start_from_nanodet(network, args.nanodet, words)
    shares = {name: share for name, share in SHARES.items() if arm != f"without {_ingredient(name)}"}
    photos = [photo for photo in read_photos(args.work, "train") if photo.source in shares]
    sources = Sources(photos, source_folders(args.streets, args.signs), [args.scenes], words, shares)
    started = [
        p for part in (network.backbone, network.category, network.distance) for p in part.parameters()
    ]
    config = TrainerConfig(
        args.steps,
        1e-3,
        backbone_lr=0.25 if pretrained else 1.0,
        muon=False,
        ema_decay=0.99,
        warmup=50,
        save_every=180.0,
    )
    batches = CropBatches(sources, args.seed, 4)
    Trainer(network, list(network.parameters()), batches, loss_of, config, run, backbone_params=started).run()
    with atomic_write(run / "network.safetensors") as part:
        save_file({name: tensor.half() for name, tensor in averaged_weights(run).items()}, part)
    command = [sys.executable, "-m", "piza.training.from_scratch.proposals.recall", "--json", "--half"]
    command += ["--proposals", run / "network.safetensors", "--base", args.base, "--work", args.work]
    command += ["--streets", args.streets, "--signs", args.signs, "--scenes", args.scenes, "--pixels", "1120"]
    found = json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout)
    kinds = ("photos but for poles", "photos but for poles, under 32 px", "scenes")
    return {name: found[name]["list"] for name in kinds}


def _ingredient(source: str) -> str:
    return "drawn streets" if source == "scenes" else "real photos"


def fresh_reader(args: argparse.Namespace) -> ListReader:
    """The finished network, and a matcher from nothing of the same widths."""
    weights = load_file(args.work / "listed/matcher.safetensors")
    words, told = weights[f"{PREFIX}words.weight"], weights[f"{PREFIX}features.weight"]
    torch.manual_seed(args.seed)
    network = network_of(
        args.base, load_file(args.work / "tight.safetensors"), read_cache(args.work / "lists").boxes.shape[1]
    )
    return ListReader(network, ExpressionMatcher(len(words), told.shape[1]))


def teller_of(args: argparse.Namespace) -> tuple[ListTeller, int]:
    """What tells lists, and the id of a word that is not known."""
    tokenizer = AutoTokenizer.from_pretrained(args.work / "base")
    words = {word: place for place, word in enumerate(read_words().words)}
    return ListTeller(words, STATES, Prompter(tokenizer)), tokenizer.unk_token_id


def taught_matcher(args: argparse.Namespace, arm: str, run: Path) -> dict[str, Any]:
    """Teach a matcher; how many of the sentences to choose on, and of SOREC's held-out photos, it has right."""
    teller, unknown = teller_of(args)
    frames, told = read_sentences(args)
    without = MATCHER_ARMS[arm]
    batches = ListedBatches(
        args.work / "lists",
        {kind: found for kind, found in frames.items() if kind not in without},
        {kind: found for kind, found in told.items() if kind not in without},
        teller,
        unknown,
        args.seed,
        shares=STEP,
        read=moved_cache,
    )
    alone = MatcherAlone(fresh_reader(args), args.work / "lists")
    names = {f"reader.{name}" for name in alone.reader.trained()}
    config = TrainerConfig(args.steps, 1e-3, weight_decay=1e-3, ema_decay=0.99, warmup=50, seed=args.seed)
    trainer = Trainer(alone, train_only(alone, names), batches, matcher_loss, config, run, state_names=names)
    alone.load_state_dict(trainer.run(), strict=False)
    alone.eval()
    sorec = {"sorec": sorec_lists(args.sorec, held_out=True, min_objects=4)}
    judged = evaluate_told(alone.reader.matcher, teller, sorec)
    found = {f"SOREC, {name}": table["right"] for name, table in judged.items()}
    alone.look_at(args.work / "ablation/lists")
    for rows in args.val:
        lists = ListedBatches(
            args.work / "ablation/lists",
            {rows.stem: photo_frames(rows)},
            {},
            teller,
            unknown,
            0,
            read=moved_cache,
        )
        found[rows.stem] = evaluate(alone.read, lists, together=True)["all"]
    return found


def write_val_lists(args: argparse.Namespace) -> None:
    """What the finished network and encoder say of the photos to choose on."""
    out, proposals = args.work / "ablation/lists", args.work / "tight.safetensors"
    command = [
        sys.executable,
        "-m",
        "piza.training.from_scratch.lists.cached",
        "--no-regions",
        "--views",
        "1",
    ]
    command += ["--proposals", proposals, "--base", args.base, "--rows", *args.val]
    command += ["--streets", args.streets, "--signs", args.signs, "--out", out]
    subprocess.run(list(map(str, command)), check=True)
    folders = source_folders(args.streets, args.signs)
    kept = args.work / "ablation/pixels.bin"
    pixels = RegionPixels(read_cache(out).by_key, folders, None, kept, torch.device("cpu"))
    write_states(out, start_encoder(proposals), pixels)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=STEPS)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=Path("src/piza/weights/mini"), help="for its settings")
    parser.add_argument("--streets", type=Path, required=True)
    parser.add_argument("--signs", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--nanodet", type=Path)
    parser.add_argument("--named", type=Path, default=Path("recipes/named_regions.jsonl"))
    parser.add_argument("--sorec", type=Path, nargs="*", default=[])
    parser.add_argument("--val", type=Path, nargs="*", default=[], help="rows to choose on")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--half", action="store_true", help="convolutions of networks in bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.steps = args.steps or STEPS[args.part]
    args.rows, args.written, args.drawn = args.work / "train.json", args.work / "written.json", None
    if args.part == "matcher":
        write_val_lists(args)
    for arm in LIST_ARMS if args.part == "list" else MATCHER_ARMS:
        run = args.work / "ablation" / f"{args.part} {arm}".replace(" ", "_").replace("'", "")
        report = run / "report.json"
        if not report.exists():
            found = taught_list(args, arm, run) if args.part == "list" else taught_matcher(args, arm, run)
            with atomic_write(report) as part:
                part.write_text(json.dumps({"arm": arm, "steps": args.steps, "seed": args.seed, **found}))
        print(report.read_text(), flush=True)


if __name__ == "__main__":
    main()
