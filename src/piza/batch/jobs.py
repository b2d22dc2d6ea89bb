"""What the workers of a batch do: open an image, and ask a model its sentences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from piza.batch.manifest import ImageTask
from piza.batch.sinks import to_record, to_records
from piza.batch.storage import FolderLost, open_folder
from piza.errors import InputError
from piza.hub import find_model, hash_files
from piza.image import decode_image
from piza.loading import load_model
from piza.search.locate_many import ImageResults, Locator

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class ModelSource:
    """How a worker gets its model, and what tells it from others.

    load: importable by the workers, without arguments. name, device: as given. digest: of the model's files; None where these
    are not known.
    """

    load: Callable[[], Locator]
    name: str
    device: str = "cpu"
    digest: str | None = None

    def start(self) -> Locator:
        """Load the model. Raises InputError where its files are no longer those of the digest: answers would be of two models."""
        model = self.load()
        if self.digest is not None and hash_files(find_model(self.name)) != self.digest:
            raise InputError(
                f"the model {self.name!r} has other files here than where this run began; give the same to go on, or another --out"
            )
        return model


def model_source(
    model: "str | Path | ModelSource | Callable[[], Locator]", device: object = "cpu"
) -> ModelSource:
    """The source of a model that is given by its name or by a function that loads it. Raises InputError for an unknown name."""
    if isinstance(model, ModelSource):
        return model
    if callable(model):
        return ModelSource(model, f"{model.__module__}.{getattr(model, '__qualname__', model)}", str(device))
    digest = hash_files(find_model(model))
    return ModelSource(partial(load_model, model, str(device)), str(model), str(device), digest)


@dataclass(frozen=True)
class LocateJob:
    """Asks the sentences of an `ImageTask`; answers with one record a row (`piza.batch.sinks.to_record`, with row and id).

    images: the folder of the images, a path or an address. search: keywords of `piza.locate`.
    """

    model: ModelSource
    images: str
    search: dict[str, Any] = field(default_factory=dict)

    def start(self) -> Callable[[ImageTask], Records]:
        """See `Job`."""
        folder, model = open_folder(self.images), self.model.start()

        def answer(task: ImageTask) -> Records:
            try:
                image = decode_image(folder.image(task.image))
            except FolderLost:
                raise
            except InputError as error:
                folder.check()  # a disk may go away while a file is read
                return failed_records(task, str(error))
            found = _ask(model, image, task.sentences, self.search)
            return [
                {"row": row, "id": identity, **record, "image": task.image, "sentence": sentence}
                for row, identity, sentence, record in zip(
                    task.rows, task.ids, task.sentences, found, strict=True
                )
            ]

        return answer


def failed_records(task: ImageTask, error: str) -> Records:
    """The records of an image that could not be read or asked about: all of them hold the error."""
    (empty,) = to_records(ImageResults(task.image, error=error))
    return [
        {"row": row, "id": identity, **empty, "sentence": sentence}
        for row, identity, sentence in zip(task.rows, task.ids, task.sentences, strict=True)
    ]


def _ask(model: Locator, image: Any, sentences: Sequence[str], search: dict[str, Any]) -> Records:
    """One record a sentence. All are asked together; where that is refused, each by itself, to find which one it is."""
    try:
        return [to_record("", result) for result in model.locate(image, list(sentences), **search)]
    except InputError as error:
        if len(sentences) == 1:
            return to_records(ImageResults("", error=str(error)))
    return [record for sentence in sentences for record in _ask(model, image, [sentence], search)]
