"""Case b: twenty sentences about one picture of 5 megapixels, from file to boxes."""

from pathlib import Path
from typing import Any

import material
from one_sentence import compare, prepared
from parts import MicroBatches

SIZE = (2560, 1920)


def prepare(side: str, folder: Path, model: str, parts: MicroBatches) -> Any:
    file, sentences = material.street(folder / "material", *SIZE)
    return prepared(side, file, sentences, folder / "plan-many.json", folder / "material", model, parts)


def run(folder: Path, model: str, runs: int) -> list[dict[str, Any]]:
    title = "20 sentences on one 2560x1920 JPEG"
    return compare("many_sentences", "b", title, "", folder, model, max(1, runs // 2), {})
