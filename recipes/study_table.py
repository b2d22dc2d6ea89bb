"""The tables and plots of the study, made of predictions alone; recipes/study.py makes the predictions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from piza.evaluation.error_analysis import error_analysis
from piza.evaluation.intervals import Interval, difference_intervals, intervals
from piza.evaluation.metrics import accuracy, mean_accuracy
from piza.evaluation.outcome import Outcome

BEGIN, END = "<!-- table -->", "<!-- end of table -->"
MISSING = "not run yet"
METHODS = {"coop": "CoOp", "lora": "LoRA", "adapter_plus": "Adapter+", "full": "full fine-tuning"}
FORMS = {"none": "zero-shot", "plain": "plain", "piza": "PIZA"}
SEARCHES = {
    "frame": "one look at the frame",
    "greedy": "greedy, as published",
    "best": "best first, as shipped",
    "quarter": "best first, up to a quarter of the grid's looks",
    "tiles": "tile grid",
    "sliding": "sliding window",
    "oracle": "given its first window",
}
SETS = ("scenes", "signs")
MEASURES = ("macc", "acc50", "acc75")
PLOTS = {  # file names on the page, and their titles
    "study_macc.png": "mAcc of each method, plain and zooming",
    "study_looks.png": "mAcc against looks a sentence",
}
# Table of the paper, trained on Train-S: mAcc of the plain method and of PIZA, on Test-A and on Test-B.
PAPER: dict[str, dict[str, tuple[float, float | None]]] = {
    "coop": {"Test-A": (24.2, 29.4), "Test-B": (15.5, 21.9)},
    "lora": {"Test-A": (26.2, 33.8), "Test-B": (17.0, 25.8)},
    "adapter_plus": {"Test-A": (32.0, 43.1), "Test-B": (20.3, 30.4)},
    "full": {"Test-A": (35.9, None), "Test-B": (23.0, None)},
}


@dataclass(frozen=True, order=True)
class Row:
    """One way to answer: what is trained how ("base": nothing), and how it searches. `form`: a key of FORMS."""

    method: str
    form: str
    search: str


BASE = [Row("base", "none", search) for search in ("frame", "tiles", "sliding")]
ROWS = [
    *BASE,
    *(
        Row(method, form, search)
        for method in METHODS
        for form, searches in (("plain", ("frame",)), ("piza", ("greedy", "best")))
        for search in searches
    ),
    *(Row("adapter_plus", "piza", search) for search in ("quarter", "tiles", "sliding", "oracle")),
]


@dataclass(frozen=True)
class Line:
    """What a row came to on one set of rows. Accuracies in percent; `by_seed`: the mAcc of each seed. ranges: 95 %
    intervals, pictures resampled with the answers of all seeds; None for few pictures. trained: parameters, or None."""

    row: Row
    set: str
    rows: int
    pictures: int
    macc: float
    acc50: float
    acc75: float
    ranges: dict[str, Interval] | None
    num_looks: float
    milliseconds: float
    by_seed: dict[int, float]
    trained: int | None


Found = dict[tuple[Row, str], dict[int, list[Outcome]]]  # by set, then by seed, in the order of the rows


def line_of(row: Row, part: str, seeds: dict[int, list[Outcome]], trained: int | None = None) -> Line:
    """The answers of all seeds taken together."""
    answers = [outcome for seed in sorted(seeds) for outcome in seeds[seed]]
    ious, pictures = _ious(answers), [outcome.row.image for outcome in answers]
    return Line(
        row=row,
        set=part,
        rows=len(answers) // len(seeds),
        pictures=len(set(pictures)),
        macc=mean_accuracy(ious),
        acc50=accuracy(ious, 0.5),
        acc75=accuracy(ious, 0.75),
        ranges=intervals(ious, pictures),
        num_looks=float(np.mean([outcome.num_looks for outcome in answers])),
        milliseconds=float(np.mean([outcome.milliseconds for outcome in answers])),
        by_seed={seed: mean_accuracy(_ious(seeds[seed])) for seed in sorted(seeds)},
        trained=trained,
    )


@dataclass(frozen=True)
class Difference:
    """mAcc of a row and of another one on the rows and seeds both have, and the interval of their difference in points."""

    macc: float
    other: float
    num_looks: float
    other_looks: float
    rows: int
    range: Interval | None

    @property
    def ratio(self) -> float:
        return self.macc / self.other if self.other else float("nan")


def difference(ours: dict[int, list[Outcome]], theirs: dict[int, list[Outcome]]) -> Difference | None:
    """Paired by seed and row; None where they have none in common."""
    pairs = []
    for seed in sorted(ours.keys() & theirs.keys()):
        others = {outcome.index: outcome for outcome in theirs[seed]}
        pairs += [(outcome, others[outcome.index]) for outcome in ours[seed] if outcome.index in others]
    if not pairs:
        return None
    mine, other = [a for a, _ in pairs], [b for _, b in pairs]
    found = difference_intervals(_ious(mine), _ious(other), [a.row.image for a in mine])
    return Difference(
        mean_accuracy(_ious(mine)),
        mean_accuracy(_ious(other)),
        float(np.mean([a.num_looks for a in mine])),
        float(np.mean([b.num_looks for b in other])),
        len({a.index for a in mine}),
        found["macc"] if found else None,
    )


def _ious(outcomes: Iterable[Outcome]) -> list[float]:
    return [outcome.iou for outcome in outcomes]


# --- Markdown ---------------------------------------------------------------------------------------------------------


def page_block(found: Found, lines: dict[tuple[Row, str], Line], plots: Iterable[str] = ()) -> str:
    """All tables of the page, and those of `PLOTS` with these file names."""
    shown = [f"![{PLOTS[name]}]({name})" for name in plots]
    tables = [
        ("Beside the paper", beside_paper(lines)),
        ("Zooming against not zooming", against_plain(found)),
        ("PIZA-Adapter+ against tiles with the same weights, and the base's", against_tiles(found)),
        ("Adapter+ by the size of the target", by_size(found)),
        *((f"All rows, {part}", all_rows(lines, part)) for part in SETS),
    ]
    return "\n\n".join([*shown, *(f"### {title}\n\n{table}" for title, table in tables)])


def beside_paper(lines: dict[tuple[Row, str], Line]) -> str:
    """mAcc, plain -> PIZA and their ratio: the paper's on SOREC beside ours."""
    heads = ["mAcc, plain → PIZA", "paper, Test-A", "paper, Test-B", *(f"here, {part}" for part in SETS)]
    body = []
    for method, title in METHODS.items():
        cells = [title, *(_arrow(*PAPER[method][name]) for name in ("Test-A", "Test-B"))]
        for part in SETS:
            pair = [
                line.macc if (line := lines.get((Row(method, *way), part))) else None
                for way in (("plain", "frame"), ("piza", "greedy"))
            ]
            cells.append(MISSING if pair == [None, None] else _arrow(*pair))
        body.append(cells)
    base = [lines.get((BASE[0], part)) for part in SETS]
    body.insert(0, ["zero-shot, one look", "0.3", "0.0", *(f"{x.macc:.1f}" if x else MISSING for x in base)])
    return _table(heads, body)


def _arrow(plain: float | None, zooming: float | None) -> str:
    first, second = (f"{value:.1f}" if value is not None else "–" for value in (plain, zooming))
    if plain is not None and zooming is not None and plain > 0:
        second += f" (×{zooming / plain:.2f})"
    return f"{first} → {second}"


def against_plain(found: Found) -> str:
    """PIZA minus plain, paired, with the published search and with the shipped one."""
    heads = ["PIZA − plain, points of mAcc", *(f"{p}, {s}" for p in SETS for s in ("greedy", "best first"))]
    body = []
    for method, title in METHODS.items():
        cells = [title]
        for part in SETS:
            plain = found.get((Row(method, "plain", "frame"), part), {})
            for search in ("greedy", "best"):
                cells.append(_points(difference(found.get((Row(method, "piza", search), part), {}), plain)))
        body.append(cells)
    return _table(heads, body)


def _points(some: Difference | None) -> str:
    if some is None:
        return MISSING
    inside = f" ({some.range[0]:+.1f} to {some.range[1]:+.1f})" if some.range else ""
    ratio = f", ×{some.ratio:.2f}" if some.other > 0 else ""
    return f"{some.macc - some.other:+.1f}{inside}{ratio}"


def against_tiles(found: Found) -> str:
    """The search and the baselines on the rows both were asked."""
    heads = ["set", "search", "baseline", "rows"]
    heads += ["mAcc, search", "mAcc, baseline", "difference", "looks, search", "looks, baseline"]
    baselines = [*BASE[1:], *(Row("adapter_plus", "piza", s) for s in ("tiles", "sliding"))]
    pairs = [("best", baseline) for baseline in baselines]
    pairs += [("quarter", baseline) for baseline in baselines if baseline.search == "tiles"]
    body = []
    for part in SETS:
        for search, baseline in pairs:
            ours = found.get((Row("adapter_plus", "piza", search), part), {})
            theirs = found.get((baseline, part), {})
            if baseline.method == "base":  # it has no seeds: every seed of ours meets the same answers
                theirs = {seed: outcomes for seed in ours for outcomes in theirs.values()}
            some = difference(ours, theirs)
            name = (
                f"{SEARCHES[baseline.search]}, {'base' if baseline.method == 'base' else 'the same weights'}"
            )
            values = [MISSING, *[""] * 5]
            if some is not None:
                accuracies = [f"{some.macc:.1f}", f"{some.other:.1f}", _points(some)]
                values = [str(some.rows), *accuracies, f"{some.num_looks:.1f}", f"{some.other_looks:.1f}"]
            body.append([part, SEARCHES[search], name, *values])
    return _table(heads, body)


def by_size(found: Found) -> str:
    """mAcc of Adapter+, plain and zooming, by the area of the target as a share of the picture's."""
    ways = (("plain", "frame"), ("piza", "greedy"), ("piza", "best"))
    heads = [
        "set",
        "area of the target",
        "rows",
        *(f"{FORMS[form]}, {SEARCHES[search]}" for form, search in ways),
    ]
    body = []
    for part in SETS:
        bins = []
        for way in ways:
            seeds = found.get((Row("adapter_plus", *way), part), {})
            answers = [outcome for outcomes in seeds.values() for outcome in outcomes]
            bins.append(
                {some.label: (some.macc, some.rows // len(seeds)) for some in error_analysis(answers).by_size}
            )
        labels = list(dict.fromkeys(label for some in bins for label in some))
        for label in labels:
            counts = {some[label][1] for some in bins if label in some}
            cells = [f"{some[label][0]:.1f}" if label in some else MISSING for some in bins]
            body.append([part, label, "/".join(map(str, sorted(counts))), *cells])
        if not labels:
            body.append([part, "", "", *[MISSING] * len(ways)])
    return _table(heads, body)


def all_rows(lines: dict[tuple[Row, str], Line], part: str) -> str:
    """Every row on one set."""
    heads = ["method", "form", "search", "trained", "mAcc", "Acc50", "Acc75", "looks", "ms", "rows", "seeds"]
    body = []
    for row in ROWS:
        names = [
            METHODS.get(row.method, "base"),
            FORMS[row.form],
            SEARCHES[row.search],
        ]
        line = lines.get((row, part))
        if line is None:
            body.append([*names, "", MISSING, *[""] * 6])
            continue
        cells = []
        for measure in MEASURES:
            inside = line.ranges and line.ranges[measure]
            text = f"{getattr(line, measure):.1f}"
            cells.append(f"{text} ({inside[0]:.1f} to {inside[1]:.1f})" if inside else text)
        spread = " / ".join(f"{value:.1f}" for value in line.by_seed.values())
        body.append(
            [
                *names,
                "" if line.trained is None else f"{line.trained:,}",
                *cells,
                f"{line.num_looks:.2f}",
                f"{line.milliseconds:.0f}",
                str(line.rows),
                "1" if len(line.by_seed) == 1 else f"{len(line.by_seed)}: {spread}",
            ]
        )
    return _table(heads, body)


def short(line: Line) -> str:
    """A line in a line, for a terminal."""
    found = [f"{name} {getattr(line, name.lower()):.1f} %" for name in ("mAcc", "Acc50", "Acc75")]
    return (
        f"{line.set}, {SEARCHES[line.row.search]}: {', '.join(found)}, {line.num_looks:.2f} looks, {line.milliseconds:.0f} ms, "
        f"{line.rows} rows"
    )


def _table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def fill(text: str, block: str) -> str:
    """A page with `block` between its two markers. Raises ValueError for a page without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN!r} followed by {END!r}")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


# --- files ------------------------------------------------------------------------------------------------------------


def plain_values(line: Line) -> dict[str, Any]:
    """A line as flat values, for JSON."""
    values: dict[str, Any] = {
        "method": line.row.method,
        "form": line.row.form,
        "search": line.row.search,
        "set": line.set,
        "rows": line.rows,
        "pictures": line.pictures,
        "trained": line.trained,
        "looks": round(line.num_looks, 3),
        "ms": round(line.milliseconds, 1),
        "seeds": " ".join(map(str, line.by_seed)),
        "macc_by_seed": " ".join(f"{value:.2f}" for value in line.by_seed.values()),
    }
    for measure in MEASURES:
        low, high = line.ranges[measure] if line.ranges else (None, None)
        values |= {
            measure: round(getattr(line, measure), 2),
            f"{measure}_low": None if low is None else round(low, 2),
            f"{measure}_high": None if high is None else round(high, 2),
        }
    return values
