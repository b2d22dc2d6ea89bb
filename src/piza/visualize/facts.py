"""What a drawing says in words: the facts above it, the legend below it, and which rejected answers are worth showing."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from piza.result import Result

NOTHING = "Nothing in the image matches."
SHOWN_REJECTED = 5
WORTH_SHOWING = 0.01  # probability


def shown_rejected(result: "Result") -> list[tuple[tuple[float, ...], float]]:
    """The other answers worth showing: a few, and none that the search gave no chance."""
    return [pair for pair in result.rejected if pair[1] >= WORTH_SHOWING][:SHOWN_REJECTED]


def pixels(length: float) -> str:
    """A length in pixels, with a decimal where it is short."""
    return f"{length:.0f}" if length >= 10 else f"{length:.1f}"


def summary_of(result: "Result") -> str:
    """What was found, in one line."""
    x1, y1, x2, y2 = result.box_xyxy
    guess = "" if result.found else "best guess: "
    facts = [
        f"{guess}score {result.score:.2f}",
        f"box {x1:.0f}, {y1:.0f} to {x2:.0f}, {y2:.0f} ({pixels(x2 - x1)} x {pixels(y2 - y1)} pixels)",
        result.looks_in_words,
        f"{result.milliseconds:.0f} ms",
    ]
    return "   |   ".join(facts)


def legend_of(result: "Result") -> str:
    """What dashes and gray mean, where there are some."""
    windows, answers = len(result.detours), len(shown_rejected(result))
    parts = [
        *([f"{windows} window{'' if windows == 1 else 's'} looked at"] if windows else []),
        *([f"{answers} answer{'' if answers == 1 else 's'} found"] if answers else []),
    ]
    meanings = [
        *([] if result.found else ["dashed: the best guess, not believed"]),
        *([f"gray: {' and '.join(parts)}, not believed"] if parts else []),
    ]
    return "   |   ".join(meanings)
