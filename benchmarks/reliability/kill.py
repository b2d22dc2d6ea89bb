"""kill -9 at random moments of every long command: is what was finished there, and does the same command end well?

    python benchmarks/reliability/kill.py --count 50 --out runs/reliability/kill.jsonl

Each command runs once undisturbed. Then it is started again and again on the same files and killed at a random moment;
when it gets to its end, its output is compared with that of the undisturbed run and it begins anew. Checked at each kill: the
output is not there, or whole; what was finished before is still there; no file is left at the end that does not belong
there. Small models and images, so that a run takes seconds; a command is a forked process, so that these are not spent on
imports. The same call goes on where it was stopped. Not for Windows.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for tests.conftest

import numpy as np
from PIL import Image

from piza.batch.folders import UNFINISHED
from piza.cli.main import main as piza_main
from piza.files import is_temporary

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
SAVE_EVERY = "0.3"  # seconds between checkpoints


@dataclass(frozen=True)
class Command:
    """arguments: of `piza`. out: what it writes, a file or a folder. finished: how much is done, which may never become
    less; None for a command that starts clean. output: what has to be as in an undisturbed run."""

    arguments: list[str]
    out: Path
    output: Callable[[Path], Any]
    finished: Callable[[Path], int] | None = None
    whole: bool = True  # `out` is there only when all is done
    once: bool = False  # and is refused when it is there already
    grows: bool = False  # a folder that is taken until it is whole, and refused then


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def tree(folder: Path) -> dict[str, str]:
    """Name and digest of all files of a folder, hidden ones included."""
    return {str(p.relative_to(folder)): digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def weights(folder: Path) -> dict[str, str]:
    """What a training answers with; its log holds times."""
    return {name: value for name, value in tree(folder).items() if not name.startswith("training/")}


def predictions(path: Path) -> list[Any]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(([{**line, "milliseconds": 0} for line in lines]), key=lambda line: line["index"])


def lines_of_part(path: Path) -> int:
    part = path.with_name(f"{path.name}.part")
    file = part if part.exists() else path
    return file.read_text(errors="replace").count("\n") if file.exists() else 0


def steps(folder: Path) -> int:
    from piza.training.checkpoint import checkpoint_step

    return checkpoint_step(folder / "training")


def names(folder: Path) -> list[str]:
    return sorted(tree(folder))


def prepare(place: Path) -> None:
    """Small models, images and rows."""
    from tests.conftest import make_tokenizer, tiny_detector

    from piza.config import PizaConfig
    from piza.model.io import save_folder
    from piza.model.piza import Piza

    place.mkdir(parents=True)
    tokenizer, detector = make_tokenizer(), tiny_detector()
    detector.save_pretrained(place / "base")
    tokenizer.save_pretrained(place / "base")
    options = {"bottleneck": 8, "embedding_dim": 32}
    config = PizaConfig(method="full", method_options=options, first_pixels=128, later_pixels=96)
    model = Piza(detector, tokenizer, config).eval()
    model.prompter.known_words = {"car": 7, "red": 9}
    save_folder(model, place / "model")
    rng = np.random.default_rng(0)
    (place / "images").mkdir()
    rows = []
    for number in range(16):
        pixels = rng.integers(0, 255, (20, 26, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1)
        Image.fromarray(pixels).save(place / "images" / f"{number}.png")
        for sentence in ("the red car", "the sign on the left"):
            box = [int(v) for v in rng.integers(10, 100, 4)]
            rows.append({"image": f"{number}.png", "bbox": box, "ref": sentence, "id": len(rows)})
    (place / "rows.json").write_text(json.dumps(rows))
    if GOLDEN.is_dir():
        from tests.model.test_reference import small_config
        from transformers import BertTokenizer

        (place / "published").mkdir()
        small_config().save_pretrained(place / "published")
        words = (GOLDEN / "vocab.txt").read_text().splitlines()
        BertTokenizer(vocab={word: i for i, word in enumerate(words)}, do_lower_case=True).save_pretrained(
            place / "published"
        )


def commands(place: Path) -> dict[str, Command]:
    model, images, rows = str(place / "model"), str(place / "images"), str(place / "rows.json")
    out = place / "out"
    sentences = ["the red car", "the sign"]
    found = {
        "evaluate --predictions": Command(
            ["evaluate", rows, "--images", images, "--model", model, "--predictions", str(out / "p.jsonl")],
            out / "p.jsonl", predictions, lines_of_part,
        ),
        "locate --out FILE.jsonl": Command(
            ["locate", images, *sentences, "--model", model, "--out", str(out / "a.jsonl")], out / "a.jsonl", digest
        ),
        "locate --out yolo": Command(
            ["locate", images, *sentences, "--model", model, "--out", str(out / "yolo")], out / "yolo", tree, whole=False, grows=True,
        ),
        "locate --out drawings": Command(
            ["locate", images, "the red car", "--model", model, "--out", str(out / "drawings")],
            out / "drawings", names, whole=False, grows=True,
        ),
        "data convert (COCO)": Command(
            ["data", "convert", rows, "--from", "sorec", "--out", str(out / "c.json"), "--to", "coco", "--images", images], out / "c.json", digest
        ),
        "data convert (Parquet with images)": Command(
            ["data", "convert", rows, "--from", "sorec", "--out", str(out / "hf"), "--to", "hf", "--images", images, "--embed"],
            out / "hf", tree, whole=False,
        ),
        "export": Command(["export", model, "--out", str(out / "export")], out / "export", names, whole=False),
        "train": Command(
            ["train", rows, "--images", images, "--base", str(place / "base"), "--out", str(out / "lora"), "--method", "lora",
             "--steps", "12", "--history-steps", "20", "--batch", "2", "--workers", "1", "--save-every", SAVE_EVERY, "--device", "cpu"],
            out / "lora", weights, steps, whole=False,
        ),
    }  # fmt: skip
    if GOLDEN.is_dir():
        found["convert reference"] = Command(
            ["convert", "reference", str(GOLDEN / "model_small_state.safetensors"), "--base", str(place / "published"),
             "--out", str(out / "converted")],
            out / "converted", tree, once=True,
        )  # fmt: skip
    return found


def start(command: Command, log: Path) -> int:
    """The process of a command, in a session of its own."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os._exit(piza_main(command.arguments))
    except BaseException as error:
        print(f"raised {error!r}", file=sys.stderr, flush=True)
        os._exit(99)


def run_to_end(command: Command, log: Path) -> float:
    """Seconds it took. Raises AssertionError where it fails."""
    began = time.monotonic()
    _, status = os.waitpid(start(command, log), 0)
    assert status == 0, f"exit status {status}: {log.read_text()[-500:]}"
    return time.monotonic() - began


def check_end(command: Command, expected: Any) -> None:
    assert command.output(command.out) == expected, "other output than undisturbed"
    left = [
        str(p)
        for p in command.out.parent.rglob("*")
        if is_temporary(p) or ".part" in p.name or "unfinished" in p.name
    ]
    assert not left, f"left behind: {left}"


def trial(command: Command, place: Path, seconds: float, expected: Any, rng: random.Random) -> dict[str, Any]:
    """One kill. Raises AssertionError for anything lost."""
    before = command.finished(command.out) if command.finished else 0
    began, moment = time.monotonic(), rng.uniform(0.0, 1.05 * seconds)
    child = start(command, place / "log.txt")
    ended, status = 0, 0
    while not ended and time.monotonic() - began < moment:
        time.sleep(0.01)
        ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        assert status == 0, f"exit status {status}: {(place / 'log.txt').read_text()[-500:]}"
        check_end(command, expected)
        shutil.rmtree(place / "out")
        (place / "out").mkdir()
        return {"moment": round(moment, 2), "killed": False}
    os.killpg(child, signal.SIGKILL) if os.getpgid(child) == child else os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    after = command.finished(command.out) if command.finished else 0
    assert after >= before, f"{before} were finished, {after} are left"
    if command.whole and command.out.exists():
        assert command.output(command.out) == expected, "half an output"
        if command.once:
            shutil.rmtree(command.out)
    if command.grows and command.out.exists() and not (command.out / UNFINISHED).exists():
        if any(command.out.iterdir()):  # killed between its last file and the end of the process
            assert command.output(command.out) == expected, "half an output"
            shutil.rmtree(command.out)
    return {"moment": round(moment, 2), "killed": True, "finished": after}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=50, help="kills of each command")
    parser.add_argument("--out", default="runs/reliability/kill.jsonl")
    parser.add_argument("--only", default="", help="commands whose names hold this")
    options = parser.parse_args()
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []
    place = Path(tempfile.mkdtemp(prefix="piza-kill-")) / "place"
    prepare(place)
    for name, command in commands(place).items():
        done = sum(line["command"] == name and line.get("killed", False) for line in lines)
        if options.only not in name or done >= options.count:
            continue
        shutil.rmtree(place / "out", ignore_errors=True)
        (place / "out").mkdir()
        rng = random.Random(f"{name} {done}")
        seconds = run_to_end(command, place / "log.txt")
        expected = command.output(command.out)
        shutil.rmtree(place / "out")
        (place / "out").mkdir()
        print(f"{name}: {seconds:.1f} s", flush=True)
        while done < options.count:
            try:
                line: dict[str, Any] = trial(command, place, seconds, expected, rng)
                if line["killed"] and rng.random() < 0.2:
                    run_to_end(command, place / "log.txt")
                    check_end(command, expected)
                    shutil.rmtree(place / "out")
                    (place / "out").mkdir()
                    line["ended"] = True
            except AssertionError as error:
                line = {"killed": True, "fault": str(error)}
                shutil.rmtree(place / "out")
                (place / "out").mkdir()
            done += line["killed"]
            with out.open("a") as file:
                file.write(json.dumps({"command": name, **line}) + "\n")
        run_to_end(command, place / "log.txt")
        check_end(command, expected)
    shutil.rmtree(place.parent)
    print(summary([json.loads(line) for line in out.read_text().splitlines()]))


def summary(lines: list[dict[str, Any]]) -> str:
    rows = ["| command | kills | ended after a kill, compared | faults |", "|---|---|---|---|"]
    for name in dict.fromkeys(line["command"] for line in lines):
        own = [line for line in lines if line["command"] == name]
        ended = sum(line.get("ended", False) or not line["killed"] for line in own)
        faults = sum("fault" in line for line in own)
        rows.append(f"| {name} | {sum(line['killed'] for line in own)} | {ended} | {faults} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
