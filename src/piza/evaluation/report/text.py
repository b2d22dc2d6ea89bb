"""The numbers of an evaluation as text for people."""

from piza.evaluation.error_analysis import CLASSES, Bin, ErrorAnalysis
from piza.evaluation.intervals import DRAWS, MIN_IMAGES, Interval
from piza.evaluation.run import Evaluation


def evaluation_text(evaluation: Evaluation, min_score: float | None = None) -> str:
    """The numbers, one a line, the accuracies with their intervals; how many answers reach `min_score`, if it was given."""
    found = evaluation.intervals
    lines = [f"rows        {evaluation.rows}"]
    for title, name in (("Acc50", "acc50"), ("Acc75", "acc75"), ("mAcc", "macc")):
        lines.append(f"{title:<12}{getattr(evaluation, name):.1f} %{_interval(found[name]) if found else ''}")
    lines += [
        f"mean steps  {evaluation.mean_steps:.2f}",
        f"mean time   {evaluation.mean_ms:.0f} ms",
        f"intervals   95 %, {DRAWS} resamplings of the {evaluation.images} images"
        if found
        else f"intervals   none: fewer than {MIN_IMAGES} images",
    ]
    if min_score is not None:
        lines.append(
            f"found       {evaluation.found} of {evaluation.rows} answers, whose score is {min_score:g} or more"
        )
    return "\n".join(lines)


def error_text(found: ErrorAnalysis) -> str:
    """The table of classes, then the accuracies by size and by length."""
    lines = [f"misses      {found.misses} of {found.rows} rows (IoU below 0.5)"]
    for name, meaning in CLASSES.items():
        count = found.classes[name]
        share = 100 * count / found.misses if found.misses else 0.0
        lines.append(f"  {name:<14}{count:>6} {share:>5.1f} %   {meaning}")
    lines += _table("area of the target, of the image", found.by_size)
    lines += _table("length of the sentence", found.by_length)
    return "\n".join(lines)


def _table(title: str, bins: list[Bin]) -> list[str]:
    lines = [f"{title:<36}{'rows':>6}   {'mAcc':>5}   Acc50"]
    for part in bins:
        lines.append(
            f"  {part.label:<34}{part.rows:>6}   {part.macc:>5.1f}   {part.acc50:>5.1f}"
            f"{_interval(part.interval) if part.interval else ''}"
        )
    return lines


def _interval(interval: Interval) -> str:
    return f"  ({interval[0]:.1f} to {interval[1]:.1f})"
