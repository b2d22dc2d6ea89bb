"""A split as a folder that Hugging Face's `datasets` loads: a Parquet file a part, and the card."""

from pathlib import Path

from piza.data.parquet import write_hf
from piza.data.sizes import Sizes
from piza.dataset.card import About, write_card
from piza.dataset.split import Split
from piza.errors import InputError
from piza.files import atomic_write


def write_folder(
    split: Split, folder: str | Path, sizes: Sizes, about: About, images_dir: str | Path | None = None
) -> Path:
    """Write FOLDER/README.md and FOLDER/data/PART-*.parquet; parts without rows have no file.

    sizes: of the photos, for the card. images_dir: embed the photos, so that the folder needs no other files. All parts have
    the same columns, as `datasets` expects.

    Raises InputError without pyarrow, for a folder with files of other parts, and where it cannot be written to.
    """
    folder = Path(folder)
    parts = {name: rows for name, rows in split.parts.items() if rows}
    written = [path.name for path in (folder / "data").glob("*.parquet")]
    others = [name for name in written if name.partition("-")[0] not in parts]
    if others:
        raise InputError(
            f"{str(folder)!r} holds {others[0]!r}, which is no part of this split; give a new folder"
        )
    everything = [row for rows in parts.values() for row in rows]
    for name, rows in parts.items():
        write_hf(rows, folder, name, images_dir, like=everything)
    configs = {name: f"data/{name}-*.parquet" for name in parts}
    with atomic_write(folder / "README.md") as temporary:
        temporary.write_text(write_card(split, sizes, about, configs), encoding="utf-8")
    return folder
