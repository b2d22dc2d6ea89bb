"""The names of a proposal network's categories and attributes: objects.json in the model's folder.

The network's outputs are numbers in a fixed order; the file names them.
"""

from pathlib import Path

from piza.config import PizaConfig, read, settings, write
from piza.errors import InputError

OBJECT_WORDS_FILE = "objects.json"


@settings()
class ObjectWords:
    """categories: of the cells, "car"; attributes: of the listed objects, "color=red". In the order of the outputs."""

    categories: tuple[str, ...]
    attributes: tuple[str, ...]


def write_object_words(folder: str | Path, words: ObjectWords) -> None:
    """Write FOLDER/objects.json."""
    write(words, Path(folder) / OBJECT_WORDS_FILE)


def read_object_words(folder: str | Path, config: PizaConfig) -> ObjectWords | None:
    """The names of a model's outputs; None for a model that has no such file.

    Raises InputError where it cannot be read, or names another number of outputs than the model has.
    """
    path = Path(folder) / OBJECT_WORDS_FILE
    if not path.is_file():
        return None
    words = read(ObjectWords, path)
    for name, count in (("categories", config.num_categories), ("attributes", config.num_attributes)):
        if len(getattr(words, name)) != count:
            raise InputError(
                f"{path}: {name}: expected {count} words, as the model has outputs, got {len(getattr(words, name))}"
            )
    return words
