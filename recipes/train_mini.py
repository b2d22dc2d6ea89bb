"""How the grounder of the embedded model `mini` is trained, stage by stage. Every stage reads what the one before it left in
--work, and one that is interrupted goes on where it was when it is called again.

    python recipes/train_mini.py caches --signs FOLDER       # scenes and photos to train on
    $TRAIN close                     # stage A1: single objects, seen close
    $TRAIN ground                    # stage A2: windows of every size; the base model
    $TRAIN zoom                      # stage B: the zoom policy, all weights
    $TRAIN whole --stop-after 662    # to compare with `zoom`: answer from the whole frame in one look
    $TRAIN adapters --stop-after 662 # to compare with `zoom`: base frozen, adapters trained
    python recipes/train_mini.py progress                    # the box-history encoder
    python recipes/train_mini.py export --stage zoom --out src/piza/weights/mini

where TRAIN="torchrun --nproc_per_node 2 recipes/train_mini.py": two processes of one thread are faster on two cores than one
with two. With glibc, MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 and
GLIBC_TUNABLES=glibc.malloc.hugetlb=1 in the environment save a fifth of the time, which otherwise goes into page faults; the
processes grow by some 200 MB a minute, so stop and continue them every hour or so. --signs is a folder with images/ and
train.json in SOREC's format.
"""

import argparse
from pathlib import Path

from piza.training.from_scratch.base_model import stages
from piza.training.from_scratch.base_model.stages import CacheSizes, StageOptions

TRAINED = (*stages.GROUNDING_STAGES, *stages.ZOOM_STAGES)


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["caches", *TRAINED, "progress", "export"])
    parser.add_argument(
        "--work", type=Path, default=Path("runs/mini"), help="folder for caches, checkpoints and logs"
    )
    parser.add_argument("--signs", type=Path, help="folder of sign photos (images/, train.json)")
    parser.add_argument("--scenes", type=int, default=CacheSizes.scenes)
    parser.add_argument("--half", type=int, default=CacheSizes.half)
    parser.add_argument("--tall", type=int, default=CacheSizes.tall)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument(
        "--init", help="start from: a stage for `close` (default: fresh weights), a model folder for `zoom`"
    )
    parser.add_argument(
        "--stop-after", type=int, help="leave after this step; the same command without it goes on"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", dest="source", default="zoom", choices=TRAINED, help="which to export")
    parser.add_argument("--out", type=Path, help="where to export to")
    args = parser.parse_args()
    if args.stage == "caches":
        if args.signs is None:
            parser.error("caches needs --signs FOLDER")
        stages.make_caches(args.work, args.signs, CacheSizes(args.scenes, args.half, args.tall))
    elif args.stage == "progress":
        stages.train_history(args.work, args.seed)
    elif args.stage == "export":
        if args.out is None:
            parser.error("export needs --out FOLDER")
        stages.export(args.work, args.source, args.out)
    else:
        options = StageOptions(args.steps, args.lr, args.seed, args.stop_after, args.init)
        stages.run_stage(args.work, args.stage, options)


if __name__ == "__main__":
    main()
