"""`piza evaluate` and `piza report`: how often a model is right, and where it goes wrong."""

import argparse
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piza import __version__
from piza.cli.common import (
    add_box_options,
    add_model_options,
    add_search_options,
    at_least,
    chosen_device,
    load_model,
    model_loader,
    note,
    search_options,
    share_below_one,
    show_progress,
)
from piza.errors import MAX_WORKERS, InputError
from piza.files import check_not_read, check_writable

if TYPE_CHECKING:
    from piza.evaluation.absent import Absent, AbsentScores
    from piza.evaluation.run import Evaluation

BASELINES = (
    "sliding",
    "tiles",
    "oracle",
)  # those of piza.evaluation.baselines, so that --help imports nothing
MISSES = 4  # of each class, on the page


def add_evaluate(commands: Any) -> None:
    """Add `piza evaluate` to the parser's `commands`."""
    parser = commands.add_parser("evaluate", help="measure a model on rows in SOREC's format")
    parser.add_argument("data", metavar="ROWS.json", help="rows: image, bbox [x, y, width, height], ref, id")
    parser.add_argument("--images", metavar="DIR", required=True, help="the folder of the images")
    add_model_options(parser)
    parser.add_argument("--limit", metavar="N", type=at_least(1), help="take the first N rows only")
    parser.add_argument(
        "--missing", choices=("error", "skip"), default="error", help="rows without an image (default: error)"
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=at_least(1, MAX_WORKERS),
        help="processes of one thread each, for the same numbers sooner (default: ask in this process)",
    )
    add_box_options(parser)
    add_search_options(parser)
    baseline = parser.add_argument_group("baselines")
    baseline.add_argument(
        "--baseline",
        choices=BASELINES,
        help="instead of the search: a sliding window, a grid of tiles, or a search that is told its first window",
    )
    baseline.add_argument(
        "--tile",
        metavar="PX",
        type=at_least(1, 65535),
        help="side of a tile (default: the model's later input)",
    )
    baseline.add_argument(
        "--overlap",
        metavar="SHARE",
        type=share_below_one,
        help="of neighboring tiles (default: sliding 0.5, tiles 0.2)",
    )
    output = parser.add_argument_group("what is written")
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument(
        "--predictions",
        metavar="FILE.jsonl",
        help="write one JSON line a row (to FILE.jsonl.part until all is done; the same command goes on from there)",
    )
    output.add_argument(
        "--absent",
        metavar="ABSENT.json",
        help="sentences about nothing (piza data scenes --absent): does the score tell them apart?",
    )
    output.add_argument("--error-analysis", action="store_true", help="say where the search went wrong")
    output.add_argument(
        "--misses-page", metavar="FILE.html", help=f"draw up to {MISSES} misses of each class on one page"
    )
    output.add_argument(
        "--report", metavar="DIR", help="write DIR/index.html: curves, calibration, and rows to look at"
    )
    parser.set_defaults(run=_evaluate)


def add_report(commands: Any) -> None:
    """Add `piza report` to the parser's `commands`."""
    parser = commands.add_parser("report", help="compare files of predictions on one page")
    parser.add_argument(
        "runs",
        metavar="RUN.jsonl",
        nargs="+",
        help="files of `piza evaluate --predictions`, on the same rows",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="write DIR/index.html")
    parser.add_argument("--images", metavar="DIR", help="the folder of the images, to show rows")
    parser.set_defaults(run=_report)


def _evaluate(options: argparse.Namespace) -> None:
    from piza.data.box_formats import BoxFormat, read_rows_with_boxes
    from piza.evaluation.absent import absent_rows, check_absent_baseline, read_absent

    settings = _settings(options)
    if not Path(options.images).is_dir():
        raise InputError(f"the folder of images {options.images!r} does not exist")
    boxes = BoxFormat(options.box_format, bool(options.normalized))
    rows = read_rows_with_boxes(options.data, options.images, boxes, options.limit)
    absent: list[Absent] | None = None
    if options.absent is not None:
        check_absent_baseline(settings.get("baseline"))
        absent = read_absent(options.absent)
    _check_output(options)
    lines: Any = nullcontext()
    done: Sequence[Any] = ()
    if options.predictions:
        from piza.evaluation.outcome import predictions_file, resume

        mark = _run_mark(options, settings)
        done = resume(options.predictions, absent_rows(rows, absent or [], options.limit), mark)
        if done:
            note(f"going on with {options.predictions}.part, which holds {len(done)} rows")
        lines = predictions_file(options.predictions, mark, done, len(rows[: options.limit]))
    model = model_loader(options) if options.workers else load_model(options)
    with lines as write:
        found, scores = _run(model, options, rows, absent, {**settings, "done": done, "write": write})
    if found.skipped:
        note(f"left out {found.skipped} rows whose image cannot be opened")
    _print(options, found, scores)
    _write_pages(options, found, scores)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Keywords of `evaluate` for the search or the baseline. Raises InputError for options the baseline does not take."""
    tiling = {
        name: getattr(options, name) for name in ("tile", "overlap") if getattr(options, name) is not None
    }
    given = {**search_options(options), **tiling}
    if options.baseline is None:
        if tiling:
            raise InputError("--tile and --overlap are options of the baselines 'sliding' and 'tiles' only")
        return given
    from piza.evaluation.baselines import BASELINES, check_options

    check_options(options.baseline, given)
    return {**given, "baseline": BASELINES[options.baseline]}


def _check_output(options: argparse.Namespace) -> None:
    """Raise InputError, before any long work, for what cannot be read or written."""
    written = [file for file in (options.predictions, options.misses_page) if file is not None]
    for file in written:
        check_writable(file)
    check_not_read(written, [file for file in (options.data, options.absent) if file is not None])
    if options.report:
        from piza.evaluation.report.overview import report_folder

        report_folder(options.report)


def _run_mark(options: argparse.Namespace, settings: dict[str, Any]) -> str:
    """Tells this run from others: the model's files, where it runs, and every option that changes an answer."""
    from piza.evaluation.outcome import run_mark
    from piza.hub import find_model

    plain = {name: value for name, value in settings.items() if name != "baseline"}
    where = {"device": chosen_device(options), "runtime": options.runtime}
    return run_mark(
        find_model(options.model), version=__version__, baseline=options.baseline, **where, options=plain
    )


def _run(
    model: Any,
    options: argparse.Namespace,
    rows: Sequence[Any],
    absent: "list[Absent] | None",
    settings: dict[str, Any],
) -> "tuple[Evaluation, AbsentScores | None]":
    from piza.evaluation.absent import evaluate_both
    from piza.evaluation.run import evaluate

    common: dict[str, Any] = {
        "limit": options.limit,
        "on_missing": options.missing,
        "progress": show_progress,
        "workers": options.workers or 0,
        **settings,
    }
    if absent is None:
        return evaluate(model, rows, options.images, **common), None
    return evaluate_both(model, rows, absent, options.images, **common)


def _print(options: argparse.Namespace, found: "Evaluation", absent: "AbsentScores | None") -> None:
    from piza.evaluation.absent import absent_text
    from piza.evaluation.error_analysis import error_analysis
    from piza.evaluation.report.text import error_text, evaluation_text

    errors = error_analysis(found.outcomes) if options.error_analysis else None
    if options.json:
        extra = {"error_analysis": errors.to_dict()} if errors else {}
        extra |= {"absent": absent.to_dict()} if absent else {}
        print(json.dumps({**found.to_dict(), **extra}))
        return
    parts = [evaluation_text(found, options.min_score)]
    parts += [error_text(errors)] if errors else []
    parts += [absent_text(absent)] if absent else []
    print("\n\n".join(parts))


def _write_pages(options: argparse.Namespace, found: "Evaluation", absent: "AbsentScores | None") -> None:
    if options.misses_page:
        from piza.evaluation.report.page import write_page

        write_page(options.misses_page, found.outcomes, options.images, MISSES)
        note(f"drew {options.misses_page}")
    if options.report:
        from piza.evaluation.absent import absent_html
        from piza.evaluation.report.overview import write_report

        name = f"{options.model}, {options.baseline}" if options.baseline else options.model
        section = absent_html(absent) if absent else ""
        write_report(options.report, {name: found.outcomes}, options.images, section)
        note(f"wrote {Path(options.report) / 'index.html'}")


def _report(options: argparse.Namespace) -> None:
    from piza.evaluation.report.overview import read_runs, report_folder, write_report

    runs = read_runs(options.runs)
    report_folder(options.out)
    rows = write_report(options.out, runs, options.images)
    if any(len(found) != rows for found in runs.values()):
        note(f"compared on the {rows} rows all runs have")
    note(f"wrote {Path(options.out) / 'index.html'}")
