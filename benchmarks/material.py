"""What is measured with: synthetic streets and sentences, and the exported model, made once in a folder."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from piza.data import scenes

SEED = 7
SET_SEED = 31
SET_PICTURES, SET_ROWS = 60, 200
SENTENCES = 20
QUALITY = 92


def street(folder: Path, width: int, height: int) -> tuple[Path, list[str]]:
    """A JPEG of this size, and sentences about it, each of another thing as far as there are enough."""
    file, words = folder / f"street-{width}x{height}.jpg", folder / f"street-{width}x{height}.json"
    if not words.exists():
        folder.mkdir(parents=True, exist_ok=True)
        scene = scenes.render(SEED, (width, height), per_object=4)
        Image.fromarray(scene.image).save(file, quality=QUALITY)
        first: list[str] = []
        later: list[str] = []
        seen: set[int] = set()
        for row in scene.rows:
            (later if row.index in seen else first).append(row.ref)
            seen.add(row.index)
        words.write_text(json.dumps([*first, *later][:SENTENCES]))
    return file, json.loads(words.read_text())


def data_set(folder: Path) -> tuple[Path, Path]:
    """Rows in SOREC's format and the folder of their pictures."""
    room = folder / "set"
    if not (room / "rows.json").exists():
        scenes.write(room, count=SET_PICTURES, seed=SET_SEED, expressions_per_image=4)
        rows: list[dict[str, Any]] = json.loads((room / "rows.json").read_text())
        names = sorted({row["image"] for row in rows})
        order = sorted(rows, key=lambda row: row["id"])
        by_name = {name: [row for row in order if row["image"] == name] for name in names}
        # every picture keeps a row, then rows go until there are as many as wanted
        while sum(map(len, by_name.values())) > SET_ROWS:
            longest = max(reversed(names), key=lambda name: len(by_name[name]))
            by_name[longest].pop()
        (room / "rows.json").write_text(json.dumps([row for name in names for row in by_name[name]]))
    return room / "rows.json", room / "images"


def exported(folder: Path, model: str) -> Path:
    """The model as ONNX graphs."""
    room = folder / f"exported-{Path(model).name}"
    if not room.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "piza", "export", model, "--out", str(room)], check=True)
    return room
