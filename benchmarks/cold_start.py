"""Case f: the command line from nothing to an answer, in torch and with exported graphs, and `piza --help`."""

import os
import statistics
import subprocess
import sys
import time
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


def _one(command: list[str]) -> tuple[float, float, float]:
    """Wall milliseconds, CPU milliseconds and peak MB of a program; the harness itself is kept small, as its own
    memory would be counted."""
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {child.returncode}; see above")
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    return 1000 * wall, 1000 * (used.ru_utime + used.ru_stime), used.ru_maxrss / scale
