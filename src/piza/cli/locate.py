"""`piza locate`: sentences about one image or many, or the frames of a film."""

import argparse
import itertools
import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piza.cli.common import (
    add_model_options,
    add_search_options,
    at_least,
    describe,
    load_model,
    note,
    search_options,
)
from piza.cli.progress import Progress
from piza.errors import InputError
from piza.files import check_not_read
from piza.sources.addresses import is_address
from piza.sources.images import LIST_SUFFIX, Found, NamedImage, NamedVideo, find_sources, is_image_name
from piza.sources.video import is_video_name
from piza.visualize.text import one_line

if TYPE_CHECKING:
    from piza.search.locate_many import ImageResults

MAX_NOTES = 10  # lines that name a drawing each


def add_locate(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser(
        "locate",
        help="find what a sentence describes in an image",
        usage="piza locate SOURCE [SOURCE ...] SENTENCE [SENTENCE ...] [options]",
        description="Find what each sentence describes in each image. A source is an image, a film, a folder, a quoted pattern "
        "('photos/*.jpg'), a text file with a name on each line, or an address (https://, s3://). Arguments that are "
        "files or folders, or are named like images or films, are sources; they come before the sentences.",
    )
    parser.add_argument("image", metavar="SOURCE", help="an image, or what stands for several; one or more")
    parser.add_argument("rest", metavar="SENTENCE", nargs="+", help="what to find, in words; one or more")
    parser.add_argument(
        "--recursive", action="store_true", help="take the images in folders of a folder, too"
    )
    parser.add_argument(
        "--every",
        metavar="N",
        type=at_least(1),
        help="of a film, take every N-th frame (default: 1, all of them)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON; for several answers, a list")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="draw the search (.png, .jpg, .webp; numbered for several answers); or write the answers instead of printing "
        "them (.jsonl, .csv, .parquet, .coco.json, .labelstudio.json, or a folder named yolo, drawings or crops)",
    )
    add_model_options(parser)
    parser.add_argument(
        "--grounder",
        metavar="NAME",
        help="instead of --model, without training: a zero-shot detector (folder or hub name), or chat:MODEL@URL with "
        "the key in PIZA_API_KEY",
    )
    add_search_options(parser)
    parser.set_defaults(run=_locate)


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The sources of images and the sentences of a command, sources first.

    The first argument is a source. So is each further one before the first sentence that exists as a file or folder, is an
    address, a pattern without blanks, or ends like the name of an image, a film or a list, whether or not it exists: a misspelled
    name is reported, not searched for.

    Raises InputError when there is no sentence, and for a sentence that is empty, no text, or a file or folder.
    """
    count = 1
    while count < len(arguments) and (_exists(arguments[count]) or _is_source_name(arguments[count])):
        count += 1
    images, sentences = arguments[:count], arguments[count:]
    if not sentences:
        raise InputError(f"expected a sentence after the images, but {images[-1]!r} is taken for an image")
    for sentence in sentences:
        if not sentence.strip():
            raise InputError("the sentence is empty; say in words what to find")
        try:
            sentence.encode()
        except UnicodeEncodeError:
            raise InputError("the sentence is not valid text in this terminal's encoding") from None
        if _exists(sentence):
            raise InputError(f"expected a sentence, but {sentence!r} is a file or folder; images come first")
    return images, sentences


def _exists(text: str) -> bool:
    try:
        return bool(text.strip()) and Path(text).exists()
    except (OSError, ValueError):  # too long for a file name, or with a zero byte
        return False


def _is_source_name(text: str) -> bool:
    return (
        is_image_name(text)
        or is_video_name(text)
        or is_address(text)
        or (not any(c.isspace() for c in text) and ("*" in text or text.lower().endswith(LIST_SUFFIX)))
    )


def _locate(options: argparse.Namespace) -> int:
    sources, sentences = split_arguments([options.image, *options.rest])
    images = list(find_sources(sources, recursive=options.recursive, strict=True))
    films = sum(isinstance(image, NamedVideo) for image in images)
    if options.every is not None and not films:
        raise InputError("--every is about the frames of films, and no film was given")
    every = options.every or 1
    read = [image.name for image in images] + sources
    writes, drawing = _check_out(
        options.out, [] if films else range(1, len(images) * len(sentences) + 1), read
    )
    one = len(images) == 1 and sources == [images[0].name]
    total = _count(images, every, strict=one)
    if one and isinstance(images[0], NamedImage):  # it is refused, if need be, before a model is loaded
        from piza.image import decode_image

        images = [NamedImage(images[0].name, decode_image(images[0].read()), images[0].inside)]
    one = one and not films
    model = _load(options)
    from piza.batch.sinks import Written, count, write
    from piza.search.locate_many import locate_many

    on_error: Any = "raise" if one else "record"
    results = locate_many(model, images, sentences, on_error=on_error, every=every, **search_options(options))
    printed = options.json or not writes
    if not one:
        results = _with_progress(results, total, printed)
    if drawing:
        results = _drawn(results, drawing)
    if printed and options.json:
        results = _printed_json(results, a_list=not one or len(sentences) > 1)
    elif printed:
        results = _printed(results, headings=not one)
    written = Written()
    if writes:
        written = write(results, options.out)
        note(f"wrote {options.out}: {written.answers} answers about {written.images} images")
    else:
        for _ in count(results, written):
            pass
    if drawing:
        _note_drawings(drawing, written.answers)
    if written.failed:
        note(
            f"{written.failed} of {written.images + written.failed} images failed, such as {written.failure}"
        )
    return 0 if written.images else 1


def _count(images: Sequence[Found], every: int, strict: bool) -> int | None:
    """How many images and frames there are about; None where a film does not say.

    Raises InputError (`strict`) for what is no film.
    """
    total = 0
    for image in images:
        count: int | None = 1
        if isinstance(image, NamedVideo):
            try:
                count = image.count(every)
            except InputError:
                if strict:
                    raise
        if count is None:
            return None
        total += count
    return total


def _check_out(
    out: str | None, numbers: Iterable[int], read: Sequence[str]
) -> tuple[bool, Callable[[int], Path] | None]:
    """Whether --out names answers to write; if not, where the drawing of an answer goes, by its number.

    numbers: of the answers that are sure to come; none where nobody knows, as about a film. read: names of the images and
    of the lists that name them. Raises InputError for what cannot be written, or would take the place of what is read.
    """
    if out is None:
        return False, None
    from piza.visualize.draw import FORMATS, check_drawing_path

    if Path(out).suffix.lower() not in FORMATS:
        from piza.batch.sinks import check_results_path

        check_results_path(out)
        check_not_read([out], read)
        return True, None
    known = list(numbers)

    def drawing(number: int) -> Path:
        """The file itself, or of several out-1.png, out-2.png, ..."""
        path = Path(out)
        return path if len(known) == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")

    for number in known or [1]:
        check_drawing_path(drawing(number))
    check_not_read(map(drawing, known or [1]), read)
    return False, drawing


def _with_progress(
    results: Iterable["ImageResults"], total: int | None, printed: bool
) -> Iterator["ImageResults"]:
    """The results; beside them on stderr a bar with pace and time left, or a line now and then.

    There is no bar where answers are printed on the same terminal, which show the progress themselves.
    """
    if printed and sys.stderr.isatty() and sys.stdout.isatty():
        yield from results
        return
    with Progress("image") as progress:
        progress.show(0, total)
        for done, found in enumerate(results, start=1):
            yield found
            progress.show(done, total)


def _drawn(results: Iterable["ImageResults"], drawing: Callable[[int], Path]) -> Iterator["ImageResults"]:
    numbers = itertools.count(1)
    for found in results:
        for result in found.results:
            result.save_drawing(drawing(next(numbers)))
        yield found


def _printed(results: Iterable["ImageResults"], headings: bool) -> Iterator["ImageResults"]:
    between = ""
    for found in results:
        heading = f"{one_line(found.name)}\n" if headings else ""
        blocks = [describe(result) for result in found.results]
        if found.error is not None:
            blocks = [f"  error  {one_line(found.error)}"]
        for block in blocks:
            print(f"{between}{heading}{block}")
            between = "\n"
        yield found


def _printed_json(results: Iterable["ImageResults"], a_list: bool) -> Iterator["ImageResults"]:
    """Answers as they come in; a list is closed when all are there."""
    before = "[\n"
    for found in results:
        name: dict[str, Any] = {"image": found.name}
        if found.frame is not None:
            name |= {"frame": found.frame.number, "timecode": found.frame.timecode}
        answers = [{**name, **result.to_dict()} for result in found.results]
        if found.error is not None:
            answers = [{**name, "error": found.error}]
        for answer in answers:
            text = json.dumps(answer, indent=2)
            print(f"{before}{textwrap.indent(text, '  ')}" if a_list else text, end="" if a_list else "\n")
            before = ",\n"
        yield found
    if a_list:
        print("\n]")


def _note_drawings(drawing: Callable[[int], Path], count: int) -> None:
    if count > MAX_NOTES:
        note(f"drew {drawing(1)} to {drawing(count)}, {count} in all")
        return
    for number in range(1, count + 1):
        note(f"drew {drawing(number)}")


def _load(options: argparse.Namespace) -> Any:
    if options.grounder is None:
        return load_model(options)
    if options.runtime not in (None, "torch"):
        raise InputError("a --grounder is another model, which --runtime does not run; give one of them")
    from piza.grounders.base import load_grounder

    return load_grounder(options.grounder, options.device)
