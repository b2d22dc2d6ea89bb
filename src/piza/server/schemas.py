"""What the HTTP interface takes and answers: pydantic models, from which /openapi.json is made as well.

A form's values are texts, those of JSON have types; both are read by the same models.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from piza.errors import InputError

MAX_SENTENCES = 100  # about one image
MAX_BATCH_IMAGES = 32
MAX_BATCH_SENTENCES = 400  # of a batch, over all images
MAX_CHARACTERS = 1000  # of a sentence
MAX_LOOKS = 100

OPTIONS = ("budget", "accept_threshold", "max_looks", "greedy", "min_score", "whole_frame")
"""The options of a search, as `piza.locate` has them."""

Model = TypeVar("Model", bound=BaseModel)

_NUMBERS = {
    "budget": f"a whole number from 1 to {MAX_LOOKS}",
    "max_looks": f"a whole number from 1 to {MAX_LOOKS}",
    "accept_threshold": "a number from 0 to 1",
    "min_score": "a number from 0 to 1",
}


def split_sentences(given: Any) -> list[str]:
    """Sentences from a text or a list of texts: a text that is a JSON list, or has several lines, is several.

    White space is normalized. Raises ValueError for anything else, an empty sentence, one of over `MAX_CHARACTERS` or
    with control characters, and a text that begins like JSON and is not a JSON list of texts.
    """
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError("`sentences`: expected a sentence or a list of sentences")
    if len(texts) > MAX_BATCH_SENTENCES:
        raise ValueError(f"`sentences`: expected at most {MAX_SENTENCES} sentences, got {len(texts)}")
    sentences = [sentence for text in texts for sentence in _split(text)]
    if not sentences:
        raise ValueError("the sentence is empty; say in words what to find")
    return sentences


# A list of texts, or an object; "[EXIT] sign on the left" is a sentence.
_LIKE_JSON = re.compile(r'\s*(\[\s*(["\[{\]]|$)|\[.*\]\s*$|\{)', re.DOTALL)


def _split(text: str) -> list[str]:
    if len(text) > MAX_SENTENCES * (MAX_CHARACTERS + 1):
        raise ValueError(f"a sentence is too long: expected at most {MAX_CHARACTERS} characters")
    if _LIKE_JSON.match(text):
        return _json_sentences(text)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("the sentence is empty; say in words what to find")
    return [_sentence(line) for line in lines]


def _json_sentences(text: str) -> list[str]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("`sentences`: a value that begins like JSON has to be a JSON list of sentences")
    return [_sentence(value) for value in values]


def _sentence(text: str) -> str:
    sentence = " ".join(text.split())
    if not sentence:
        raise ValueError("the sentence is empty; say in words what to find")
    if len(sentence) > MAX_CHARACTERS:
        raise ValueError(
            f"a sentence is too long: expected at most {MAX_CHARACTERS} characters, got {len(sentence)}"
        )
    if any(ord(character) < 32 or 0xD800 <= ord(character) <= 0xDFFF for character in sentence):
        raise ValueError("a sentence has control characters or is not valid Unicode text")
    return sentence


def _few(sentences: list[str]) -> list[str]:
    if len(sentences) > MAX_SENTENCES:
        raise ValueError(f"`sentences`: expected at most {MAX_SENTENCES} sentences, got {len(sentences)}")
    return sentences


def _absent_if_empty(value: Any) -> Any:
    """A field of a form that was left empty was not given."""
    return None if isinstance(value, str) and not value.strip() else value


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, str) and len(value) > 40):
        raise ValueError("expected a number")
    return _absent_if_empty(value)


Sentences = Annotated[
    list[str],
    BeforeValidator(split_sentences, json_schema_input_type=list[str] | str),
    AfterValidator(_few),
    Field(description=f"What to find, in words: one sentence or a list, at most {MAX_SENTENCES}."),
]
CountSchema = Annotated[int, Field(ge=1, le=MAX_LOOKS)]
ProbabilitySchema = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int | None, BeforeValidator(_no_bool, json_schema_input_type=CountSchema | None)]
Probability = Annotated[
    float | None, BeforeValidator(_no_bool, json_schema_input_type=ProbabilitySchema | None)
]
Flag = Annotated[bool | None, BeforeValidator(_absent_if_empty, json_schema_input_type=bool | None)]


class SearchOptions(BaseModel):
    """How to search; what is left out is the model's own choice. The same options as in Python and on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str | None = Field(None, description="One of the models on offer; the first one by default.")
    budget: Count = Field(None, ge=1, le=MAX_LOOKS, description="Looks a sentence at most.")
    accept_threshold: Probability = Field(
        None, ge=0, le=1, description="An answer of this probability ends the search."
    )
    max_looks: Count = Field(None, ge=1, le=MAX_LOOKS, description="The longest path to an answer, in looks.")
    greedy: Flag = Field(None, description="Follow the best window only, as published.")
    min_score: Probability = Field(
        None, ge=0, le=1, description="A result with a lower score is not `found`."
    )
    whole_frame: Flag = Field(None, description="Answer from one look at the whole image.")

    def chosen(self) -> dict[str, Any]:
        """The options that were given, as keywords of `model.locate`."""
        return {name: value for name in OPTIONS if (value := getattr(self, name)) is not None}


class Questions(SearchOptions):
    """Sentences, and how to search for them: what the page asks of an image that is stored."""

    sentences: Sentences


class LocateRequest(Questions):
    """Sentences about one image."""

    image: str = Field(
        description="The bytes of an image file in base64, with or without a `data:` prefix.",
        json_schema_extra={"format": "byte"},
    )


class BatchItem(BaseModel):
    """One image of a batch, and the sentences about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field(
        description="The bytes of an image file in base64.", json_schema_extra={"format": "byte"}
    )
    sentences: Sentences
    name: str | None = Field(None, max_length=200, description="Given back with the answer, without folders.")


class BatchRequest(SearchOptions):
    """Several images, each with its own sentences."""

    items: list[BatchItem] = Field(min_length=1, max_length=MAX_BATCH_IMAGES)


class FormItem(BaseModel):
    """An entry of the form field `items`: which of the uploaded images, from 0, and the sentences about it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    image: int = Field(ge=0, lt=MAX_BATCH_IMAGES)
    sentences: Sentences


class ErrorAnswer(BaseModel):
    """What every refusal looks like."""

    error: str = Field(description="One sentence that says what was given and what is expected.")


class StepAnswer(BaseModel):
    """One look. Boxes are x1, y1, x2, y2 in pixels of the frame."""

    model_config = ConfigDict(extra="allow")

    window_xyxy: list[float]
    input_size: list[int]
    progress: float
    stop: float
    candidates_xyxy: list[list[float]]
    candidate_scores: list[float]


class ResultAnswer(BaseModel):
    """The answer to one sentence, as `Result.to_dict` gives it. Boxes are x1, y1, x2, y2 in pixels of the frame."""

    model_config = ConfigDict(extra="allow")

    expression: str
    box_xyxy: list[float]
    score: float
    found: bool
    frame_size: list[int]
    stopped: str
    milliseconds: float
    rejected: list[dict[str, Any]]
    detours: list[list[float]]
    path: list[StepAnswer]


class BatchAnswer(BaseModel):
    """One image of a batch: its results, or why there are none."""

    image: int = Field(description="Which image of the request, from 0.")
    name: str | None
    results: list[ResultAnswer] | None = Field(None, description="A result a sentence, in their order.")
    error: str | None = Field(None, description="Set where this image could not be searched.")


class BatchAnswers(BaseModel):
    """The answers of a batch, in the order of its items."""

    answers: list[BatchAnswer]


class Health(BaseModel):
    """How busy the server is."""

    status: Literal["ok"]
    version: str
    models: list[str]
    searching: bool
    waiting: int
    queue_size: int


@dataclass(frozen=True)
class Upload:
    """An image file as it came, and what the client calls it; the name is never used as a path."""

    data: bytes
    name: str


def read(schema: type[Model], values: Mapping[str, Any]) -> Model:
    """A request of this schema. Raises InputError with one sentence about the first fault."""
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        faults = error.errors(include_url=False)
        unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"]
        raise InputError(_fault_sentence(schema, (unknown or faults)[0])) from None


def _fault_sentence(schema: type[BaseModel], fault: Any) -> str:
    place = [str(part)[:100] for part in fault["loc"]]
    name = place[-1] if place else ""
    if fault["type"] == "extra_forbidden":
        known = schema.model_fields if len(place) == 1 else BatchItem.model_fields
        return f"there is no field {name!r}; the fields are {', '.join(sorted(known))}"
    if fault["type"] == "missing":
        return f"`{'.'.join(place)}` is missing"
    if fault["type"] == "value_error" and name not in _NUMBERS:
        return str(fault["msg"]).removeprefix("Value error, ")
    if name in _NUMBERS:
        expected = _NUMBERS[name]
    elif name in ("greedy", "whole_frame"):
        expected = "true or false"
    elif name == "items":
        expected = f"a list of 1 to {MAX_BATCH_IMAGES} items"
    else:
        message = str(fault["msg"])
        expected = message.removeprefix("Input should be ")
    return f"`{'.'.join(place)}`: expected {expected}, got {_shown(fault['input'])}"


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'JSON object'}"
    try:
        text = repr(value)
    except ValueError:  # a number of more digits than Python writes
        return "a number of very many digits"
    return text if len(text) <= 100 else f"{text[:100]}..."
