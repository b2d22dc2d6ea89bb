"""Case a: one sentence on a JPEG of 5 and of 12 megapixels, from file to box."""

from pathlib import Path
from typing import Any

import material
import naive
import torch
from parts import MicroBatches, watch_piza
from sides import measure
from table import agreement, row

SIZES = ((2560, 1920), (4000, 3000))
SENTENCE = 0


def prepare(side: str, folder: Path, model: str, parts: MicroBatches) -> Any:
    """Sides: "plan WxH", "naive WxH", "piza WxH" (greedy, the looks of the plan), "onnx WxH" (the same, exported), "own WxH"
    (the model's own search)."""
    way, _, size = side.partition(" ")
    width, height = (int(v) for v in size.split("x"))
    file, sentences = material.street(folder / "material", width, height)
    plan = folder / f"plan-{size}.json"
    return prepared(way, file, sentences[SENTENCE : SENTENCE + 1], plan, folder / "material", model, parts)


def prepared(
    way: str, file: Path, sentences: list[str], plan: Path, folder: Path, model: str, parts: MicroBatches
) -> Any:
    """One run of a side: boxes of all sentences about one picture. `folder` is where an export is kept."""
    import piza

    if way in naive.SIDES:
        return naive.side(way, model, plan, [(file, sentence) for sentence in sentences], parts)
    if way == "onnx":
        from piza.runtimes import load_exported

        loaded: Any = load_exported(material.exported(folder, model), "onnx")
    else:
        loaded = piza.load(model)
    watch_piza(parts, loaded)
    with torch.inference_mode():
        greedy = way != "own"

        def run() -> Any:
            found = loaded.locate(file, sentences, greedy=greedy)
            return {
                "boxes": [r.box_xyxy for r in found],
                "looks": sum(r.num_looks for r in found) / len(found),
            }

        return run


def compare(
    case: str, letter: str, title: str, end: str, folder: Path, model: str, runs: int, more: dict[str, str]
) -> list[dict[str, Any]]:
    """The sides of one picture, in turn; `more` names further ways and their titles."""
    planned = measure(case, [f"plan{end}"], folder, model, 1, warm=0)[f"plan{end}"].answer
    found = measure(
        case, [f"{way}{end}" for way in ("naive", "published", "piza", "own", *more)], folder, model, runs
    )
    ours, own = found[f"piza{end}"], found[f"own{end}"]
    same = agreement(ours.answer["boxes"], planned)
    naively, at_one_size = found[f"naive{end}"], found[f"published{end}"]
    looks = (ours.answer["looks"], own.answer["looks"])
    rows = [row(letter, title, naively, ours, same, own=own, published=at_one_size, looks=looks)]
    for way, what in more.items():
        side = found[f"{way}{end}"]
        same = agreement(side.answer["boxes"], planned)
        rows.append(row(letter, f"{title}, {what}", naively, side, same, published=at_one_size))
    return rows


def run(folder: Path, model: str, runs: int) -> list[dict[str, Any]]:
    rows = []
    for width, height in SIZES:
        title = f"one sentence, {width}x{height} JPEG, file to box"
        more = {"onnx": "`--runtime onnx`"}
        rows += compare("one_sentence", "a", title, f" {width}x{height}", folder, model, 3 * runs, more)
    return rows
