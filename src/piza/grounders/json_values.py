"""JSON in what a language model says, wherever it stands between other words."""

import json
import re
from collections.abc import Iterator
from typing import Any


def json_values(answer: str) -> Iterator[tuple[int, Any]]:
    """Where each JSON object or list of a text begins, and its value; the outermost of those that are inside each other."""
    decoder = json.JSONDecoder()
    at = 0
    while match := re.compile(r"[\[{]").search(answer, at):
        try:
            value, at = decoder.raw_decode(answer, match.start())
        except ValueError:  # a bracket in prose
            at = match.end()
            continue
        except (
            RecursionError
        ):  # brackets in brackets without end, which would take as long to read again and again
            return
        yield match.start(), value
