"""`piza locate`: sentences about one image or several."""

import argparse
import json
from pathlib import Path
from typing import Any

from piza.cli.common import (
    add_model_options,
    add_search_options,
    describe,
    load_model,
    note,
    search_options,
)
from piza.errors import InputError
from piza.visualize.text import one_line

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".jp2", ".j2k")
)


def add_locate(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser(
        "locate",
        help="find what a sentence describes in an image",
        usage="piza locate IMAGE [IMAGE ...] SENTENCE [SENTENCE ...] [options]",
        description="Find what each sentence describes in each image. Arguments that are files, or are named like "
        "images, are images; they come before the sentences.",
    )
    parser.add_argument("image", metavar="IMAGE", help="an image file; one or more")
    parser.add_argument("rest", metavar="SENTENCE", nargs="+", help="what to find, in words; one or more")
    parser.add_argument("--json", action="store_true", help="print JSON; for several answers, a list")
    parser.add_argument(
        "--out", metavar="DRAWING", help="draw the search (.png, .jpg, .webp; numbered for several answers)"
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
    """The images and the sentences of a command, images first.

    The first argument is an image. So is each further one before the first sentence that exists as a file or folder or
    ends like the name of an image file, whether or not it exists: a misspelled name is reported, not searched for.

    Raises InputError when there is no sentence, and for a sentence that is empty, no text, or a file or folder.
    """
    count = 1
    while count < len(arguments) and (_exists(arguments[count]) or _is_image_name(arguments[count])):
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


def _is_image_name(text: str) -> bool:
    return Path(text).suffix.lower() in IMAGE_SUFFIXES


def _locate(options: argparse.Namespace) -> None:
    images, sentences = split_arguments([options.image, *options.rest])
    drawings = _drawing_paths(options.out, len(images) * len(sentences))
    if drawings:
        from piza.visualize.draw import check_drawing_path

        for path in drawings:
            check_drawing_path(path)
    from piza.image import decode_image

    for image in images:  # all are refused, if need be, before a model is loaded
        decoded = decode_image(image)
    model = _load(options)
    answers: list[dict[str, Any]] = []
    texts: list[str] = []
    for image in images:
        if len(images) > 1:  # one at a time in memory
            decoded = decode_image(image)
        for result in model.locate(decoded, sentences, **search_options(options)):
            if drawings:
                result.save_drawing(drawings[len(answers)])
            answers.append({"image": image, **result.to_dict()})
            heading = f"{one_line(image)}\n" if len(images) > 1 else ""
            texts.append(f"{heading}{describe(result)}")
    if options.json:
        print(json.dumps(answers[0] if len(answers) == 1 else answers, indent=2))
    else:
        print("\n\n".join(texts))
    for path in drawings:
        note(f"drew {path}")


def _load(options: argparse.Namespace) -> Any:
    if options.grounder is None:
        return load_model(options)
    if options.runtime not in (None, "torch"):
        raise InputError("a --grounder is another model, which --runtime does not run; give one of them")
    from piza.grounders.base import load_grounder

    return load_grounder(options.grounder, options.device)


def _drawing_paths(out: str | None, count: int) -> list[Path]:
    """One path an answer: `out` itself, or for several out-1.png, out-2.png, ..."""
    if out is None:
        return []
    path = Path(out)
    if count == 1:
        return [path]
    if not path.name:
        raise InputError(f"cannot draw to {out!r}: expected a file name")
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]
