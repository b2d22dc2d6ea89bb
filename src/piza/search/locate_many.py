"""The same sentences about many images, one image after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from piza.errors import InputError
from piza.image import DecodedImage, ImageArray, ImageReference, ImageSource, decode_image
from piza.result import Result
from piza.search.predictor import check_flags, check_sentences
from piza.sources.images import NamedImage, Source, find_images
from piza.sources.video import FrameTime


class Locator(Protocol):
    """What can be asked: anything that answers like `piza.search.predictor.locate`."""

    def locate(self, image: ImageSource, expression: Any, **search: Any) -> Any:
        """A list of results, one a sentence of `expression`; `search` are the keywords of `piza.locate`."""
        ...


@dataclass(eq=False)
class ImageResults:
    """The answers about one image.

    name: the image, as `piza.sources.images.find_images` names it.
    results: one a sentence, in order; empty where the image could not be read or asked about.
    error: why there are no results, in one sentence; None where all is well.
    inside: the name inside of the folder or the list that was given, for files about this image; empty for the last part
        of `name`.
    frame: where in its film the image is; None for a photo.
    """

    name: str
    results: list[Result] = field(default_factory=list)
    error: str | None = None
    inside: str = ""
    frame: FrameTime | None = None


def locate_many(
    model: Locator,
    source: Source,
    sentences: str | Sequence[str],
    *,
    on_error: Literal["record", "raise"] = "record",
    recursive: bool = False,
    every: int = 1,
    **options: Any,
) -> Iterator[ImageResults]:
    """Finds what each sentence describes in each image; one image is in memory at a time.

    All sentences about an image are asked together, so that they share its first look.

    Args:
        model: a loaded model, or a `GrounderSearch`.
        source: the images, see `piza.sources.images.find_images`.
        sentences: one or more; the same about every image.
        on_error: what happens when an image cannot be read: "record" yields an `ImageResults` with the error and goes on,
            "raise" raises it.
        recursive: take the images in folders of a folder, too.
        every: of a film, take each so-many-th frame, from the first one on.
        options: keywords of `model.locate`.

    Returns:
        An iterator; an image is read when its results are taken. Results of a file can be drawn for as long as the file
            exists, those of an address or of pixels until the next image is taken (or, with `keep_image`, always).

    Raises:
        InputError: at once for a wrong `on_error` or `every`, or no sentence; when the first image is taken, for a source without
            images, and for sentences or options that cannot be used, which would fail for every image.
    """
    if on_error not in ("record", "raise"):
        raise InputError(f"on_error: expected 'record' or 'raise', got {on_error!r}")
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise InputError(f"every: expected a number of frames of at least 1, got {every!r}")
    check_flags(recursive=recursive)
    if not callable(getattr(model, "locate", None)):
        raise InputError(f"expected a model that locates, got {type(model).__name__} {model!r:.60}")
    asked = check_sentences(sentences)
    if not asked:
        raise InputError("expected one sentence or more, got none")
    images = find_images(source, recursive=recursive, every=every)
    return _locate_each(model, images, asked, on_error == "record", options)


def _locate_each(
    model: Locator, images: Iterator[NamedImage], sentences: list[str], record: bool, options: dict[str, Any]
) -> Iterator[ImageResults]:
    answered = False
    for image in images:
        decoded: ImageArray | DecodedImage
        try:
            decoded = decode_image(image.read())
        except InputError as error:
            if not record:
                raise
            yield ImageResults(image.name, error=str(error), inside=image.inside, frame=image.frame)
            continue
        try:
            results = model.locate(decoded, sentences, **options)
        except InputError as error:
            if not (
                record and answered
            ):  # before any answer it is about the sentences or options, not this image
                raise
            yield ImageResults(image.name, error=str(error), inside=image.inside, frame=image.frame)
            continue
        answered = True
        if isinstance(image.source, (str, Path)) and not options.get("keep_image"):
            for result in results:  # a result outlives the pixels, and its file can be read again
                result.source = ImageReference(image.source)
        yield ImageResults(image.name, results, inside=image.inside, frame=image.frame)
        del decoded, image  # before the next one is read
