"""`piza data reword`: rows with the same sentences in other words."""

import argparse
from typing import Any

from piza.cli.common import at_least, show_progress
from piza.cli.endpoint_options import add_endpoint_options, opened_endpoint, report_asked


def add_reword(kinds: Any) -> None:
    """Add `piza data reword` to the parser's `kinds`."""
    reword = kinds.add_parser("reword", help="say sentences in other words, too, by a language model")
    reword.add_argument("data", metavar="ROWS.json", help="rows in SOREC's format")
    reword.add_argument("--out", metavar="OUT.json", required=True, help="the file to write")
    reword.add_argument(
        "--endpoint",
        metavar="URL",
        required=True,
        help="an OpenAI-compatible one, such as http://localhost:8000/v1; sentences are sent there, no photo",
    )
    reword.add_argument("--model", metavar="NAME", required=True, help="the model there")
    reword.add_argument(
        "--count", metavar="N", type=at_least(1), default=1, help="wordings of each sentence (default: 1)"
    )
    add_endpoint_options(reword)
    reword.set_defaults(run=_reword)


def _reword(options: argparse.Namespace) -> int:
    from piza.data.sorec import read_values, write_values
    from piza.dataset.reword import reword_rows
    from piza.files import check_not_read, check_writable

    check_not_read([options.out], [options.data])
    check_writable(options.out)
    rows = read_values(options.data)
    with opened_endpoint(options) as endpoint:
        done = reword_rows(rows, endpoint, options.count, options.parallel, show_sentences)
    write_values(done.rows, options.out)
    code = report_asked(done, "sentences without other words")
    print(f"{len(rows)} rows and {done.added} in other words in {options.out}")
    return code


def show_sentences(done: int, total: int) -> None:
    """As `show_progress`, of sentences."""
    show_progress(done, total, "sentences")
