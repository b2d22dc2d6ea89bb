"""Every setting of a model, a search and a training, as values: checked when made, read from and written to JSON here.

No torch is imported. All classes are strict pydantic dataclasses: "3" is no number, unknown fields are refused and numbers
have ranges, wherever the values come from. Settings are never changed on a model: `dataclasses.replace` makes others.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

import pydantic.dataclasses
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from piza.errors import MAX_COUNT, MAX_SECONDS, MAX_WORKERS, InputError
from piza.files import atomic_write, parse_json

Settings = TypeVar("Settings")
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
Channel = Annotated[float, Field(ge=0, le=255)]
Deviation = Annotated[float, Field(gt=0, le=255)]
LogOdds = Annotated[float, Field(ge=-1e6, le=1e6)]  # or what they are multiplied by
MAX_INTEGER = 2**63  # larger ones, which JSON and Python have, cannot be calculated with
MAX_BYTES = 10_000_000  # of a settings file; a real one has some thousand


@dataclass_transform(field_specifiers=(Field, field))
def settings(*, frozen: bool = True) -> Callable[[type[Settings]], type[Settings]]:
    """Makes a class a strict pydantic dataclass that raises InputError, in one sentence, for what it refuses."""

    def decorate(cls: type[Settings]) -> type[Settings]:
        made: Any = pydantic.dataclasses.dataclass(cls, frozen=frozen, config=STRICT)
        init = made.__init__

        @functools.wraps(init)
        def checked(self: Any, *values: Any, **named: Any) -> None:
            for name, value in named.items():
                if isinstance(value, int) and abs(value) >= MAX_INTEGER:
                    raise InputError(f"{name}: expected a whole number of at most 64 bits")
            try:
                init(self, *values, **named)
            except ValidationError as error:
                raise InputError(_sentence(error)) from None

        made.__init__ = checked
        decorated: type[Settings] = made
        return decorated

    return decorate


@settings()
class PathConfig:
    """The shape of a zoom path. Sides are lengths in frame pixels; the side of a box is the square root of its area."""

    # Side of the last window over the side of the target (published examples: 7 to 13).
    last_zoom: float = Field(default=8.0, gt=1, le=1e6)
    first_zoom: float = Field(
        default=2.0, ge=1, le=1e6
    )  # the first window is at least this much smaller than the frame
    max_zoom: float = Field(default=20.0, gt=1, le=1e6)  # a larger jump gets another window in between
    min_side: float = Field(
        default=64.0, gt=0, le=1e6
    )  # no window is smaller, so the last look has context and pixels
    margin: float = Field(
        default=1.0, gt=0, le=1e6
    )  # at inference a predicted window is enlarged by this factor
    # What a look before the last answers with: the next "window", as published, or the "object" itself, around which the
    # next window is then laid by the rule above. The same words are learned faster with objects for answers.
    answers: Literal["window", "object"] = "window"


@settings()
class Evidence:
    """What a score is worth: log-odds of a look's score, weighted and summed along the path.

    Fitted by `piza.evaluation.calibration`.
    """

    first: LogOdds = 1.0  # weight of the first look's log-odds
    later: LogOdds = 1.0  # weight of every later look's
    bias: LogOdds = 0.0  # added at every later look
    none: LogOdds = 0.0  # evidence that no hypothesis is right

    def of(self, log_odds: Sequence[float]) -> float:
        """The evidence of a path whose looks had these log-odds, the first look's first."""
        return self.first * log_odds[0] + sum(self.later * value + self.bias for value in log_odds[1:])


@settings()
class LastLookEvidence(Evidence):
    """A path is worth its last look's log-odds alone; `first`, `later` and `bias` are not used.

    For grounders that were not trained to zoom: they see best from close by, and what a look from afar scored says nothing
    more once it was looked at.
    """

    def of(self, log_odds: Sequence[float]) -> float:
        """The last look's log-odds."""
        return log_odds[-1]


@settings()
class SearchConfig:
    """The limits of a search, and what the scores of its looks are worth."""

    budget: int = Field(default=5, ge=1, le=MAX_COUNT)  # looks at most, the first ones included
    accept_threshold: float = Field(default=1.0, ge=0, le=1)  # an answer of this probability ends the search
    top_k: int = Field(
        default=10, ge=1, le=MAX_COUNT
    )  # boxes of one look that are followed; 1 is the published greedy search
    max_looks: int = Field(
        default=5, ge=1, le=MAX_COUNT
    )  # the longest path from the frame to an answer, in looks
    windows_per_batch: int = Field(
        default=1, ge=1, le=MAX_COUNT
    )  # windows of one sentence looked at together
    num_first_windows: Literal[1, 2, 4] = 1  # first looks: the whole frame, its halves or its quarters
    min_score: float = Field(default=0.0, ge=0, le=1)  # an answer below it counts as not found
    # A later look only refines the box that led to it: its answer overlaps that box by at least this IoU and scores at least
    # `refine_score`; otherwise the box stays. 0, as published: it may answer with any box. For models whose first look is
    # surer of which object is meant than their later looks are.
    same_object_iou: float = Field(default=0.0, ge=0, le=1)
    refine_score: float = Field(default=0.0, ge=0, le=1)
    evidence: Evidence = Evidence()


@settings()
class ZoomPolicy:
    """Where an untrained grounder looks next after a box, and how large an image it is given. Nothing here is tuned."""

    context: float = Field(
        default=8.0, gt=0, le=1e6
    )  # side of the window after a box over the side of the box
    min_side: float = Field(default=64.0, gt=0, le=1e6)  # no such window is smaller, in frame pixels
    quarters: bool = True  # whether the quarters of a window are looked at, too
    overlap: float = Field(default=0.2, ge=0, lt=0.9)  # of two neighboring quarters, as a share of their side
    min_quarter: float = Field(default=256.0, gt=0, le=1e6)  # no quarter has a smaller side, in frame pixels
    prior: float = Field(default=0.1, ge=0, le=1)  # score of a quarter that was not looked at yet
    max_pixels: int = Field(
        default=1024 * 1024, ge=1
    )  # a window is given to the grounder with at most this area
    min_pixels: int = Field(default=448 * 448, ge=1)  # and a small one is enlarged to this

    def __post_init__(self) -> None:
        if self.max_pixels < self.min_pixels:
            raise InputError(
                f"max_pixels should be at least min_pixels, {self.min_pixels}, got {self.max_pixels}"
            )


@settings(frozen=False)
class PizaConfig:
    """All of a model that is not in the grounder's own config. Lengths are pixels of the model's input.

    A model's folder holds every field (`read_whole`), and every option of its method: a new one is to be written into the
    embedded models as well.
    """

    method: str = "full"  # a key of piza.methods.METHODS
    method_options: dict[str, Any] = field(default_factory=dict)
    path: PathConfig = field(default_factory=PathConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    # Square roots of the area that a frame, and every later window, is resized to.
    first_pixels: int = Field(default=480, ge=32, le=4096)
    later_pixels: int = Field(default=224, ge=32, le=4096)
    token_pooling: Literal["mean", "max"] = "mean"  # over a sentence's tokens; "max" as GroundingDINO does
    local_maxima: bool = (
        False  # whether only local maxima of the cells' scores become queries; False as published
    )
    relations: bool = False  # whether queries know where they lie to one another; False as published
    # With relations: so many of the queries lie on whatever looks like an object; 0 as published.
    object_queries: int = Field(default=0, ge=0)
    # The first look lists so many objects before it hears a sentence, and matches sentences against the list; 0 as
    # published.
    num_proposals: int = Field(default=0, ge=0)
    num_attributes: int = Field(
        default=0, ge=0
    )  # words for what an object looks like, where objects are listed
    # What the list is read off: a copy of the grounder's backbone, or NanoDet's, whose cells tell num_categories apart.
    proposal_backbone: Literal["resnet", "nanodet"] = "resnet"
    num_categories: int = Field(default=0, ge=0)
    zoom_scale: float = Field(
        default=100.0, gt=0, le=1e6
    )  # of the progress before its sinusoid; 1 as published
    stop_at: float = Field(
        default=0.95, gt=0, le=1e6
    )  # the search stops at this probability of "stop"; above 1 never
    progress_step: float | None = Field(
        default=0.05, gt=0, le=1e6
    )  # progress is rounded to multiples of this
    image_mean: tuple[Channel, Channel, Channel] = (123.675, 116.28, 103.53)  # RGB, of 255
    image_std: tuple[Deviation, Deviation, Deviation] = (58.395, 57.12, 57.375)


@settings()
class TrainConfig:
    """The settings of `piza train`. What is published is the default, as far as it is known."""

    rows: str  # a file in SOREC's format
    images: str  # the folder of its images
    base: str  # "mini", a model folder or a hub name
    out: str  # the folder of the result, and in it `training/`
    # How the boxes of the rows are written; None: xywh, checked for looking like another format.
    box_format: Literal["xywh", "xyxy", "cxcywh"] | None = None
    normalized: bool = False  # boxes are fractions of the image instead of pixels
    missing: Literal["error", "skip"] = "error"  # rows whose image cannot be opened

    method: str = "adapter_plus"  # a key of piza.methods.METHODS
    options: dict[str, Any] = field(default_factory=dict)  # of the method, such as {"rank": 8}
    plain: bool = False  # not told how far the search is: answers from one look at the whole frame
    answers: Literal["window", "object"] | None = None  # of looks before the last; None: the base's
    token_pooling: Literal["mean", "max"] | None = None  # over a sentence's tokens; None: the base's
    merge: bool = False  # fold plain LoRA into the weights in the end: a model instead of an adapter
    history_steps: int = Field(
        default=3000, ge=1, le=MAX_COUNT
    )  # of the box-history encoder, where the base has none

    epochs: float = Field(default=5.0, gt=0, le=1e6)  # one: every row is used once in a frame
    steps: int | None = Field(default=None, ge=1, le=MAX_COUNT)  # instead of epochs
    lr: float = Field(default=2e-4, gt=0, le=10)
    backbone_lr: float = Field(default=0.1, ge=0, le=1e3)  # the image backbone's rate, as a share of lr
    # "step": a tenth of lr after three fifths of the steps, as published; "cosine": down to a fiftieth.
    schedule: Literal["step", "cosine"] = "step"
    warmup: int = Field(default=60, ge=0, le=MAX_COUNT)  # steps of a rising rate, at most a tenth of all
    weight_decay: float = Field(default=1e-4, ge=0, le=10)  # of matrices
    max_grad_norm: float = Field(default=0.1, gt=0, le=1e6)  # gradients are clipped to it
    optimizer: Literal["adamw", "muon"] = "adamw"  # muon: for the matrices of linear layers
    # Of the running average of the weights, which is what is saved; 0: the last weights.
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    # bf16: matrix products in bfloat16; None: what accelerate's launcher says, otherwise fp32.
    precision: Literal["fp32", "bf16"] | None = None
    seed: int = Field(default=0, ge=0)

    batch: int = Field(default=4, ge=1, le=MAX_COUNT)  # windows a step, in each process
    micro_batch: int | None = Field(
        default=None, ge=1, le=MAX_COUNT
    )  # of these together in the model; None: all of one size
    crops_per_image: int = Field(
        default=4, ge=1, le=MAX_COUNT
    )  # windows of each opened image; plain methods: the frame alone
    sentences_per_image: int = Field(default=4, ge=1, le=MAX_COUNT)  # rows of each opened image, at most
    # Square roots of the area that a frame, and every later window, is resized to; None: the base's.
    first_pixels: int | None = Field(default=None, ge=32, le=4096)
    later_pixels: int | None = Field(default=None, ge=32, le=4096)
    min_scale: float = Field(default=0.6, gt=0, le=1)  # inputs shrink by a random factor between this and 1
    augment: bool = False  # vary brightness, colors and noise of windows; not published

    validate: str | None = None  # rows to evaluate on now and then
    validate_images: str | None = None  # the folder of their images; None: `images`
    validate_limit: int | None = Field(default=None, ge=1, le=MAX_COUNT)  # the first rows only
    validate_every: int | None = Field(
        default=None, ge=1, le=MAX_COUNT
    )  # steps between validations; None: an epoch

    device: str = "auto"  # a graphics card if there is one; or "cpu", "cuda", "cuda:1", "mps"
    workers: int = Field(
        default=2, ge=1, le=MAX_WORKERS
    )  # processes that open images and cut windows, for each training process
    tracker: Literal["none", "tensorboard", "trackio", "wandb", "mlflow"] = "none"
    save_every: float = Field(default=300.0, ge=0, le=MAX_SECONDS)  # seconds between checkpoints
    log_every: int = Field(default=20, ge=1, le=MAX_COUNT)  # steps between lines of the log


# Settings of a training that may differ when it goes on: where things are and how it is watched, not what is computed.
FREE_TO_CHANGE = frozenset({
    "rows", "images", "out", "merge", "validate", "validate_images", "validate_limit", "validate_every", "device", "workers",
    "tracker", "save_every", "log_every",
})  # fmt: skip


def check(cls: type[Settings], values: Mapping[str, Any], source: str = "") -> Settings:
    """Settings made of Python values.

    Raises InputError in one sentence that names `source` (where the values come from) and the field.
    """
    try:
        for name in values.keys() - {one.name for one in fields(cls)}:  # type: ignore[arg-type]
            raise InputError(f"{name}: there is no such setting")  # "self" would be taken for the object
        return cls(**values)
    except InputError as error:
        raise InputError(f"{source}: {error}" if source else str(error)) from None


def override(config: Settings, **values: Any) -> Settings:
    """A copy of some settings with those of `values` that are not None. Raises InputError, naming the field."""
    given = {name: value for name, value in values.items() if value is not None}
    return replace(config, **given)  # type: ignore[type-var]


def read(cls: type[Settings], path: str | Path) -> Settings:
    """Settings from a JSON file.

    Raises InputError in one sentence that names the file and the field: for a file that cannot be read or is no JSON, an
    unknown field, a value of another type or out of range.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: expected a settings file of at most {MAX_BYTES // 10**6} MB")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        parse_json(content, str(path))
    except InputError:
        raise
    except (ValueError, RecursionError):  # which `from_json` says
        pass
    return from_json(cls, content, str(path))


def read_whole(cls: type[Settings], path: str | Path) -> Settings:
    """Settings from a JSON file that holds every field, as `write` leaves it.

    Of a model, a default in the place of what was lost would be other settings, and other answers. Raises InputError as `read`
    does, and for a missing field.
    """
    config = read(cls, path)
    require_whole(config, json.loads(Path(path).read_bytes()), f"{path}: ")
    return config


def require_whole(config: Any, values: Mapping[str, Any], name: str) -> None:
    """Raises InputError for a field of settings, or of settings in them, that `values`, of which they were made, do not hold.

    `name`: what the sentence says in front of the field's name.
    """
    for one in fields(config):
        inner = getattr(config, one.name)
        if one.name not in values:
            raise InputError(f"{name}{one.name}: the field is missing")
        if is_dataclass(inner):
            require_whole(inner, values[one.name], f"{name}{one.name}.")


def from_json(cls: type[Settings], text: str | bytes, source: str) -> Settings:
    """Settings from JSON. Raises InputError in one sentence that names `source` and the field."""
    _check_integers(text, source)
    try:
        config: Settings = _adapter(cls).validate_json(text)  # type: ignore[arg-type]
        return config
    except ValidationError as error:
        raise InputError(_sentence(error, source)) from None


def to_dict(config: Any) -> dict[str, Any]:
    """Settings as plain values, by field."""
    return asdict(config)


def write(config: Any, path: str | Path) -> None:
    """Writes settings as JSON, whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(to_dict(config), indent=2) + "\n", encoding="utf-8")


def _check_integers(text: str | bytes, source: str) -> None:
    """Raises InputError for whole numbers in JSON from `MAX_INTEGER` on."""
    long = re.search(r"\d{19}", text) if isinstance(text, str) else re.search(rb"\d{19}", text)
    if long is None:
        return

    def whole(digits: str) -> int:
        if len(digits) > 20 or abs(int(digits)) >= MAX_INTEGER:
            raise InputError(f"{source}: expected whole numbers of at most 64 bits, got {digits[:24]}...")
        return 0

    with suppress(
        RecursionError, json.JSONDecodeError, UnicodeDecodeError
    ):  # which is said with the other faults
        json.loads(text, parse_int=whole)


@functools.cache
def _adapter(cls: type) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _sentence(error: ValidationError, source: str = "") -> str:
    """The first of the faults that pydantic found, as one sentence."""
    fault = error.errors(include_url=False)[0]
    field_name = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if message.startswith("Input should be"):
        wanted = message.removeprefix("Input should be ")
        wanted = f"a number {wanted}" if wanted.startswith(("greater", "less")) else wanted
        message = f"expected {wanted}, got {fault['input']!r:.60}"
    elif fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        message = "there is no such setting"
    return ": ".join(part for part in (source, field_name, message[:1].lower() + message[1:]) if part)
