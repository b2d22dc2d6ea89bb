"""`piza data sentences`: rows about photos with labeled boxes."""

import argparse
from typing import Any

from piza.cli.common import at_least, note
from piza.errors import MAX_SEED


def add_sentences(kinds: Any) -> None:
    """Add `piza data sentences` to the parser's `kinds`."""
    sentences = kinds.add_parser("sentences", help="write sentences about photos with labeled boxes")
    sentences.add_argument(
        "labels", metavar="BOXES", help="a COCO, jsonl or data.yaml file; a YOLO, VOC or KITTI folder"
    )
    sentences.add_argument("--images", metavar="DIR", required=True, help="the folder of the photos")
    sentences.add_argument(
        "--out", metavar="ROWS.json", required=True, help="the rows to write, in SOREC's format"
    )
    sentences.add_argument(
        "--format",
        dest="label_format",
        choices=("coco", "yolo", "voc", "kitti", "jsonl"),
        help="default: told by BOXES",
    )
    sentences.add_argument(
        "--seed", metavar="S", type=at_least(0, MAX_SEED), default=0, help="same seed, same bytes"
    )
    sentences.add_argument(
        "--per-object",
        metavar="N",
        type=at_least(1),
        default=2,
        help="sentences an object (default: at most 2)",
    )
    sentences.add_argument(
        "--maybe",
        metavar="FILE.jsonl",
        help="boxes of a detector: what may be there unlabeled (extra: score)",
    )
    sentences.add_argument(
        "--mirrored", action="store_true", help="the photos may be mirrored: never say left or right"
    )
    sentences.set_defaults(run=_sentences)


def _sentences(options: argparse.Namespace) -> None:
    from piza.data.labels import read_labels
    from piza.data.streets.write import write_sentences
    from piza.files import check_not_read

    check_not_read([options.out], [options.labels, *([options.maybe] if options.maybe else [])])
    maybe = read_labels(options.maybe, options.images, "jsonl") if options.maybe else []
    done = write_sentences(
        options.labels,
        options.images,
        options.out,
        options.label_format,
        options.seed,
        options.per_object,
        maybe,
        options.mirrored,
    )
    if done.unlabeled:
        note(f"left out {done.unlabeled} photos without labels")
    if done.silent:
        note(f"found no sentence for {done.silent} photos with labels")
    print(f"{done.rows} rows about {done.photos - done.silent} photos in {options.out}")
