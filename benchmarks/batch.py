"""What `piza batch` costs beside the looks themselves, and what becomes of a run that is killed.

    python benchmarks/batch.py faults [--rows 10000]     every row exactly once, with two kills and 1 % corrupt images
    python benchmarks/batch.py workers [--seconds 0.05]  images a second with two processes against one
    python benchmarks/batch.py ray [--seconds 0.05]      with two Ray actors against two processes (piza[ray])
    python benchmarks/batch.py memory                    the largest memory of driver and worker, 100 against 10,000 images
    python benchmarks/batch.py mini --images DIR         the embedded model: images a second, looks and decoding apart

The first four use a stand-in for the model, which computes for --seconds of CPU time an image (so that other work on the
machine does not blur it) and answers with numbers of the pixels; images are drawn, 64 x 48 pixels. `faults` kills the driver
(SIGKILL) at a third and a worker at two thirds, runs again, and compares the rows with those of an undisturbed run; the share
of images that were asked about twice is what the kills cost. Ratios of two workers to one mean something only on a machine
with two idle cores: the load before and after is printed. No time is asserted anywhere.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from PIL import Image

from piza.batch.jobs import ModelSource
from piza.batch.run import BatchCount, run_batch
from piza.image import ImageReference, decode_image
from piza.result import Result, Step

CORRUPT = 100  # one image of so many
SENTENCES = 2


class StandIn:
    """Computes for a while and answers with numbers of the pixels; writes a letter a call, for counting."""

    def __init__(self, seconds: float, log: str | None):
        self.seconds, self.log = seconds, log

    def locate(self, image: Any, expression: list[str], **_: Any) -> list[Result]:
        if self.log:
            with open(self.log, "a") as file:
                file.write(".")
        end = time.process_time() + self.seconds
        while time.process_time() < end:
            np.sort(np.arange(20_000) % 777)
        pixels = np.asarray(image)
        size = (pixels.shape[1], pixels.shape[0])
        results = []
        for sentence in expression:
            score = (zlib.crc32(sentence.encode()) + int(pixels.sum())) % 1000 / 1000
            box = (score, score / 3, 30 + score, 20.0)
            step = Step((0.0, 0.0, *size), (64, 48), 0.0, 0.5, np.array([box]), np.array([score]))
            results.append(Result(sentence, box, score, [step], size, "stop", 1.0, ImageReference(image)))
        return results


def load(seconds: float, log: str | None = None) -> StandIn:
    return StandIn(seconds, log)


def draw(place: Path, images: int) -> None:
    """Images, of which every `CORRUPT`th is none, and a manifest of `SENTENCES` rows an image."""
    (place / "photos").mkdir(parents=True, exist_ok=True)
    with open(place / "m.jsonl", "w") as manifest:
        for number in range(images):
            path = place / "photos" / f"{number}.png"
            if number % CORRUPT == CORRUPT - 1:
                path.write_bytes(b"\x89PNG no image")
            else:
                color = (number % 256, number // 256 % 256, 90)
                Image.new("RGB", (64, 48), color).save(path, compress_level=1)
            for turn in range(SENTENCES):
                manifest.write(json.dumps({"image": path.name, "sentence": f"the object {turn}"}) + "\n")


def run(
    place: Path, out: str, seconds: float, log: str | None = None, **options: Any
) -> tuple[BatchCount, float]:
    begin = time.perf_counter()
    model = ModelSource(partial(load, seconds, log), f"stand-in of {seconds} s")
    count = run_batch(place / "m.jsonl", place / "photos", place / out, model=model, **options)
    return count, time.perf_counter() - begin


def rows_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(folder).sort_by("row").to_pylist()
    return found


def faults(place: Path, rows: int) -> None:
    images = rows // SENTENCES
    draw(place, images)
    _, whole_seconds = run(place, "whole", 0.002, workers=2)
    log = place / "log"
    log.touch()
    parts = place / "out"
    command = [sys.executable, __file__, "faults-driver", "--place", str(place)]
    for share, victim in ((1 / 3, "driver"), (2 / 3, "worker")):
        with subprocess.Popen(command) as driver:
            while driver.poll() is None and len(list(parts.glob("part-*"))) < share * 200:
                time.sleep(0.05)
            ended, there = driver.poll() is not None, len(list(parts.glob("part-*")))
            if victim == "driver":
                driver.kill()
            elif not ended:
                os.kill(children(driver.pid)[-1], signal.SIGKILL)
        print(
            f"the run ended before the {victim} was killed"
            if ended
            else f"killed the {victim} at {there} parts"
        )
    count, nothing_left = run(place, "out", 0.002, str(log), workers=2)
    kept, expected = rows_of(parts), rows_of(place / "whole")
    once = [row["row"] for row in kept] == list(range(rows))
    asked = len(log.read_text())
    sound = images - images // CORRUPT
    print(
        f"rows {len(kept)}, every one exactly once: {once}, equal to an undisturbed run: {kept == expected}"
    )
    print(f"rows with an error: {count.failed} ({100 * count.failed / rows:.1f} %)")
    print(f"images asked about: {asked} of {sound}, {100 * (asked / sound - 1):.2f} % of them again")
    print(f"a rerun with nothing left: {nothing_left:.1f} s of {whole_seconds:.1f} s")


def children(pid: int) -> list[int]:
    """Worker processes of a driver (not the one that multiprocessing keeps for itself)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat, command = (entry / "stat").read_text(), (entry / "cmdline").read_text()
        except OSError:
            continue
        if stat.rpartition(")")[2].split()[1] == str(pid) and "spawn_main" in command:
            found.append(int(entry.name))
    return sorted(found)


def workers(place: Path, seconds: float, images: int) -> None:
    draw(place, images)
    paces = {}
    for turn in range(3):
        for count in (1, 2) if turn % 2 == 0 else (2, 1):
            _, wall = run(place, f"{turn}-{count}", seconds, workers=count)
            paces.setdefault(count, []).append(images / wall)
    for count, found in paces.items():
        print(f"{count} workers: {max(found):.2f} images a second (best of {len(found)})")
    print(f"two against one: {max(paces[2]) / max(paces[1]):.2f}")


class TreeTime:
    """Seconds of CPU that this process and all below it take in a `with` block; those of processes that end are known to half
    a second. Other work on the machine does not change it much, as it does the clock's."""

    def __enter__(self) -> "TreeTime":
        self._spent: dict[tuple[str, str], float] = {}
        self._ended = threading.Event()
        self._look()
        self._before = dict(self._spent)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended.set()
        self._thread.join()
        self._look()
        self.seconds = sum(self._spent.values()) - sum(self._before.values())

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            self._look()

    def _look(self) -> None:
        stats = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                stats[entry.name] = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
        for pid, stat in stats.items():
            above = pid
            while above in stats and above != str(os.getpid()):
                above = stats[above][1]
            if above == str(os.getpid()):
                self._spent[pid, stat[19]] = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def ray(place: Path, seconds: float, images: int, turns: int) -> None:
    draw(place, images)
    begin = time.perf_counter()
    import ray as library

    library.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    print(f"starting Ray: {time.perf_counter() - begin:.1f} s, not counted below")
    walls: dict[str, list[float]] = {"processes": [], "actors": []}
    spent: dict[str, list[float]] = {"processes": [], "actors": []}
    for turn in range(turns):
        for kind in walls:
            address = "auto" if kind == "actors" else None
            with TreeTime() as tree:
                walls[kind].append(run(place, f"{turn}-{kind}", seconds, workers=2, ray=address)[1])
            spent[kind].append(tree.seconds)
    library.shutdown()
    for kind, found in walls.items():
        cpu = 1000 * min(spent[kind]) / images
        print(
            f"{kind}: {images / min(found):.2f} images a second (best of {len(found)}), {cpu:.1f} ms of CPU an image"
        )
    print(f"overhead of Ray: {100 * (min(walls['actors']) / min(walls['processes']) - 1):.1f} %")
    print(f"in CPU, of all processes: {100 * (min(spent['actors']) / min(spent['processes']) - 1):.1f} %")
    same = rows_of(place / "0-processes") == rows_of(place / "0-actors")
    print(f"the same rows: {same}")


def memory(place: Path) -> None:
    for images in (100, 1_000, 10_000):
        shutil.rmtree(place, ignore_errors=True)
        draw(place, images)
        code = (
            "import resource, sys; sys.path.insert(0, 'benchmarks'); import batch; from pathlib import Path\n"
            f"batch.run(Path({str(place)!r}), 'out', 0.0, workers=1)\n"
            "sizes = [resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]\n"
            "print(*sizes)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        driver, worker = done.stdout.split()
        print(f"{images:6} images: driver {driver} MB, worker {worker} MB")


def mini(folder: Path, limit: int) -> None:
    """Where the time of an image goes: one process, one thread, CPU time. What five sentences take more than one is theirs;
    the rest is the image's."""
    import piza

    model = piza.load("mini")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png"))[:limit]
    sentences = [f"the {color} sign on the left" for color in ("red", "blue", "yellow", "white", "black")]
    model.locate(paths[0], sentences)
    times = dict.fromkeys(("decoding", "one", "five"), 0.0)
    looks = 0
    for path in paths:
        begin = time.process_time()
        image = decode_image(path)
        decoded = time.process_time()
        looks += model.locate(image, sentences[:1])[0].num_looks
        one = time.process_time()
        model.locate(image, sentences)
        for name, seconds in zip(times, (decoded - begin, one - decoded, time.process_time() - one)):
            times[name] += 1000 * seconds / len(paths)
    each = (times["five"] - times["one"]) / 4
    size = decode_image(paths[0]).shape
    megabytes = sum(path.stat().st_size for path in paths) / len(paths) / 1e6
    print(
        f"{len(paths)} images, such as {size[1]} x {size[0]}, {megabytes:.2f} MB each; {looks / len(paths):.2f} looks"
    )
    print(
        f"CPU time: decoding {times['decoding']:.0f} ms; search for one sentence {times['one']:.0f} ms, for five"
    )
    print(f"{times['five']:.0f} ms; so {times['one'] - each:.0f} ms an image and {each:.0f} ms a sentence")
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("faults", "faults-driver", "workers", "ray", "memory", "mini"))
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--count", type=int, default=400, help="images of workers and ray")
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--turns", type=int, default=3, help="of ray")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    if options.what == "faults-driver":
        run(options.place, "out", 0.002, str(options.place / "log"), workers=2)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if options.what == "faults":
            faults(place, options.rows)
        elif options.what == "workers":
            workers(place, options.seconds, options.count)
        elif options.what == "ray":
            ray(place, options.seconds, options.count, options.turns)
        elif options.what == "memory":
            memory(place / "again")
        else:
            mini(options.images, options.limit)
    print(f"load {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
