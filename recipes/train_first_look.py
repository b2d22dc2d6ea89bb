"""How the first look of `mini` is trained: a proposal network that lists objects, and a matcher of sentences.

    $ONE scenes                      # scenes with all that is known of their objects
    $ONE attributes                  # anew: the words for what objects look like, first_look_words.json
    $ONE match                       # the matcher, on objects as the scenes know them; can run beside `list`
    $ONE list                        # the proposal network
    $TWO both                        # both together
    $ONE export --out src/piza/weights/mini

where ONE="python recipes/train_first_look.py" and TWO="torchrun --nproc_per_node 2 recipes/train_first_look.py". It reads the
photos of signs that `recipes/train_mini.py caches` leaves in --work, and adds its parts to the model of --base, whose later
looks stay as they are. A stage that is interrupted goes on where it was when it is called again.
"""

import argparse
import json
from pathlib import Path

from piza.training.from_scratch.drawn_first_look import stages
from piza.training.from_scratch.drawn_first_look.stages import ListStageOptions

WORDS = Path(__file__).with_name("first_look_words.json")


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["scenes", "attributes", *stages.SCHEDULES, "export"])
    parser.add_argument(
        "--work", type=Path, default=Path("runs/mini"), help="folder of caches, checkpoints and logs"
    )
    parser.add_argument(
        "--base", type=Path, default=Path("src/piza/weights/mini"), help="the model to begin with"
    )
    parser.add_argument(
        "--go-on", action="store_true", help="both: with the proposal network and matcher that --base has"
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--stop-after", type=int, help="leave after this step; the same command without it goes on"
    )
    parser.add_argument("--out", type=Path, help="where to export to")
    args = parser.parse_args()
    if args.stage == "scenes":
        return stages.write_scenes(args.work)
    if args.stage == "attributes":
        return stages.write_attribute_words(args.work, WORDS)
    words = {word: number for number, word in enumerate(json.loads(WORDS.read_text()))}
    model = stages.with_list(args.base, len(words))
    if args.stage == "export":
        if args.out is None:
            parser.error("export needs --out FOLDER")
        return stages.export(args.work, model, args.out)
    options = ListStageOptions(args.steps, args.lr, args.seed, args.stop_after, args.go_on)
    return stages.run_stage(args.work, args.stage, model, words, options)


if __name__ == "__main__":
    main()
