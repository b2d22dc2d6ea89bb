"""Options of the commands that ask a language model behind an OpenAI-compatible endpoint."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piza.cli.common import any_number, at_least, note, over
from piza.errors import MAX_COUNT, MAX_RETRIES, MAX_SECONDS, MAX_WORKERS, InputError

if TYPE_CHECKING:
    from piza.dataset.asking import Asked
    from piza.dataset.endpoint import Endpoint

KEY = "OPENAI_API_KEY"
SETTINGS = (
    "per_minute",
    "max_questions",
    "max_cost",
    "price_in",
    "price_out",
    "timeout",
    "retries",
    "temperature",
    "max_tokens",
)


def add_endpoint_options(parser: Any) -> None:
    """Add to a parser, or a group of it, what `opened_endpoint` reads, but --endpoint and --model."""
    parser.add_argument(
        "--key-env", metavar="NAME", default=KEY, help=f"the variable that holds the key (default: {KEY})"
    )
    parser.add_argument(
        "--answers", metavar="FILE", help="where answers are kept (default: OUT.answers.jsonl)"
    )
    parser.add_argument(
        "--parallel",
        metavar="N",
        type=at_least(1, MAX_WORKERS),
        default=4,
        help="questions at once (default: 4)",
    )
    parser.add_argument(
        "--per-minute", metavar="N", type=over(0, MAX_COUNT), help="questions a minute, at most"
    )
    parser.add_argument("--max-questions", metavar="N", type=at_least(0), help="in this run, at most")
    parser.add_argument(
        "--max-cost", metavar="X", type=over(0, MAX_COUNT), help="of all answers, at most; with the prices"
    )
    parser.add_argument(
        "--price-in", metavar="X", type=over(0, MAX_COUNT), help="of a million tokens that are sent"
    )
    parser.add_argument(
        "--price-out", metavar="X", type=over(0, MAX_COUNT), help="of a million tokens that are answered"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=over(0, MAX_SECONDS), help="seconds for an answer (default: 120)"
    )
    parser.add_argument(
        "--retries",
        metavar="N",
        type=at_least(0, MAX_RETRIES),
        help="where the endpoint is busy (default: 5)",
    )
    parser.add_argument("--temperature", metavar="T", type=any_number, help="0 to 2 (default: 0.7)")
    parser.add_argument(
        "--max-tokens",
        metavar="N",
        type=at_least(1, MAX_COUNT),
        help="of an answer, thoughts included where the model thinks (default: 400)",
    )


@contextmanager
def opened_endpoint(options: argparse.Namespace) -> Iterator["Endpoint"]:
    """The endpoint of --endpoint; afterwards it is said what was asked."""
    from piza.config import override
    from piza.dataset.endpoint import Endpoint, EndpointConfig

    if not options.model:
        raise InputError("--endpoint needs --model, the name of the model there")
    settings = {name: getattr(options, name) for name in SETTINGS}
    config = override(EndpointConfig(url=options.endpoint, model=options.model), **settings)
    answers = Path(options.answers or f"{options.out}.answers.jsonl")
    with Endpoint(config, answers, os.environ.get(options.key_env) or None) as endpoint:
        yield endpoint
        spent = endpoint.spent
    cost = f", cost {spent.cost:.4g}" if spent.cost else ""
    note(f"asked {spent.asked} questions; {spent.tokens_in} and {spent.tokens_out} tokens in all{cost}")


def report_asked(done: "Asked", things: str) -> int:
    """Say what was not answered about `things`. Returns the exit code: 1 where the command is to be run again."""
    for message in done.failed:
        note(message)
    for why, count in done.without.most_common():
        note(f"{count} {things}: {why}")
    if done.stopped:
        note(f"stopped, because {done.stopped}; run it again to go on")
    return 1 if done.failed or done.stopped else 0
