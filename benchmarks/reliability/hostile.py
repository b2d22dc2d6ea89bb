"""Hostile inputs for every reader and route: how many end in anything but an answer or one sentence, and what they cost.

    python benchmarks/reliability/hostile.py --count 100000 --out runs/reliability/hostile.jsonl

The inputs are those of tests/fuzz, shared among the targets by their cost and made from seeds, so that the same command
goes on where it was stopped and finds the same. With --plain only readers of bytes are tried, and without hypothesis. Each block of inputs has a process of its own: one that dies, or does not
come back, is a finding as well, and its last input is kept. `--summary` prints what a file holds. Not for Windows.
"""

import argparse
import json
import multiprocessing
import pickle
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from peak_memory import memory, reset_memory

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for tests.fuzz

BLOCK_SECONDS = 20.0  # of CPU that the inputs of one block take, about
MAX_BLOCK = 2000
CPU_SECONDS = 5.0  # more for one input is a hang
STUCK_SECONDS = 1800.0  # of wall clock for a block, on a busy machine


@cache
def all_targets() -> dict[str, Any]:
    from tests.fuzz import http_targets, model_targets, targets

    model_targets.small_folders()  # once, for all processes
    return {**targets.TARGETS, **http_targets.TARGETS, **model_targets.TARGETS}


def block_size(target: Any) -> int:
    return max(20, min(MAX_BLOCK, round(1000 * BLOCK_SECONDS / (8 + target.cost))))


def run_block(name: str, number: int, count: int, plain: bool, home: str, queue: Any) -> None:
    """Try `count` inputs of one target; what was found goes to the queue."""
    from tests.fuzz.mutate import mutated
    from tests.fuzz.targets import attempt

    target, last = all_targets()[name], Path(home) / "last.pickle"
    done: Counter[str] = Counter()
    findings: list[dict[str, str]] = []
    slowest = 0.0
    before = 0.0

    def try_one(value: Any) -> None:
        nonlocal slowest, before
        last.write_bytes(pickle.dumps(value))
        if not before:
            reset_memory()
            before = memory()
        try:
            seconds = attempt(target, value, Path(home))
        except BaseException as error:
            text = traceback.format_exc()[-3000:]
            findings.append({"kind": type(error).__name__, "trace": text, "input": repr(value)[:2000]})
        else:
            slowest = max(slowest, seconds)
            if seconds > CPU_SECONDS:
                findings.append({"kind": "hang", "trace": f"{seconds:.1f} s", "input": repr(value)[:2000]})
        done["inputs"] += 1

    if plain:
        rng = random.Random(f"{name} {number}")
        for _ in range(count):
            try_one(mutated(rng, rng.choice(target.seeds)))
    else:
        by_hypothesis(target.made, number, count, try_one)
    queue.put({
        "inputs": done["inputs"], "findings": findings[:20], "num_findings": len(findings),
        "slowest": round(slowest, 3), "megabytes": round(memory() - before), "peak": round(memory()),
    })  # fmt: skip


def by_hypothesis(made: Any, number: int, count: int, try_one: Any) -> None:
    """Try what a strategy makes; a function of the number."""

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(made)
    def run(value: Any) -> None:
        try_one(value)

    run()


def try_block(name: str, number: int, count: int, plain: bool) -> dict[str, Any]:
    """Have a process of its own run a block, and say what became of it."""
    context = multiprocessing.get_context("fork")  # everything is imported once, and no thread runs yet
    queue = context.Queue()
    with tempfile.TemporaryDirectory(prefix="piza-hostile-") as home:
        started = time.monotonic()
        process = context.Process(target=run_block, args=(name, number, count, plain, home, queue))
        process.start()
        found: dict[str, Any] | None = None
        while found is None and process.is_alive() and time.monotonic() - started < STUCK_SECONDS:
            try:
                found = queue.get(timeout=5)
            except Exception:
                continue
        if found is None and not process.is_alive() and not queue.empty():
            found = queue.get()
        if found is None:
            last = Path(home) / "last.pickle"
            what = "stuck" if process.is_alive() else f"died with {process.exitcode}"
            process.kill()
            given_value = repr(pickle.loads(last.read_bytes()))[:2000] if last.is_file() else "none"
            found = {
                "inputs": 0,
                "num_findings": 1,
                "findings": [{"kind": what, "trace": "", "input": given_value}],
            }
        process.join()
    return {"target": name, "block": number, **found, "wall": round(time.monotonic() - started, 1)}


def plan(count: int, plain: bool) -> list[tuple[str, int, int]]:
    """(target, block, inputs), so that dear targets get fewer inputs, and an early end has seen all of them."""
    targets = {name: target for name, target in all_targets().items() if target.seeds or not plain}
    weights = {name: 1 / (8 + target.cost) for name, target in targets.items()}
    total = sum(weights.values())
    blocks = []
    for name, target in targets.items():
        left, number, size = max(20, round(count * weights[name] / total)), 0, block_size(target)
        while left > 0:
            blocks.append((name, number, min(size, left)))
            left, number = left - size, number + 1
    return sorted(blocks, key=lambda block: block[1])


def summary(lines: list[dict[str, Any]]) -> str:
    rows = ["| target | inputs | findings | slowest, s of CPU | memory, MB |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(line["target"] for line in lines):
        own = [line for line in lines if line["target"] == name]
        rows.append(
            f"| {name} | {sum(line['inputs'] for line in own):,} | {sum(line['num_findings'] for line in own)} "
            f"| {max(line.get('slowest', 0) for line in own):.2f} | {max(line.get('megabytes', 0) for line in own)} |"
        )
    total, bad = sum(line["inputs"] for line in lines), sum(line["num_findings"] for line in lines)
    return "\n".join([*rows, f"| all | {total:,} | {bad} | | |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--out", default="runs/reliability/hostile.jsonl")
    parser.add_argument("--only", default="", help="targets whose names hold this")
    parser.add_argument(
        "--plain", action="store_true", help="readers of bytes alone, mutated without hypothesis: faster"
    )
    parser.add_argument("--summary", action="store_true")
    options = parser.parse_args()
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []
    if options.summary:
        print(summary(lines))
        return
    done = {(line["target"], line["block"]) for line in lines}
    for name, number, count in plan(options.count, options.plain):
        if options.only in name and (name, number) not in done:
            line = try_block(name, number, count, options.plain)
            with out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(
                name,
                number,
                {key: line.get(key) for key in ("inputs", "num_findings", "slowest", "megabytes", "wall")},
                flush=True,
            )
            lines.append(line)
    print(summary(lines))


if __name__ == "__main__":
    main()
