"""Sides of a comparison, each in a process of its own, taking turns: the same noise for all, and the memory of each.

    python benchmarks/sides.py CASE SIDE FOLDER MODEL     # the process of one side; started by `measure`

A case is a module with `prepare(side, folder, model, parts)`, which loads what the side needs and returns a function
without arguments: one run, whose answer can be written as JSON. `parts` (parts.py) is told what to time.
"""

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass
class Side:
    """What was measured of one side. Milliseconds of a run: wall, and CPU time of all its threads, which a busy machine does
    not blur so much. parts: median wall milliseconds of a run by what they were spent on."""

    wall: float
    cpu: float
    peak_mb: float
    parts: dict[str, float]
    answer: Any = field(repr=False, default=None)


def measure(
    case: str,
    names: list[str],
    folder: Path,
    model: str,
    runs: int,
    windows_per_batch: bool = True,
    warm: int = 1,
) -> dict[str, Side]:
    """Runs every side `runs` times and takes medians.

    together: all sides are loaded at once and take turns within each run; else one after another, for what is too large
    to be loaded twice. warm: runs before the first that counts.
    """
    found: dict[str, Side] = {}
    for group in [names] if windows_per_batch else [[name] for name in names]:
        processes = {name: _Process(case, name, folder, model) for name in group}
        replies: dict[str, list[dict[str, Any]]] = {name: [] for name in group}
        try:
            for run in range(warm + runs):
                for name, process in processes.items():
                    reply = process.ask("run")
                    if run >= warm:
                        replies[name].append(reply)
            for name, process in processes.items():
                found[name] = _summary(replies[name], process.ask("end"))
        finally:
            for process in processes.values():
                process.close()
    return found


def _summary(replies: list[dict[str, Any]], end: dict[str, Any]) -> Side:
    parts = {name for reply in replies for name in reply["parts"]}
    return Side(
        wall=statistics.median(reply["wall"] for reply in replies),
        cpu=statistics.median(reply["cpu"] for reply in replies),
        peak_mb=end["peak_mb"],
        parts={p: statistics.median(reply["parts"].get(p, 0.0) for reply in replies) for p in sorted(parts)},
        answer=replies[-1]["answer"],
    )


class _Process:
    def __init__(self, case: str, side: str, folder: Path, model: str):
        command = [sys.executable, str(HERE / "sides.py"), case, side, str(folder), model]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._name = f"{case}, {side}"

    def ask(self, what: str) -> dict[str, Any]:
        assert self._child.stdin and self._child.stdout
        try:
            self._child.stdin.write(what + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit(f"the side {self._name} ended with exit code {self._child.wait()}; see above")
        return json.loads(line)

    def close(self) -> None:
        assert self._child.stdin and self._child.stdout
        for stream in (self._child.stdin, self._child.stdout):
            try:
                stream.close()
            except BrokenPipeError:
                pass
        self._child.wait()


def peak_mb() -> float:
    """The most memory this process had at once. Linux counts a child's as its parent's until it has a program of its own,
    so `getrusage` would tell the harness's."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1024 * 1024 if sys.platform == "darwin" else 1024
        )


def _serve(case: str, side: str, folder: str, model: str) -> None:
    from parts import MicroBatches

    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    parts = MicroBatches()
    run = importlib.import_module(case).prepare(side, Path(folder), model, parts)
    for line in sys.stdin:
        if line.strip() == "end":
            reply: dict[str, Any] = {"peak_mb": peak_mb()}
        else:
            parts.clear()
            wall, cpu = time.perf_counter(), time.process_time()
            answer = run()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            reply = {
                "wall": 1000 * wall,
                "cpu": 1000 * cpu,
                "answer": answer,
                "parts": parts.milliseconds(wall),
            }
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
