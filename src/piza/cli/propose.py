"""`piza data propose`: small things in photos, that sentences may be about."""

import argparse
from typing import TYPE_CHECKING, Any

from piza.cli.common import at_least, note, over, probability, show_photos
from piza.errors import MAX_TILES_A_SIDE, InputError

if TYPE_CHECKING:
    from piza.dataset.candidates import Proposer


def add_propose(kinds: Any) -> None:
    """Add `piza data propose` to the parser's `kinds`."""
    propose = kinds.add_parser("propose", help="find small things in photos, that sentences may be about")
    propose.add_argument("photos", metavar="PHOTOS", help="the folder of the photos")
    propose.add_argument(
        "--out", metavar="PROPOSALS.jsonl", required=True, help="a file that is there is gone on with"
    )
    who = propose.add_mutually_exclusive_group()
    who.add_argument("--model", metavar="MODEL", default="mini", help="whose list of objects (default: mini)")
    who.add_argument("--detector", metavar="NAME", help="a zero-shot detector of transformers; with --labels")
    who.add_argument("--segmenter", metavar="NAME", help="a mask generator of transformers: SAM, SAM 2")
    who.add_argument("--boxes", metavar="BOXES", help="label files: COCO, YOLO, VOC, KITTI, jsonl")
    propose.add_argument("--labels", metavar="A,B,...", help="what --detector looks for")
    propose.add_argument(
        "--format",
        dest="label_format",
        choices=("coco", "yolo", "voc", "kitti", "jsonl"),
        help="of --boxes (default: told by BOXES)",
    )
    propose.add_argument(
        "--tiles",
        metavar="N",
        type=at_least(1, MAX_TILES_A_SIDE),
        help="look at the photo and at N x N parts of it (default: 2 for photos of over 2,000 pixels, 1 for others)",
    )
    limits = propose.add_argument_group("what is kept")
    limits.add_argument(
        "--min-share", metavar="P", type=over(0, 100), default=0.01, help="%% of the photo (default: 0.01)"
    )
    limits.add_argument(
        "--max-share", metavar="P", type=over(0, 100), default=0.15, help="%% of the photo (default: 0.15)"
    )
    limits.add_argument(
        "--min-side", metavar="PX", type=over(0, 65535), help="longer side in pixels (default: 12)"
    )
    limits.add_argument(
        "--min-score",
        metavar="S",
        type=probability,
        help="of the proposer; for a list: and of being a whole thing (default: 0.25)",
    )
    limits.add_argument(
        "--per-photo", metavar="N", type=at_least(1), help="things a photo at most (default: 20)"
    )
    limits.add_argument("--only", metavar="A,B,...", help="things of these categories only")
    propose.add_argument("--recursive", action="store_true", help="photos in folders of the folder, too")
    propose.add_argument("--device", metavar="DEVICE", default="cpu", help="cpu (default), cuda, ...")
    propose.set_defaults(run=_propose)


def _propose(options: argparse.Namespace) -> int:
    from piza.config import override
    from piza.dataset.propose import propose
    from piza.dataset.selection import SelectionConfig

    shares = {"min_share": options.min_share / 100, "max_share": options.max_share / 100}
    config = override(
        SelectionConfig(**shares),
        min_side=options.min_side,
        min_score=options.min_score,
        per_photo=options.per_photo,
        categories=_names(options.only) or None,
    )
    source, proposer, made_with = _proposer(options)
    done = propose(
        options.photos, options.out, proposer, source, config, options.recursive, made_with, show_photos
    )
    for message in done.failed:
        note(message)
    if done.before:
        note(f"{done.before} photos were done before")
    reasons = ", ".join(f"{count} {why}" for why, count in done.dropped.most_common())
    print(f"{done.proposals} proposals in {done.photos} photos, in {options.out}")
    if reasons:
        note(f"left out: {reasons}")
    return 1 if done.failed and not done.photos and not done.before else 0


def _proposer(options: argparse.Namespace) -> "tuple[str, Proposer, dict[str, Any]]":
    """Name, function and settings of what was asked for."""
    from piza.dataset import candidates, pipelines

    if options.labels and not options.detector:
        raise InputError("--labels names what --detector looks for; give both")
    if options.boxes and options.tiles:
        raise InputError("--tiles is for who looks at photos, not for --boxes")
    if options.boxes:
        from piza.data.labels import read_labels

        photos = read_labels(options.boxes, options.photos, options.label_format)
        return "labels", candidates.labeled_boxes(photos), {"boxes": str(options.boxes)}
    if options.detector:
        if not options.labels:
            raise InputError(
                "--detector needs --labels, the names of what to look for: --labels 'traffic sign,person'"
            )
        labels = list(_names(options.labels))
        detector = pipelines.zero_shot_detector(options.detector, labels, options.device)
        made_with = {"labels": labels}
        source = options.detector
    elif options.segmenter:
        detector, source, made_with = (
            pipelines.mask_segmenter(options.segmenter, options.device),
            options.segmenter,
            {},
        )
    else:
        import piza

        detector, source = (
            candidates.model_list(piza.load(options.model, device=options.device)),
            options.model,
        )
        made_with = {}
    return source, candidates.tiled(detector, options.tiles), {"tiles": options.tiles, **made_with}


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
