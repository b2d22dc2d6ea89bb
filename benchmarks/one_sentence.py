"""Case a: one sentence on a JPEG of 5 and of 12 megapixels, from file to box."""

from pathlib import Path
from typing import Any

import material
import naive
import torch
from parts import Parts, watch_piza
from sides import measure
from table import agreement, row

SIZES = ((2560, 1920), (4000, 3000))
SENTENCE = 0


def prepare(side: str, folder: Path, model: str, parts: Parts) -> Any:
    """Sides: "plan WxH", "naive WxH", "piza WxH" (greedy, the looks of the plan), "own WxH" (the model's own search)."""
    way, _, size = side.partition(" ")
    width, height = (int(v) for v in size.split("x"))
    file, sentences = material.street(folder / "material", width, height)
    return prepared(way, file, sentences[SENTENCE : SENTENCE + 1], folder / f"plan-{size}.json", model, parts)


def prepared(way: str, file: Path, sentences: list[str], plan: Path, model: str, parts: Parts) -> Any:
    """One run of a side: boxes of all sentences about one picture."""
    import json

    import piza

    if way in ("plan", "naive", "published"):
        loaded = naive.load_stock(model)
        if way == "plan":
            plans = [naive.plan(loaded, file, sentence) for sentence in sentences]
            plan.write_text(json.dumps(plans))
            return lambda: [given["box"] for given in plans]
        plans = json.loads(plan.read_text())
        if way == "published":
            plans = [naive.at_one_size(given, loaded.config) for given in plans]
        naive.watch(parts, loaded)
        return lambda: [naive.search(loaded, file, given).tolist() for given in plans]
    loaded = piza.load(model)
    watch_piza(parts, loaded)
    with torch.inference_mode():
        greedy = way == "piza"

        def run() -> Any:
            found = loaded.locate(file, sentences, greedy=greedy)
            return {"boxes": [r.box_xyxy for r in found], "looks": sum(r.looks for r in found) / len(found)}

        return run


def compare(
    case: str, letter: str, title: str, end: str, folder: Path, model: str, runs: int
) -> dict[str, Any]:
    """The sides of one picture, in turn."""
    planned = measure(case, [f"plan{end}"], folder, model, 1, warm=0)[f"plan{end}"].answer
    found = measure(
        case, [f"{way}{end}" for way in ("naive", "published", "piza", "own")], folder, model, runs
    )
    ours, own = found[f"piza{end}"], found[f"own{end}"]
    same = agreement(ours.answer["boxes"], planned)
    return row(
        letter,
        title,
        found[f"naive{end}"],
        ours,
        same,
        own=own,
        published=found[f"published{end}"],
        looks=(ours.answer["looks"], own.answer["looks"]),
    )


def run(folder: Path, model: str, runs: int) -> list[dict[str, Any]]:
    rows = []
    for width, height in SIZES:
        title = f"one sentence, {width}x{height} JPEG, file to box"
        rows.append(compare("one_sentence", "a", title, f" {width}x{height}", folder, model, 3 * runs))
    return rows
