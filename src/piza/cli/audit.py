"""`piza data audit`: which rows of a data set machines doubt most."""

import argparse
from pathlib import Path
from typing import Any

from piza.cli.common import add_model_options, at_least, note, show_photos
from piza.cli.machine_check import add_check_options, load_asker, rules_of
from piza.errors import InputError
from piza.files import check_not_read, check_writable
from piza.visualize.text import one_line


def add_audit(kinds: Any) -> None:
    """Add `piza data audit` to the parser's `kinds`."""
    audit = kinds.add_parser("audit", help="rank rows by how much machines doubt them, and show them")
    audit.add_argument("data", metavar="ROWS.json", help="rows: image, bbox [x, y, width, height], ref, id")
    audit.add_argument(
        "--images", metavar="DIR", help="the folder of the photos; without it, what needs none"
    )
    audit.add_argument("--out", metavar="PAGE.html", help="a page of the most doubtful rows; needs --images")
    audit.add_argument(
        "--log", metavar="FILE.jsonl", help="every row's findings; a run that was stopped goes on with it"
    )
    audit.add_argument(
        "--count", metavar="N", type=at_least(1), default=24, help="rows that are shown (default: 24)"
    )
    add_model_options(audit)
    add_check_options(audit)
    audit.set_defaults(run=_audit)


def _audit(options: argparse.Namespace) -> None:
    from piza.data.sorec import read_rows
    from piza.dataset.audit import audit, write_audit_page

    for path in (options.out, options.log):
        if path:
            check_not_read([path], [options.data])
            check_writable(path)
    if options.out and not options.images:
        raise InputError("a page of rows needs their photos: give the folder with --images")
    rules = rules_of(options)
    read_rows(options.data)  # before a model is loaded for nothing
    if not options.images:
        options.language_only = True
        note("without --images no model is asked and no photo looked at")
    found = audit(options.data, options.images, load_asker(options), rules, options.log, show_photos)
    print(f"{found.doubted} of {len(found.rows)} rows are doubtful")
    for kind, count in found.counts.items():
        print(f"  {kind:20s} {count}")
    if options.out:
        about = f"the most doubtful of {len(found.rows)} rows of {Path(options.data).name}"
        print(
            f"{write_audit_page(found, options.images, options.out, options.count, about)} rows in {options.out}"
        )
    else:
        for one in found.ranked[: options.count]:
            if one.findings:
                print(
                    f"row {one.row}, {one.doubt:.2f}: {one_line('; '.join(f.message for f in one.findings))[:200]}"
                )
