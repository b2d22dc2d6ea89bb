"""The names of a proposal network's categories and attributes: objects.json in the model's folder.

The network's outputs are numbers in a fixed order; the file names them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piza.config import PizaConfig, read, settings, write
from piza.errors import InputError
from piza.model.region_encoder import STATE

OBJECT_WORDS_FILE = "objects.json"


@settings()
class ObjectWords:
    """categories: of the cells, "car"; attributes: of the listed objects, "color=red". In the order of the outputs.

    whole: tells by what an object looks like (`CellProposals.regions`) whether it is one whole thing, neither a part of one nor
    nothing: STATE weights of a logistic regression and its constant; none where that is not known. `recipes/fit_whole.py` fits them.
    """

    categories: tuple[str, ...]
    attributes: tuple[str, ...]
    whole: tuple[float, ...] = ()

    def whole_chances(self, regions: NDArray[Any]) -> NDArray[np.float64] | None:
        """The probability of each object that it is one whole thing, (k,), of regions (k, STATE); None where it is not known."""
        if not self.whole:
            return None
        logits = regions.astype(np.float64) @ np.array(self.whole[:-1]) + self.whole[-1]
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -50, 50))))


def write_object_words(folder: str | Path, words: ObjectWords) -> None:
    """Write FOLDER/objects.json."""
    write(words, Path(folder) / OBJECT_WORDS_FILE)


def read_object_words(folder: str | Path, config: PizaConfig) -> ObjectWords | None:
    """The names of a model's outputs; None for a model that has no such file.

    Raises InputError where it cannot be read, or is of another number of outputs than the model has.
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
    if len(words.whole) not in (0, STATE + 1):
        raise InputError(f"{path}: whole: expected {STATE + 1} numbers or none, got {len(words.whole)}")
    return words
