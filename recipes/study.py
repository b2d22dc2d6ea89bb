"""The study at the scale of mini: evaluates what recipes/mini_rows.sh trained, and makes the tables and plots of docs/study.md.

    python recipes/study.py --page docs/study.md     # all that is trained; what was evaluated before stays
    python recipes/study.py --tables-only            # from the predictions there are
    python recipes/study.py --only lora-plain-0      # one checkpoint

Reads WORK/METHOD-FORM-SEED (checkpoints), WORK/base, WORK/scenes.json and signs.json (held-out rows), WORK/fit.json (rows on
which the evidence of the shipped search is fitted, of no held-out picture). Writes WORK/predictions (a line a row, the intervals
and differences can be made of them anew) and WORK/results: study.md, study.json, study_macc.png, study_looks.png.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from study_plots import plot_looks, plot_macc
from study_table import (
    METHODS,
    PLOTS,
    ROWS,
    SETS,
    Found,
    Line,
    Row,
    fill,
    line_of,
    page_block,
    plain_values,
    short,
)

import piza
from piza.data.sorec import read_rows
from piza.errors import InputError
from piza.evaluation.outcome import Outcome, read_predictions
from piza.files import atomic_write
from piza.methods import METHODS as CODE

NAME = re.compile(rf"({'|'.join(METHODS)})-(plain|piza)-(\d+)")
BASELINES = ("tiles", "sliding")
ASIDE = (*BASELINES, "oracle", "quarter")  # asked of one model only
# Of the search that comes back, chosen on 504 rows of drawn streets; not of `mini`, whose later looks choose nothing.
BEST_BUDGET, BEST_THRESHOLD = 4, 0.3
QUARTER = {"scenes": 21, "signs": 7}  # looks: of a tile grid's on a picture of these sets


@dataclass(frozen=True)
class Task:
    """One evaluation: a model folder, how it answers, a set of rows, how many of them, and where predictions go."""

    folder: Path
    row: Row
    seed: int
    part: str
    limit: int
    file: Path

    @property
    def title(self) -> str:
        return f"{self.folder.name}, {self.row.search}, {self.part}"


def checkpoints(work: Path) -> dict[tuple[str, str, int], Path]:
    """Finished trainings: (method, form, seed) -> folder."""
    found = {}
    for folder in sorted(work.iterdir()):
        match = NAME.fullmatch(folder.name)
        if match and (folder / "training" / "done").is_file():
            found[match[1], match[2], int(match[3])] = folder
    return found


def tasks_of(work: Path, base: Path, rows: dict[str, int], limit: int, baseline_limit: int) -> list[Task]:
    """All evaluations of what is trained; rows: how many there are in each set. What stands aside is asked of the first seed only."""
    found = checkpoints(work)
    first = min(
        (seed for method, form, seed in found if (method, form) == ("adapter_plus", "piza")), default=0
    )
    tasks = []
    for row in ROWS:
        places = (
            {0: base}
            if row.method == "base"
            else {
                s: folder
                for (method, form, s), folder in found.items()
                if (method, form) == (row.method, row.form)
            }
        )
        for seed, folder in places.items():
            if row.search in ASIDE and row.method != "base" and seed != first:
                continue
            for part, count in rows.items():
                most = min(count, baseline_limit if row.search in (*BASELINES, "quarter") else limit)
                file = work / "predictions" / folder.name / f"{part}-{row.search}.jsonl"
                tasks.append(Task(folder, row, seed, part, most, file))
    return tasks


def weights_time(folder: Path) -> float:
    """When the weights of a model folder were written."""
    files = [
        folder / name for name in ("adapter.safetensors", "model.safetensors") if (folder / name).is_file()
    ]
    if not files:
        raise InputError(
            f"{str(folder)!r} is no model folder: recipes/mini_rows.sh makes the base and the rows"
        )
    return max(file.stat().st_mtime for file in files)


def predictions(task: Task) -> list[Outcome] | None:
    """The outcomes of a task that was done, for at least as many rows and with the weights as they are; else None."""
    if not task.file.is_file() or task.file.stat().st_mtime < weights_time(task.folder):
        return None
    outcomes = [outcome for outcome in read_predictions(task.file) if outcome.index < task.limit]
    return outcomes if len(outcomes) == task.limit else None


def command(task: Task, work: Path) -> list[str]:
    """The evaluation as a command. The evidence of a search is each model's own."""
    how = {
        "frame": ["--whole-frame"],
        "greedy": ["--greedy"],
        "best": ["--budget", str(BEST_BUDGET), "--accept-threshold", str(BEST_THRESHOLD)],
        "quarter": ["--budget", str(QUARTER[task.part]), "--accept-threshold", "0.95"],
        "tiles": ["--baseline", "tiles"],
        "sliding": ["--baseline", "sliding"],
        "oracle": ["--baseline", "oracle", "--greedy"],
    }[task.row.search]
    rows = str(work / f"{task.part}.json")
    where = ["--images", str(work), "--model", str(task.folder), "--predictions", str(task.file)]
    return ["-m", "piza", "evaluate", rows, *where, "--limit", str(task.limit), *how]


def calibration(folder: Path, work: Path) -> Path:
    """What recipes/calibrate.py said when it fitted the evidence of this model."""
    return work / "predictions" / folder.name / "calibration.txt"


def fitted(folder: Path, work: Path) -> bool:
    file = calibration(folder, work)
    return file.is_file() and file.stat().st_mtime >= weights_time(folder)


def calibrate(folder: Path, work: Path, limit: int) -> None:
    """Fits the evidence of a model that zooms and writes it into its piza.json."""
    recipe = Path(__file__).with_name("calibrate.py")
    said = run(
        [str(recipe), str(folder), str(work / "fit.json"), str(work), "--limit", str(limit), "--write"]
    )
    with atomic_write(calibration(folder, work)) as part:
        part.write_text(said)


def run(arguments: Sequence[str]) -> str:
    """What a Python command printed. Raises InputError with the last line of its errors."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no word of why"]
        raise InputError(f"exit code {done.returncode}: {lines[-1]}")
    return done.stdout


def run_all(jobs: int, calls: dict[str, Callable[[], object]]) -> int:
    """Calls all, by title, `jobs` at a time; how many failed."""
    failed = 0
    with ThreadPoolExecutor(jobs) as pool:
        titles = {pool.submit(call): title for title, call in calls.items()}
        try:
            for number, future in enumerate(as_completed(titles), start=1):
                problem = future.exception()
                failed += problem is not None
                word = f"failed: {problem}" if problem else "done"
                say(f"{titles[future]}: {word} ({number} of {len(titles)})")
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def say(text: str) -> None:
    print(f"study: {text}", file=sys.stderr, flush=True)


def trained_parameters(folder: Path, method: str) -> int:
    model = piza.load(str(folder))
    names = CODE[method].trained_names(model)
    return sum(p.numel() for name, p in model.named_parameters() if name in names)


def collect(tasks: Sequence[Task]) -> tuple[Found, dict[tuple[Row, str], Line]]:
    """The predictions there are, and their lines."""
    found: Found = {}
    folders: dict[tuple[str, str], Path] = {}
    for task in tasks:
        if outcomes := predictions(task):
            found.setdefault((task.row, task.part), {})[task.seed] = outcomes
            if task.row.method != "base":
                folders[task.row.method, task.row.form] = task.folder
    trained = {key: trained_parameters(folder, key[0]) for key, folder in folders.items()}
    lines = {
        (row, part): line_of(row, part, seeds, trained.get((row.method, row.form), 0))
        for (row, part), seeds in found.items()
    }
    return found, lines


def write_results(tasks: Sequence[Task], results: Path, page: Path | None) -> str:
    """Writes tables and plots, fills the page between its markers, and returns the Markdown."""
    found, lines = collect(tasks)
    results.mkdir(parents=True, exist_ok=True)
    if lines:
        for folder in (results, *([page.parent] if page else [])):
            for name, plot in zip(PLOTS, (plot_macc, plot_looks), strict=True):
                plot(lines, folder / name)
    text = page_block(found, lines, PLOTS if lines else ())
    for name, content in (
        ("study.md", text + "\n"),
        ("study.json", json.dumps([plain_values(line) for line in lines.values()], indent=1) + "\n"),
    ):
        with atomic_write(results / name) as part:
            part.write_text(content, encoding="utf-8")
    if page is not None:
        filled = fill(page.read_text(encoding="utf-8"), text)
        with atomic_write(page) as part:
            part.write_text(filled, encoding="utf-8")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/study"))
    parser.add_argument("--base", type=Path, help="where all rows started (default: WORK/base)")
    parser.add_argument("--limit", type=int, default=1000, help="rows of each set (default: 1000)")
    parser.add_argument("--baseline-limit", type=int, default=300, help="the same for tiles (default: 300)")
    parser.add_argument("--fit-limit", type=int, default=160, help="rows to fit evidence on (default: 160)")
    parser.add_argument("--jobs", type=int, default=2, help="evaluations at a time (default: 2)")
    parser.add_argument(
        "--only", metavar="METHOD-FORM-SEED", help="evaluate this checkpoint alone, no baselines"
    )
    parser.add_argument("--tables-only", action="store_true", help="evaluate nothing")
    parser.add_argument("--page", type=Path, help="a page to fill between its markers, such as docs/study.md")
    args = parser.parse_args()
    try:
        return study(args)
    except InputError as error:
        print(f"study: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("stopped; what is done is kept, the same command goes on")
        return 130


def study(args: argparse.Namespace) -> int:
    work = args.work
    for name in ("limit", "baseline_limit", "fit_limit", "jobs"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(args, name)}; at least 1 is wanted")
    if not work.is_dir():
        raise InputError(
            f"there is no folder {str(work)!r}; recipes/mini_rows.sh (make study-train) makes it"
        )
    files = {part: work / f"{part}.json" for part in SETS}
    rows = {part: len(read_rows(file)) for part, file in files.items() if file.is_file()}
    if not rows:
        raise InputError(f"there are no held-out rows in {str(work)!r}; recipes/mini_rows.sh writes them")
    tasks = tasks_of(work, args.base or work / "base", rows, args.limit, args.baseline_limit)
    wanted = [
        task
        for task in tasks
        if args.only is None or (task.folder.name == args.only and task.row.search not in ASIDE)
    ]
    if not wanted:
        raise InputError(f"there is no finished training {args.only!r} in {str(work)!r}")
    failed = 0
    if not args.tables_only:
        for task in wanted:
            task.file.parent.mkdir(parents=True, exist_ok=True)
        fits = {t.folder for t in wanted if t.row.search == "best" and not fitted(t.folder, work)}
        todo = [task for task in wanted if predictions(task) is None]
        say(f"{len(fits)} fits and {len(todo)} of {len(wanted)} evaluations to do")
        if fits and len({row.image for row in read_rows(work / "fit.json")[: args.fit_limit]}) < 2:
            raise InputError(
                f"the first {args.fit_limit} rows to fit evidence on are about one picture; give a larger --fit-limit"
            )
        failed = run_all(
            args.jobs,
            {
                f"{folder.name}, evidence": partial(calibrate, folder, work, args.fit_limit)
                for folder in sorted(fits)
            },
        )
        unfitted = {folder for folder in fits if not fitted(folder, work)}
        todo = [task for task in todo if not (task.row.search == "best" and task.folder in unfitted)]
        failed += run_all(args.jobs, {task.title: partial(run, command(task, work)) for task in todo})
    if args.only is not None:
        for line in collect(wanted)[1].values():
            print(short(line))
        return 1 if failed else 0
    print(write_results(tasks, work / "results", args.page))
    missing = sorted(
        {f"{m}-{f}" for m in METHODS for f in ("plain", "piza")}
        - {f"{m}-{f}" for m, f, _ in checkpoints(work)}
    )
    if missing:
        say(f"not trained yet: {', '.join(missing)}")
    if failed:
        say(f"{failed} failed; the same command tries them again")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
