"""`piza data verify`: people decide about sentences, on a page of piza's own or in Label Studio."""

import argparse
import getpass
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piza.cli.common import Parser, at_least, host_name, note, port
from piza.errors import InputError
from piza.files import atomic_write, check_not_read, check_writable

if TYPE_CHECKING:
    from piza.dataset.decisions import Agreement, Rules
    from piza.dataset.records import Checked, Decision

TOKEN = "LABEL_STUDIO_API_KEY"


def add_verify(kinds: Any) -> None:
    """Add `piza data verify` and its commands to the parser's `kinds`."""
    verify = kinds.add_parser("verify", help="people decide about sentences: a page, Label Studio, rows")
    ways = verify.add_subparsers(metavar="WAY", required=True, parser_class=Parser)
    _add_page(ways)
    _add_push(ways)
    _add_pull(ways)
    _add_rows(ways)


def _add_page(ways: Any) -> None:
    page = ways.add_parser("page", help="a page in the browser, with keys for accept, fix and reject")
    _common(page)
    _images(page)
    page.add_argument("--who", metavar="NAME", help="the name the page suggests (default: the user's)")
    page.add_argument("--host", default="127.0.0.1", help="the address to answer at (default: 127.0.0.1)")
    page.add_argument("--port", type=port, default=7861, help="the port (default: 7861); 0 takes a free one")
    page.add_argument(
        "--allow-host",
        metavar="NAME",
        type=host_name,
        action="append",
        default=[],
        help="a name the page is reached by",
    )
    page.set_defaults(run=_page)


def _add_push(ways: Any) -> None:
    push = ways.add_parser("push", help=f"make a Label Studio project of the sentences (token in {TOKEN})")
    _common(push)
    _images(push)
    _server(push)
    push.add_argument(
        "--project", metavar="N", type=at_least(1), help="go on with this project instead of making one"
    )
    push.add_argument("--title", default="piza: sentences", help="of the project (default: piza: sentences)")
    push.add_argument(
        "--image-url", metavar="URL", help="photos are there, NAME after it, and are not uploaded"
    )
    push.set_defaults(run=_push)


def _add_pull(ways: Any) -> None:
    pull = ways.add_parser(
        "pull", help=f"append the reviews in a Label Studio project to a log (token in {TOKEN})"
    )
    _common(pull)
    _server(pull)
    pull.add_argument("--project", metavar="N", type=at_least(1), required=True, help="the project's number")
    pull.set_defaults(run=_pull)


def _add_rows(ways: Any) -> None:
    rows = ways.add_parser("rows", help="write what was accepted or fixed as rows, and how far people agree")
    _common(rows)
    rows.add_argument(
        "--out", metavar="ROWS.json", required=True, help="the rows to write, in SOREC's format"
    )
    rows.add_argument("--agreement", metavar="FILE.json", help="also write the agreement there")
    rows.set_defaults(run=_rows)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checked", metavar="CHECKED.jsonl", help="what `piza data machine-check` wrote")
    parser.add_argument(
        "--decisions", metavar="LOG.jsonl", required=True, help="the log; it is only appended to"
    )
    parser.add_argument(
        "--reviewers",
        metavar="N",
        type=at_least(1),
        default=2,
        help="people who must agree on a sentence (default: 2)",
    )


def _images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", metavar="DIR", required=True, help="the folder of the photos")


def _server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", default="http://localhost:8080", help="of Label Studio (default: http://localhost:8080)"
    )


def _page(options: argparse.Namespace) -> None:
    from piza.server.app import check_installed, listen, run

    check_installed()
    from piza.data.sorec import find_image
    from piza.dataset.records import Decision, RecordWriter
    from piza.server.review import Review, create_review

    records = _checked(options)
    for image in dict.fromkeys(record.image for record in records):
        find_image(options.images, image)
    address = listen(options.host, options.port)
    try:
        with RecordWriter(options.decisions, Decision) as log:
            review = Review(records, Path(options.images), log, _rules(options), options.who or _user())
            shown = f"[{options.host}]" if ":" in options.host else options.host
            port = address.getsockname()[1]
            print(f"piza: http://{shown}:{port} (Ctrl-C ends it)", file=sys.stderr, flush=True)
            run(create_review(review, options.host, tuple(options.allow_host)), address)
    finally:
        address.close()


def _push(options: argparse.Namespace) -> None:
    from piza.dataset.decisions import check_decisions, latest, states
    from piza.dataset.label_studio import push

    records, rules = _checked(options), _rules(options)
    decisions = _decisions(options)
    check_decisions(decisions, records, repr(options.decisions))
    standing = states(records, decisions, rules)
    decided = latest(decisions)
    doubtful = sorted(records, key=lambda record: (-record.doubt, record.image, record.id))
    keys = [(record.id, place) for record in doubtful for place in range(len(record.sentences))]
    keys = [key for key in keys if standing[key].state in ("open", "disputed")]
    if not keys:
        raise InputError("every sentence is settled, so there is nothing to push")
    # Who has decided already is known by the log; a project of what is left needs fewer people.
    reviews = max(1, rules.reviewers - min(len(decided.get(key, {})) for key in keys))
    project, added = push(
        _studio(options),
        records,
        keys,
        options.images,
        options.title,
        reviews,
        options.project,
        options.image_url,
        note,
    )
    print(
        f"{added} tasks added to project {project}, {len(keys)} in all; {len(standing) - len(keys)} sentences are settled"
    )


def _pull(options: argparse.Namespace) -> int:
    from piza.dataset.decisions import check_decisions
    from piza.dataset.label_studio import pull
    from piza.dataset.records import Decision, RecordWriter

    records = _checked(options)
    with RecordWriter(options.decisions, Decision) as log:
        check_decisions(log.existing, records, repr(options.decisions))
        pulled = pull(_studio(options), options.project, records)
        known = {(one.id, one.sentence, one.who, one.when) for one in log.existing}
        new = [one for one in pulled.decisions if (one.id, one.sentence, one.who, one.when) not in known]
        log.write(*new)
        everything = [*log.existing, *new]
    for problem in pulled.problems:
        note(problem)
    print(f"{len(new)} new decisions in {options.decisions}, {pulled.unfinished} tasks wait for their first")
    _tell(records, everything, _rules(options))
    return 1 if pulled.problems else 0


def _rows(options: argparse.Namespace) -> None:
    from piza.data.sorec import write_values
    from piza.dataset.decisions import agreements, check_decisions, rows, states

    check_writable(options.out)
    if options.agreement:
        check_writable(options.agreement)
        check_not_read([options.agreement], [options.out, options.checked, options.decisions])
    check_not_read([options.out], [options.checked, options.decisions])
    records, rules = _checked(options), _rules(options)
    if not Path(options.decisions).exists():
        raise InputError(
            f"there is no log {options.decisions!r}, expected the decisions of `piza data verify page` or `pull`"
        )
    decisions = _decisions(options)
    check_decisions(decisions, records, repr(options.decisions))
    kept = rows(records, decisions, rules)
    if not kept:
        raise InputError(
            f"no sentence was accepted or fixed by {rules.reviewers} people yet, so there are no rows to write"
        )
    write_values(kept, options.out)
    if options.agreement:
        standing = [one.state for one in states(records, decisions, rules).values()]
        counts = {state: standing.count(state) for state in ("kept", "rejected", "disputed", "open")}
        values = {"sentences": counts, "agreement": [one.to_dict() for one in agreements(decisions)]}
        with atomic_write(options.agreement) as part:
            part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    print(f"{len(kept)} rows in {options.out}")
    _tell(records, decisions, rules)


def _tell(records: "list[Checked]", decisions: "list[Decision]", rules: "Rules") -> None:
    from piza.dataset.decisions import agreements, states

    standing = [one.state for one in states(records, decisions, rules).values()]
    print(", ".join(f"{standing.count(state)} {state}" for state in ("kept", "rejected", "disputed", "open")))
    for one in agreements(decisions):
        print(_agreement(one))


def _agreement(one: "Agreement") -> str:
    kappa = "-" if one.kappa is None else f"{one.kappa:.2f}"
    boxes = "" if one.iou is None else f"; IoU of {one.boxes} boxes {one.iou:.2f}"
    return f"{one.who[0]} and {one.who[1]}: {one.sentences} in common, same choice {100 * one.same:.1f} %, kappa {kappa}{boxes}"


def _checked(options: argparse.Namespace) -> "list[Checked]":
    from piza.dataset.records import Checked, read_records

    records = read_records(options.checked, Checked)
    if not any(record.sentences for record in records):
        raise InputError(f"there are no sentences to decide about in {options.checked!r}")
    return records


def _decisions(options: argparse.Namespace) -> "list[Decision]":
    from piza.dataset.records import Decision, read_records

    return read_records(options.decisions, Decision) if Path(options.decisions).exists() else []


def _rules(options: argparse.Namespace) -> "Rules":
    from piza.dataset.decisions import Rules

    return Rules(reviewers=options.reviewers)


def _studio(options: argparse.Namespace) -> Any:
    from piza.dataset.label_studio_api import LabelStudio

    return LabelStudio(options.url, os.environ.get(TOKEN, ""))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        return ""
