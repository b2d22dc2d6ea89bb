"""`piza data describe`: sentences about proposals."""

import argparse
from typing import TYPE_CHECKING, Any

from piza.cli.common import at_least, note, probability, show_progress
from piza.cli.endpoint_options import SETTINGS, add_endpoint_options, opened_endpoint, report_asked
from piza.errors import MAX_SEED, MAX_TILES_A_SIDE, InputError

if TYPE_CHECKING:
    from piza.dataset.describe import Describing

MAYBE = 0.35


def add_describe(kinds: Any) -> None:
    """Add `piza data describe` to the parser's `kinds`."""
    describe = kinds.add_parser(
        "describe", help="write sentences about proposals, by a language model or offline"
    )
    describe.add_argument("proposals", metavar="PROPOSALS.jsonl", help="what `piza data propose` wrote")
    describe.add_argument("--images", metavar="DIR", required=True, help="the folder of the photos")
    describe.add_argument(
        "--out", metavar="DESCRIBED.jsonl", required=True, help="a file that is there is gone on with"
    )
    describe.add_argument(
        "--count", metavar="N", type=at_least(1), default=2, help="sentences a thing (default: 2)"
    )
    describe.add_argument(
        "--model",
        metavar="NAME",
        help="of the endpoint; without one, whose list tells what is there (default: mini)",
    )
    online = describe.add_argument_group("by a vision-language model behind an OpenAI-compatible endpoint")
    online.add_argument(
        "--endpoint", metavar="URL", help="such as http://localhost:8000/v1; photos are sent there"
    )
    online.add_argument(
        "--prompt",
        metavar="NAME",
        action="append",
        help="sorec (default), short, or a text file; may be repeated",
    )
    add_endpoint_options(online)
    offline = describe.add_argument_group("by the generator, offline")
    offline.add_argument(
        "--seed", metavar="S", type=at_least(0, MAX_SEED), default=0, help="same seed, same sentences"
    )
    offline.add_argument(
        "--tiles",
        metavar="N",
        type=at_least(1, MAX_TILES_A_SIDE),
        help="as of propose",
    )
    offline.add_argument(
        "--maybe",
        metavar="S",
        type=probability,
        default=MAYBE,
        help=f"score from which on a look-alike may be there (default: {MAYBE}); lower: fewer sentences, more of them true",
    )
    offline.add_argument(
        "--mirrored", action="store_true", help="photos may be mirrored: never say left or right"
    )
    describe.set_defaults(run=_describe)


ONLINE = ("prompt", "answers", *SETTINGS)
OFFLINE = {"seed": 0, "tiles": None, "maybe": MAYBE, "mirrored": False}


def _describe(options: argparse.Namespace) -> int:
    done = _online(options) if options.endpoint else _offline(options)
    if done.before:
        note(f"{done.before} things were described before")
    code = report_asked(done, "things without a sentence")
    told = done.described - sum(done.without.values())
    if done.described or not done.before:
        print(f"{done.sentences} sentences about {told} of {done.described} things in {options.out}")
    return code


def _online(options: argparse.Namespace) -> "Describing":
    from piza.dataset.describe import describe_with_endpoint
    from piza.dataset.questions import read_prompt
    from piza.files import check_writable

    for name, default in OFFLINE.items():
        if getattr(options, name) != default:
            raise InputError(f"--{name} is for the generator, without --endpoint")
    prompts = [read_prompt(name) for name in dict.fromkeys(options.prompt or ["sorec"])]
    check_writable(options.out)
    with opened_endpoint(options) as endpoint:
        return describe_with_endpoint(
            options.proposals,
            options.images,
            options.out,
            endpoint,
            prompts,
            options.count,
            options.parallel,
            show_things,
        )


def _offline(options: argparse.Namespace) -> "Describing":
    import piza
    from piza.dataset.candidates import model_list, tiled
    from piza.dataset.describe import describe_with_generator
    from piza.dataset.records import Proposal, read_records

    for name in ONLINE:
        if getattr(options, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} needs --endpoint, where the model is")
    read_records(options.proposals, Proposal)
    name = options.model or "mini"
    proposer = tiled(model_list(piza.load(name)), options.tiles)
    return describe_with_generator(
        options.proposals,
        options.images,
        options.out,
        proposer,
        options.count,
        options.seed,
        not options.mirrored,
        options.maybe,
        {"model": name, "tiles": options.tiles},
        show_things,
    )


def show_things(done: int, total: int) -> None:
    """As `show_progress`, of things."""
    show_progress(done, total, "things")
