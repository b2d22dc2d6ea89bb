"""`piza data machine-check`: what machines doubt in sentences, so that people look at the doubtful ones first."""

import argparse
from typing import TYPE_CHECKING, Any

from piza.cli.common import add_model_options, at_least, load_model, note, show_photos
from piza.errors import InputError

if TYPE_CHECKING:
    from piza.dataset.grounding import Asker
    from piza.dataset.language_rules import LanguageRules


def add_machine_check(kinds: Any) -> None:
    """Add `piza data machine-check` to the parser's `kinds`."""
    check = kinds.add_parser("machine-check", help="find what is doubtful in sentences, before people look")
    check.add_argument("described", metavar="DESCRIBED.jsonl", help="what `piza data describe` wrote")
    check.add_argument("--images", metavar="DIR", required=True, help="the folder of the photos")
    check.add_argument(
        "--out", metavar="CHECKED.jsonl", required=True, help="a file that is there is gone on with"
    )
    add_model_options(check)
    add_check_options(check)
    check.set_defaults(run=_machine_check)


def add_check_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about who is asked and what sentences should be like, besides those of models."""
    parser.add_argument(
        "--grounder", metavar="NAME", help="instead of --model: a zero-shot detector, or chat:MODEL@URL"
    )
    parser.add_argument("--language-only", action="store_true", help="ask no model, look at no photo")
    parser.add_argument(
        "--min-words", metavar="N", type=at_least(1), default=4, help="fewer are too short (default: 4)"
    )
    parser.add_argument(
        "--max-words", metavar="N", type=at_least(1), default=60, help="more are too long (default: 60)"
    )
    parser.add_argument("--any-language", action="store_true", help="sentences need not be English")


def rules_of(options: argparse.Namespace) -> "LanguageRules":
    """The rules that the options ask for."""
    from piza.dataset.language_rules import LanguageRules

    if options.min_words > options.max_words:
        raise InputError(f"--min-words {options.min_words} is more than --max-words {options.max_words}")
    return LanguageRules(options.min_words, options.max_words, not options.any_language)


def load_asker(options: argparse.Namespace) -> "Asker | None":
    """Who is asked, as the options say; None for language alone."""
    if options.language_only:
        return None
    from piza.dataset.grounding import SearchAsker, asker_of

    if options.grounder:
        if options.runtime is not None:
            raise InputError("a --grounder is another model, which --runtime does not run; give one of them")
        from piza.grounders.base import load_grounder

        return SearchAsker(load_grounder(options.grounder, options.device), options.grounder)
    return asker_of(load_model(options), options.model)


def _machine_check(options: argparse.Namespace) -> int:
    from piza.dataset.machine_check import machine_check
    from piza.dataset.records import Described, read_records
    from piza.files import check_writable

    rules = rules_of(options)
    check_writable(options.out)
    read_records(options.described, Described)  # before a model is loaded for nothing
    done = machine_check(
        options.described, options.images, options.out, load_asker(options), rules, show_photos
    )
    before = f", {done.before} were there before" if done.before else ""
    print(
        f"{done.checked} things checked{before}; {done.doubted} of {done.sentences} sentences are doubtful in {options.out}"
    )
    for kind, count in done.kinds.items():
        print(f"  {kind:20s} {count}")
    for problem in done.failed:
        note(problem)
    if done.failed:
        note(f"{len(done.failed)} photos were left out; the same command tries them again")
    return 1 if done.failed else 0
