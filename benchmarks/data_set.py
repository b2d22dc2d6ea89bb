"""Case c: a data set of 200 rows on 60 pictures of 2048x1152, as `piza evaluate` runs it."""

from pathlib import Path
from typing import Any

import material
import naive
from parts import MicroBatches, watch_piza
from sides import measure
from table import agreement, row

from piza.boxes import iou_xyxy
from piza.data.sorec import read_rows
from piza.evaluation.metrics import accuracy


def prepare(side: str, folder: Path, model: str, parts: MicroBatches) -> Any:
    import piza
    from piza.evaluation.run import evaluate

    file, images = material.data_set(folder / "material")
    rows = read_rows(file)
    if side in naive.SIDES:
        asked = [(images / row.image, row.expression) for row in rows]
        return naive.side(side, model, folder / "plan-set.json", asked, parts)
    loaded = piza.load(model)
    watch_piza(parts, loaded)

    def run() -> Any:
        found = evaluate(loaded, rows, images, greedy=side != "own")
        return {"boxes": [o.box_xyxy for o in found.outcomes], "looks": found.mean_steps}

    return run


def run(folder: Path, model: str, runs: int) -> list[dict[str, Any]]:
    planned = measure("data_set", ["plan"], folder, model, 1, warm=0)["plan"].answer
    found = measure("data_set", ["naive", "published", "piza", "own"], folder, model, 1, warm=0)
    ours, own = found["piza"], found["own"]
    targets = [r.box_xyxy for r in read_rows(material.data_set(folder / "material")[0])]
    boxes = {"naive": found["naive"].answer}
    boxes |= {name: found[name].answer["boxes"] for name in ("piza", "own")}
    right = {
        name: accuracy([float(iou_xyxy(b, t)) for b, t in zip(answers, targets)], 0.5)
        for name, answers in {"without short cuts": planned, **boxes}.items()
    }
    looks = (ours.answer["looks"], own.answer["looks"])
    title = "a data set: 200 rows on 60 pictures of 2048x1152"
    done = row(
        "c",
        title,
        found["naive"],
        ours,
        agreement(ours.answer["boxes"], planned),
        own=own,
        published=found["published"],
        looks=looks,
    )
    return [{**done, "acc50": right}]
