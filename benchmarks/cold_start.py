"""Case f: the command line from nothing to an answer, in torch and with exported graphs, and `piza --help`."""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import material
from sides import HERE, Side
from table import row


def run(folder: Path, model: str, runs: int) -> list[dict[str, Any]]:
    file, sentences = material.street(folder / "material", 2560, 1920)
    exported = material.exported(folder / "material", model)
    asked = [str(file), sentences[0]]
    ways = {
        "naive": [sys.executable, str(HERE / "naive.py"), *asked],
        "torch": [sys.executable, "-m", "piza", "locate", *asked, "--model", model, "--greedy"],
        "onnx": [
            sys.executable,
            "-m",
            "piza",
            "locate",
            *asked,
            "--model",
            str(exported),
            "--greedy",
            "--runtime",
            "onnx",
        ],
        "help": [sys.executable, "-m", "piza", "--help"],
    }
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(runs):
        for way, command in ways.items():
            found[way].append(_one(command))
    sides = {way: Side(*(statistics.median(v) for v in zip(*times)), {}) for way, times in found.items()}
    titles = {
        "torch": "`piza locate`, cold start",
        "onnx": "the same, `--runtime onnx`",
        "help": "`piza --help`",
    }
    return [row("f", title, sides["naive"], sides[way]) for way, title in titles.items()]


# Started between the harness and the program: Linux counts the memory of whoever starts a program as that program's.
LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, used = os.wait4(child, 0)
wall = time.perf_counter() - started
scale = 1024 * 1024 if sys.platform == "darwin" else 1024
print(json.dumps([os.waitstatus_to_exitcode(status), 1000 * wall, 1000 * (used.ru_utime + used.ru_stime), used.ru_maxrss / scale]))
"""


def _one(command: list[str]) -> tuple[float, float, float]:
    """Wall milliseconds, CPU milliseconds and peak MB of a program."""
    launch = [sys.executable, "-S", "-c", LAUNCHER, *command]
    code, wall, cpu, peak = json.loads(subprocess.run(launch, check=True, stdout=subprocess.PIPE).stdout)
    if code:
        raise SystemExit(f"{' '.join(command)} ended with exit code {code}; see above")
    return wall, cpu, peak
