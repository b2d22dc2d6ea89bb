"""Everything that is measured, in one command: a table, its numbers as JSON, and a plot.

    python benchmarks/bench.py --out FOLDER [--only a,b,c,d,e,f,sizes] [--model mini] [--runs 5] [--page FILE.md]

Cases are a: one sentence; b: twenty sentences on one picture; c: a data set; d: the full-size architecture; e: training;
f: cold start; sizes: cost against the size of the picture. Each is a file beside this one, and compares piza with the naive
search (naive.py) in one run, every side in a process of its own. What another run left in FOLDER is kept for the cases
that this one leaves out. --page writes the table between the marks `<!-- bench -->` and `<!-- end of bench -->` of a page, and the plot beside it.
Nothing here is asserted anywhere.
"""

import argparse
import importlib
import json
import os
import platform
import shutil
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

CASES = {
    "a": "one_sentence",
    "b": "many_sentences",
    "c": "data_set",
    "d": "full_size",
    "e": "training",
    "f": "cold_start",
    "sizes": "image_size",
}
BEGIN, END = "<!-- bench -->", "<!-- end of bench -->"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder of the table, the JSON and the plot"
    )
    parser.add_argument("--only", default=",".join(CASES), help="cases, with commas between them")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--runs", type=int, default=5, help="of each side; the median counts")
    parser.add_argument("--page", type=Path, help="a Markdown page to write the table into")
    args = parser.parse_args()
    wanted = args.only.split(",")
    unknown = [name for name in wanted if name not in CASES]
    if unknown:
        parser.error(f"there is no case {unknown[0]!r}; known are {', '.join(CASES)}")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # those of the libraries are no result
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "bench.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in CASES:
        if name in wanted:
            started, load = time.perf_counter(), os.getloadavg()[0]
            rows = importlib.import_module(CASES[name]).run(args.out, args.model, args.runs)
            found[name] = {"rows": rows, "date": date.today().isoformat(), "load": load, "machine": machine()}
            file.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    text = page(found)
    (args.out / "bench.md").write_text(text)
    print(text)
    if args.page:
        write_between(args.page, text)
        if "sizes" in found:
            shutil.copy(args.out / "sizes.png", args.page.with_name(f"{args.page.stem}_sizes.png"))


def page(found: dict[str, Any]) -> str:
    from table import markdown

    kept = [name for name in CASES if name in found]
    rows = [one for name in kept if name != "sizes" for one in found[name]["rows"]]
    made: dict[str, list[str]] = {}
    for name in kept:
        when = f"{name} on {found[name]['date']}, load {found[name]['load']:.1f}"
        made.setdefault(found[name]["machine"], []).append(when)
    text = "\n".join(f"`make bench` on {where}: {'; '.join(when)}.  " for where, when in made.items())
    text += "\n\n" + markdown(rows)
    if "sizes" in found:
        from image_size import markdown as of_sizes

        text += "\n" + of_sizes(found["sizes"]["rows"])
    return text


def machine() -> str:
    """What the numbers depend on: processors, threads, versions."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    threads = (
        int(given) if given.isdigit() else os.cpu_count() or 1
    )  # not asked of torch, which would make this process large
    cores = f"{os.cpu_count()} cores ({platform.machine()}), {threads} thread{'s' if threads > 1 else ''}"
    return f"{cores}, Python {platform.python_version()}, torch {version('torch')}"


def write_between(file: Path, text: str) -> None:
    whole = file.read_text(encoding="utf-8")
    before, mark, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise SystemExit(f"{file} has no place for the table: the marks {BEGIN} and {END} are wanted")
    file.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
