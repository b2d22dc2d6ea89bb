"""What a vision-language model is asked about a proposal, and the sentences in what it answers.

A prompt is a text file with $category, $attributes and $count in it; two are in the package, "sorec" and "short".
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from piza.data.labels.base import bounded_text
from piza.dataset.records import Proposal
from piza.errors import InputError
from piza.grounders.json_values import json_values
from piza.image import ImageArray
from piza.visualize.draw import draw_box, surroundings_xyxy

PROMPTS = Path(__file__).parent / "prompts"
NAMES = ("category", "attributes", "count")  # what a prompt may name
PROMPT_BYTES = 100_000
FRAME_PANEL = (1024, 1024)  # pixels that the whole photo is fitted into
CLOSE_PANEL = (512, 512)
SURROUNDINGS = 6.0  # the enlarged part is so many times the longer side of the box
SMALLEST_MARK = 24
QUALITY = 88  # of the JPEGs that are sent
PICTURES = 1
"""Version of how pictures are made; answers about other ones are answers to other questions."""

MAX_SENTENCE = 600  # characters
MAX_ANSWER = 50_000  # characters of an answer in which sentences are looked for
REMINDER = 'Answer with JSON only, with nothing before or after it: {"sentences": ["...", "..."]}'


@dataclass(frozen=True)
class Prompt:
    """A prompt's name, for the records, and its text."""

    name: str
    text: str


def read_prompt(name: str | Path) -> Prompt:
    """A prompt of the package by its name, or a file. Raises InputError where it cannot be read or names what is not known."""
    path = PROMPTS / f"{name}.txt" if str(name) in prompts() else Path(name)
    if not path.is_file():
        raise InputError(
            f"there is no prompt {str(name)!r}; give {', '.join(map(repr, prompts()))} or a text file"
        )
    text = bounded_text(path, "the text of a prompt", PROMPT_BYTES).strip()
    if not text:
        raise InputError(f"the prompt {str(path)!r} is empty")
    _fill(text, dict.fromkeys(NAMES, ""), str(path))
    return Prompt(path.name, text)


def prompts() -> list[str]:
    """Names of the prompts in the package."""
    return sorted(path.stem for path in PROMPTS.glob("*.txt"))


def fill(prompt: Prompt, proposal: Proposal, count: int) -> str:
    """The prompt about a proposal, of which `count` sentences are wanted."""
    words = ", ".join(word.partition("=")[2].replace("_", " ") for word in proposal.attributes)
    values = {
        "category": proposal.category or "unknown",
        "attributes": f"Its words for it: {words}." if words else "",
        "count": str(count),
    }
    return _fill(prompt.text, values, prompt.name)


def _fill(text: str, values: dict[str, str], where: str) -> str:
    try:
        return Template(text).substitute(values)
    except KeyError as error:
        raise InputError(
            f"the prompt {where!r} names ${error.args[0]}; known are ${', $'.join(NAMES)}"
        ) from None
    except ValueError:
        raise InputError(
            f"the prompt {where!r} holds a $ that begins no name; write $$ for the sign"
        ) from None


def pictures(image: ImageArray, proposal: Proposal) -> tuple[bytes, bytes]:
    """The whole photo with the box marked, and its surroundings enlarged, as JPEG files."""
    height, width = image.shape[:2]
    box = proposal.box_xyxy
    frame = draw_box(image, box, (0, 0, width, height), FRAME_PANEL, SMALLEST_MARK, line=3)
    window = surroundings_xyxy(box, (width, height), SURROUNDINGS)
    return _jpeg(frame), _jpeg(draw_box(image, box, window, CLOSE_PANEL, line=3))


def messages(text: str, images: tuple[bytes, ...]) -> list[dict[str, Any]]:
    """A question in OpenAI's chat format."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for image in images:
        uri = "data:image/jpeg;base64," + base64.b64encode(image).decode()
        parts.append({"type": "image_url", "image_url": {"url": uri}})
    return [{"role": "user", "content": parts}]


def sentences_in(answer: str) -> list[str] | None:
    """The sentences that an answer holds in JSON, each once and with a final dot; None where there is no such JSON.

    Read are {"sentences": [...]}, also inside other objects, and a bare list of texts; in code fences or between words. What
    stands in <think></think> does not count, nor does what is too long to be a sentence.
    """
    answer = answer.rpartition("</think>")[2][-MAX_ANSWER:]
    for _, value in json_values(answer):
        found = _texts(value)
        if found is not None:
            cleaned = (_sentence(text) for text in found)
            return list(dict.fromkeys(text for text in cleaned if text))
    return None


def _texts(value: Any) -> list[str] | None:
    if isinstance(value, dict):
        if "sentences" in value:
            inner = value["sentences"]
            return _texts([inner] if isinstance(inner, str) else inner)
        return next((found for inner in value.values() if (found := _texts(inner)) is not None), None)
    if not isinstance(value, list):
        return None
    named = [item.get("sentence", item.get("text")) if isinstance(item, dict) else item for item in value]
    texts = [item for item in named if isinstance(item, str)]
    return texts if len(texts) == len(named) else None


def _sentence(text: str) -> str:
    """On one line, with a final dot; "" for what is no sentence."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not any(c.isalpha() for c in text) or len(text) > MAX_SENTENCE:
        return ""
    return text if text.endswith((".", '."')) else f"{text.rstrip('!?;,')}."


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY, subsampling=0)  # else thin colored lines turn gray
    return out.getvalue()
