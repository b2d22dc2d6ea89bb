"""`piza data`: make, check, count, view and convert rows."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from piza.cli.audit import add_audit
from piza.cli.common import Parser, add_box_options, at_least, note
from piza.cli.describe import add_describe
from piza.cli.machine_check import add_machine_check
from piza.cli.propose import add_propose
from piza.cli.reword import add_reword
from piza.cli.sentences import add_sentences
from piza.cli.split import add_split
from piza.cli.verify import add_verify
from piza.errors import MAX_SEED, MAX_WORKERS, InputError
from piza.files import check_not_read, check_writable

FORMATS = (
    "sorec",
    "coco",
    "refcoco",
    "odvg",
    "hf",
)  # those of piza.data.convert, so that --help imports nothing


def add_data_commands(commands: Any) -> None:
    """Add `piza data` and the commands below it to the parser's `commands`."""
    data = commands.add_parser("data", help="make, check, count, view and convert data")
    kinds = data.add_subparsers(metavar="KIND", required=True, parser_class=Parser)
    _add_scenes(kinds)
    add_sentences(kinds)
    add_propose(kinds)
    add_describe(kinds)
    add_reword(kinds)
    add_machine_check(kinds)
    add_verify(kinds)
    add_split(kinds)
    _add_check(kinds)
    _add_stats(kinds)
    _add_view(kinds)
    _add_convert(kinds)
    add_audit(kinds)


def _add_scenes(kinds: Any) -> None:
    scenes = kinds.add_parser("scenes", help="make synthetic street scenes with sentences, in SOREC's format")
    scenes.add_argument("out", metavar="OUT", help="the folder to write: OUT/images/*.jpg and OUT/rows.json")
    scenes.add_argument("--count", metavar="N", type=at_least(1), required=True, help="how many scenes")
    scenes.add_argument(
        "--seed", metavar="S", type=at_least(0, MAX_SEED), required=True, help="same seed, same bytes"
    )
    scenes.add_argument("--size", metavar="WxH", type=_size, default=(2048, 1152), help="default: 2048x1152")
    scenes.add_argument(
        "--workers", metavar="N", type=at_least(1, MAX_WORKERS), default=1, help="processes (default: 1)"
    )
    scenes.add_argument(
        "--absent",
        metavar="N",
        type=at_least(1),
        help="also write OUT/absent.json: N sentences a scene that are true of nothing in it",
    )
    scenes.set_defaults(run=_scenes)


def _add_check(kinds: Any) -> None:
    check = kinds.add_parser("check", help="find what is wrong with rows in SOREC's format")
    _rows_argument(check)
    _images_option(check, "check the images too, and that boxes lie in them")
    add_box_options(check)
    check.add_argument("--json", action="store_true", help="print one JSON object with every finding")
    check.set_defaults(run=_check)


def _add_stats(kinds: Any) -> None:
    stats = kinds.add_parser("stats", help="count rows, words, sizes and places of boxes")
    _rows_argument(stats)
    _images_option(stats, "needed for areas and places as shares of the frame")
    _missing_option(stats)
    add_box_options(stats)
    stats.add_argument("--json", action="store_true", help="print one JSON object")
    stats.add_argument(
        "--plots", metavar="DIR", help="write area, words, expressions and positions there as PNG"
    )
    stats.set_defaults(run=_stats)


def _add_view(kinds: Any) -> None:
    view = kinds.add_parser("view", help="write a page of samples to look at")
    view.add_argument(
        "data", metavar="FILE", help="rows (.json); proposals, described or checked ones (.jsonl)"
    )
    _images_option(view, "the folder of the images", required=True)
    view.add_argument("--out", metavar="PAGE.html", required=True, help="the page; it needs no other file")
    view.add_argument("--count", metavar="N", type=at_least(1), default=24, help="rows (default: 24)")
    view.add_argument(
        "--seed", metavar="S", type=at_least(0, MAX_SEED), default=0, help="which rows (default: 0)"
    )
    _missing_option(view)
    view.set_defaults(run=_view)


def _add_convert(kinds: Any) -> None:
    convert = kinds.add_parser("convert", help="turn rows into another format: COCO, RefCOCO, ODVG, datasets")
    convert.add_argument("source", metavar="IN", help="a file; for hf a file or a folder")
    convert.add_argument("--from", dest="source_format", choices=FORMATS, required=True, help="format of IN")
    convert.add_argument("--to", dest="out_format", choices=FORMATS, required=True, help="format of OUT")
    convert.add_argument("--out", metavar="OUT", required=True, help="the file to write; for hf a folder")
    _images_option(convert, "where sizes are read, unless IN knows them, and images to embed")
    _missing_option(convert)
    add_box_options(convert)
    convert.add_argument("--embed", action="store_true", help="to hf: put the images into the file")
    convert.add_argument(
        "--extract", metavar="DIR", help="from hf: write the images that are embedded to this folder"
    )
    convert.add_argument(
        "--split", metavar="NAME", type=_split, default="train", help="of an hf folder (default: train)"
    )
    convert.set_defaults(run=_convert)


def _rows_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="FILE.json", help="rows: image, bbox [x, y, width, height], ref, id")


def _images_option(parser: argparse.ArgumentParser, help: str, required: bool = False) -> None:
    parser.add_argument("--images", metavar="DIR", required=required, help=help)


def _missing_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--missing",
        choices=("error", "skip"),
        default="error",
        help="rows without an image (default: error)",
    )


def _scenes(options: argparse.Namespace) -> None:
    from piza.data import scenes

    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"cannot write to {options.out!r}: expected a folder, got a file")
    if options.absent is not None:
        from piza.data.scenes.absent import check_absent, write_absent

        check_absent(options.count, options.absent)
    rows = scenes.write(out, options.count, options.seed, size=options.size, workers=options.workers)
    print(f"{options.count} scenes in {out / 'images'}, {rows} rows in {out / 'rows.json'}")
    if options.absent is not None:
        count = write_absent(
            out, options.count, options.seed, options.absent, size=options.size, workers=options.workers
        )
        print(f"{count} sentences that are true of nothing in {out / 'absent.json'}")


def _check(options: argparse.Namespace) -> int:
    from piza.data.box_formats import BoxFormat
    from piza.data.check import check, describe

    report = check(options.data, options.images, BoxFormat(options.box_format, bool(options.normalized)))
    print(json.dumps(report.to_dict()) if options.json else describe(report))
    return 1 if report.errors else 0


def _stats(options: argparse.Namespace) -> None:
    from piza.data.box_formats import BoxFormat, read_values_with_boxes
    from piza.data.sizes import rows_with_sizes
    from piza.data.sorec import to_row
    from piza.data.stats import describe, measure

    if options.plots:
        from piza.data.plots import check_plots, write_plots

        check_plots(options.plots)
    boxes = BoxFormat(options.box_format, bool(options.normalized))
    values = kept = read_values_with_boxes(options.data, options.images, boxes)
    sizes = None
    if options.images:
        kept, sizes = rows_with_sizes(values, options.images, options.missing)
    measures = measure([to_row(row, number) for number, row in enumerate(kept, start=1)], sizes)
    plots = write_plots(measures, options.plots) if options.plots else []
    _note_skipped(len(values) - len(kept))
    if options.json:
        print(json.dumps({"file": options.data, **measures.to_dict(), "skipped": len(values) - len(kept)}))
    else:
        print(describe(measures))
    for path in plots:
        note(f"drew {path}")


def _view(options: argparse.Namespace) -> None:
    from piza.data.box_formats import warn_of_doubt
    from piza.data.sizes import rows_with_sizes
    from piza.data.sorec import read_values, to_row
    from piza.data.view import sample, write_page

    check_not_read([options.out], [options.data])
    check_writable(options.out)
    if options.data.lower().endswith(".jsonl"):
        from piza.dataset.view import values_of_records

        values = values_of_records(options.data)
    else:
        values = read_values(options.data)
    if not values:
        raise InputError(f"there are no rows to show in {options.data!r}")
    # Rows without an image are left out before the sample is drawn, so that it has as many as were asked for.
    numbers = {id(row): number for number, row in enumerate(values, start=1)}
    kept, sizes = rows_with_sizes(values, options.images, options.missing)
    warn_of_doubt(kept, sizes, options.data)
    chosen = [kept[index] for index in sample(options.count, len(kept), options.seed)]
    rows = [(numbers[id(row)], to_row(row, numbers[id(row)])) for row in chosen]
    about = f"{len(rows)} of {len(values)} rows of {Path(options.data).name}, seed {options.seed}"
    write_page(rows, options.images, options.out, about)
    _note_skipped(len(values) - len(kept))
    print(
        f"{len(rows)} of {len(values)} rows in {options.out}"
        + (", drawn by chance; --count N shows more" if len(rows) < len(kept) else "")
    )


def _convert(options: argparse.Namespace) -> None:
    from piza.data.box_formats import BoxFormat
    from piza.data.convert import convert
    from piza.data.parquet_reader import extract_images

    if options.extract and options.source_format != "hf":
        raise InputError(f"images can be extracted from hf only, not from {options.source_format}")
    check_not_read([options.out], [options.source])
    done = convert(
        options.source,
        options.out,
        options.source_format,
        options.out_format,
        images_dir=options.images,
        on_missing=options.missing,
        embed=options.embed,
        split=options.split,
        boxes=BoxFormat(options.box_format, bool(options.normalized)),
    )
    _note_skipped(done.skipped)
    if done.doubt:
        note(done.doubt)
    print(f"{done.rows} rows in {done.path}")
    if options.extract:
        count = extract_images(options.source, options.extract, options.split)
        print(f"{count} images in {options.extract}")


def _note_skipped(count: int) -> None:
    if count:
        note(f"left out {count} rows whose image cannot be opened")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{3,4})x(\d{3,4})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 2560x1440, got {text!r}")
    return int(match[1]), int(match[2])


def _split(text: str) -> str:
    if not re.fullmatch(r"\w+(\.\w+)*", text):  # the names `datasets` takes for splits
        raise argparse.ArgumentTypeError(f"expected letters, digits, dots and _, got {text!r}")
    return text
