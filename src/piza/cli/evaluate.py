"""`piza evaluate` and `piza report`. A door like cli.py: it reads arguments, calls the library, prints."""

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from piza.cli.main import _at_least, _load, _model_options, _progress
from piza.errors import InputError
from piza.files import check_writable

MISSES = 4  # of each class, on the page


def add_evaluate(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser("evaluate", help="measure a model on rows in SOREC's format")
    parser.add_argument("data", metavar="DATA.json", help="rows: image, bbox [x, y, width, height], ref, id")
    parser.add_argument("--images", metavar="DIR", required=True, help="the folder of the pictures")
    _model_options(parser)
    parser.add_argument("--limit", metavar="N", type=_at_least(1), help="take the first N rows only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--predictions",
        metavar="FILE.jsonl",
        help="write one JSON line a row (to FILE.jsonl.part until all is done)",
    )
    parser.add_argument(
        "--missing",
        choices=("error", "skip"),
        default="error",
        help="rows without a picture (default: error)",
    )
    parser.add_argument(
        "--baseline",
        choices=("sliding", "tiles", "oracle"),
        help="instead of the search: a sliding window, a grid of tiles, or a search told its first window",
    )
    parser.add_argument(
        "--tile", metavar="PX", type=_at_least(1), help="side of a tile (default: the model's later input)"
    )
    parser.add_argument(
        "--overlap", metavar="SHARE", type=_share, help="of neighbor tiles (default: sliding 0.5, tiles 0.2)"
    )
    parser.add_argument(
        "--absent",
        metavar="ABSENT.json",
        help="sentences about nothing (piza data scenes --absent): does the score tell them apart?",
    )
    parser.add_argument("--error-analysis", action="store_true", help="say where the search went wrong")
    parser.add_argument(
        "--anatomy-page",
        metavar="FILE.html",
        help=f"draw up to {MISSES} misses of each class on one page",
    )
    parser.add_argument(
        "--report", metavar="DIR", help="write DIR/index.html: curves, calibration, and rows to look at"
    )
    parser.set_defaults(run=_evaluate)


def add_report(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser("report", help="compare files of predictions on one page")
    parser.add_argument(
        "runs",
        metavar="RUN.jsonl",
        nargs="+",
        help="files of `piza evaluate --predictions`, on the same rows",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="write DIR/index.html")
    parser.add_argument("--images", metavar="DIR", help="the folder of the pictures, to show rows")
    parser.set_defaults(run=_report)


def _evaluate(options: argparse.Namespace) -> None:
    from piza.data.sorec import read_rows
    from piza.evaluation.absent import (
        check_both,
        evaluate_both,
        not_there_html,
        not_there_text,
        read_absent,
    )
    from piza.evaluation.error_analysis import error_analysis
    from piza.evaluation.report.text import anatomy_text, evaluation_text
    from piza.evaluation.run import check_baseline, evaluate, predictions_file

    check_baseline(options.baseline, options.tile, options.overlap, options.whole_frame, options.greedy)
    rows = read_rows(options.data)
    absent = None
    if options.absent is not None:
        check_both(options.baseline)
        absent = read_absent(options.absent)
    for file in (options.predictions, options.anatomy_page):
        if file is not None:
            check_writable(file)
    if not Path(options.images).is_dir():
        raise InputError(f"the folder of pictures {options.images!r} does not exist")
    if options.report:
        from piza.evaluation.report.overview import report_folder, write_report

        report_folder(options.report)
    model = _load(options)
    lines: Any = predictions_file(options.predictions) if options.predictions else nullcontext()
    with lines as write:
        settings: dict[str, Any] = dict(
            whole_frame=options.whole_frame,
            greedy=options.greedy,
            limit=options.limit,
            on_missing=options.missing,
            progress=_progress,
            write=write,
            baseline=options.baseline,
            tile=options.tile,
            overlap=options.overlap,
        )
        absence = None
        if absent is None:
            found = evaluate(model, rows, options.images, **settings)
        else:
            found, absence = evaluate_both(model, rows, absent, options.images, **settings)
    if found.skipped:
        print(f"piza: left out {found.skipped} rows whose picture cannot be opened", file=sys.stderr)
    errors = error_analysis(found.outcomes) if options.error_analysis else None
    if options.json:
        extra = {"error_analysis": errors.to_dict()} if errors else {}
        extra |= {"absent": absence.to_dict()} if absence else {}
        print(json.dumps({**found.to_dict(), **extra}))
    else:
        print(evaluation_text(found))
        if errors:
            print(f"\n{anatomy_text(errors)}")
        if absence:
            print(f"\n{not_there_text(absence)}")
    if options.anatomy_page:
        from piza.evaluation.report.page import write_page

        write_page(options.anatomy_page, found.outcomes, options.images, MISSES)
        print(f"piza: drew {options.anatomy_page}", file=sys.stderr)
    if options.report:
        name = f"{options.model}, {options.baseline}" if options.baseline else options.model
        section = not_there_html(absence) if absence else ""
        write_report(options.report, {name: found.outcomes}, options.images, section)
        print(f"piza: wrote {Path(options.report) / 'index.html'}", file=sys.stderr)


def _report(options: argparse.Namespace) -> None:
    from piza.evaluation.report.overview import read_runs, report_folder, write_report

    runs = read_runs(options.runs)
    report_folder(options.out)
    rows = write_report(options.out, runs, options.images)
    if any(len(found) != rows for found in runs.values()):
        print(f"piza: compared on the {rows} rows all runs have", file=sys.stderr)
    print(f"piza: wrote {Path(options.out) / 'index.html'}", file=sys.stderr)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a share such as 0.25 is wanted, got {text!r}") from None
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"a share of at least 0 and below 1 is wanted, got {text}")
    return value
