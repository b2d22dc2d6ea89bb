"""Model folders: reading and writing them, with everything checked that comes from outside.

A model folder holds `piza.json` (PizaConfig), `config.json` (the detector's, as transformers writes it), `model.safetensors`
(all weights), the tokenizer's files and `SHA256SUMS`, by which a damaged or exchanged file is known. A folder that transformers wrote for a GroundingDINO, without `piza.json`, is read as
well. Adapter folders are in adapter_io.py, the choice between the two in load.py.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoTokenizer

from piza import config as settings
from piza.config import PizaConfig, SearchConfig
from piza.devices import lacks_memory
from piza.errors import InputError, reason
from piza.files import parse_json, replaced_files
from piza.hub import CHECKSUMS, MODEL_WEIGHTS, check_checksums, check_kind, check_unchanged, write_checksums
from piza.methods import METHODS
from piza.model.families import family_named
from piza.model.known_words import WORDS_FILE, read_known_words, write_known_words
from piza.model.object_words import OBJECT_WORDS_FILE, read_object_words, write_object_words
from piza.model.piza import Piza
from piza.model.plain import read_detector
from piza.model.text import DOT

WEIGHTS, DETECTOR_CONFIG, PIZA_CONFIG = MODEL_WEIGHTS, "config.json", "piza.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
OPTIONAL_FILES = (*TOKENIZER_FILES, "vocab.txt", WORDS_FILE, OBJECT_WORDS_FILE)

# How the base models are used by their authors: one look, the shorter side about 800 pixels, a box's score its best token's.
PLAIN = PizaConfig(
    method="full",
    method_options={"condition": False},
    first_pixels=923,
    later_pixels=923,
    token_pooling="max",
    search=SearchConfig(budget=1, max_looks=1),
)

MAX_JSON_BYTES = 100_000_000  # a large tokenizer has some ten million
MAX_DEPTH = 20  # of what is nested in a config; real ones have five
# Settings through which a config could choose code to run, here or from the hub.
CODE_SETTINGS = ("auto_map", "quantization_config", "attn_implementation", "_attn_implementation")
# Settings of what the library's modules return, and the only values that ours are made for.
ANSWER_SHAPES = {"return_dict": True, "output_hidden_states": False, "output_attentions": False}
# Whole numbers in a config that are no size of a weight. All others are sizes or counts, and small ones.
NO_SIZES = ("token_id", "temperature", "image_size", "max_text_len", "chunk_size", "label")
EPSILON, LARGEST_EPSILON = "eps", 0.01  # added to variances
# Fields of a config of which the library's default, in the place of a lost one, would fit the weights and answer otherwise.
NEEDED = {
    "": (
        "activation_function", "decoder_attention_heads", "encoder_attention_heads", "layer_norm_eps", "max_text_len",
        "num_queries", "position_embedding_type", "positional_embedding_temperature",
    ),
    "text_config": ("hidden_act", "layer_norm_eps", "num_attention_heads"),
}  # fmt: skip


def save_folder(model: Piza, folder: str | Path, half: bool = False) -> None:
    """Writes a model folder; a whole model that is there is replaced, when all of the new one is written.

    half: store weights as float16; they are read back as float32. Raises InputError where it cannot be written, or where the
    folder holds an adapter or an export.
    """
    folder = Path(folder)
    check_kind(folder, WEIGHTS)
    seen: set[int] = set()
    weights = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in seen:  # heads shared between decoder layers are stored once
            continue
        seen.add(id(tensor))
        tensor = tensor.detach().cpu().contiguous()
        weights[name] = tensor.half() if half and tensor.is_floating_point() else tensor
    # SHA256SUMS first: a mixture of two saves, or what a killed one left, does not fit it.
    with replaced_files(folder, (CHECKSUMS, WEIGHTS, DETECTOR_CONFIG, PIZA_CONFIG, *OPTIONAL_FILES)) as made:
        save_file(weights, made / WEIGHTS, metadata={"format": "pt"})
        (made / DETECTOR_CONFIG).write_text(model.detector.config.to_json_string(), encoding="utf-8")
        settings.write(model.config, made / PIZA_CONFIG)
        model.tokenizer.save_pretrained(made)
        if model.prompter.known_words:
            write_known_words(made, model.prompter.known_words)
        if model.object_words is not None:
            write_object_words(made, model.object_words)
        write_checksums(made)


def load_folder(folder: str | Path, device: str = "cpu") -> Piza:
    """Reads a model folder: a piza model's, or a plain GroundingDINO's as transformers writes it.

    A plain one has not been taught to zoom: it answers from one look at the whole frame, as its authors use it. Raises
    InputError, naming file and field or weight, for a folder that holds no model, or a damaged one.
    """
    folder = Path(folder)
    sums = check_checksums(folder)
    missing = [name for name in (DETECTOR_CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} holds no model: it lacks {' and '.join(missing)}")
    plain = not (folder / PIZA_CONFIG).is_file()
    config = replace(PLAIN) if plain else read_config(folder / PIZA_CONFIG)
    weights = read_weights(folder / WEIGHTS)
    if plain and any(name.startswith("detector.") for name in weights):
        raise InputError(f"{folder} lacks {PIZA_CONFIG}, the settings of this model; copy the model again")
    check_sizes(config, weights, folder / PIZA_CONFIG)
    base = read_detector_config(folder, weights)
    if not plain:
        _check_needed(folder / DETECTOR_CONFIG)
    tokenizer = read_tokenizer(folder, base.text_config.vocab_size)
    with reading(folder / DETECTOR_CONFIG):
        if plain:
            detector = read_detector(folder)
        else:
            detector = AutoModelForZeroShotObjectDetection.from_config(
                base, trust_remote_code=False, dtype=torch.float32
            )
    with reading(folder / PIZA_CONFIG):
        model = Piza(detector, tokenizer, config)
    if not plain:
        load_weights(model, weights, str(folder / WEIGHTS))
    model.prompter.known_words = read_known_words(folder)
    model.object_words = read_object_words(folder, config)
    check_unchanged(folder, sums)
    return model.to(device).eval()


def read_config(path: Path) -> PizaConfig:
    """The PizaConfig of a model, with every field and every option of its method.

    Weights tell most options by their shapes, but not all: without LoRA's `alpha` the same ones would answer otherwise. Raises
    InputError, naming file and field, for one that is missing or cannot be.
    """
    config = settings.read_whole(PizaConfig, path)
    if config.method in METHODS:  # others are refused where the model is built
        options: Any = settings.check(
            METHODS[config.method].config, config.method_options, f"{path}: method_options"
        )
        settings.require_whole(options, config.method_options, f"{path}: method_options.")
    return config


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises InputError for one that cannot be read or holds NaN or infinity."""
    path = Path(path)
    with reading(path):
        weights: dict[str, Tensor] = load_file(path)
    if not weights:
        raise InputError(f"{path} holds no weights")
    check_finite(weights, str(path))
    return weights


def check_finite(weights: dict[str, Tensor], source: str) -> None:
    """Raises InputError, naming `source` and the tensor, for a NaN or an infinity."""
    for name, tensor in weights.items():
        # A sum is finite where all of it is, and is much cheaper; a huge one may overflow without any fault.
        if tensor.is_floating_point() and not tensor.sum(dtype=torch.float32).isfinite():
            if not tensor.isfinite().all():
                raise InputError(f"{source}: {name} holds a value that is not finite (NaN or infinity)")


def load_weights(module: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Copies weights into a module: every weight of it must be there, in its shape and kind of number, and no other.

    A tensor that stands in the module under several names is given under one of them or more. Raises InputError, naming
    `source` and the weight, and changes nothing, where they do not fit.
    """
    needed = module.state_dict(keep_vars=True)
    given = {id(needed[name]) for name in weights if name in needed}
    check_fit(weights, needed, {name for name, tensor in needed.items() if id(tensor) not in given}, source)
    copy_weights(weights, needed)


def check_fit(weights: dict[str, Tensor], needed: dict[str, Tensor], lacking: set[str], source: str) -> None:
    """Raises InputError, naming `source` and the first of the weights that are lacking, unknown or do not fit."""
    if lacking:
        raise InputError(f"{source} lacks the weight {min(lacking)} ({len(lacking)} in all)")
    unknown = weights.keys() - needed.keys()
    if unknown:
        raise InputError(
            f"{source} holds {min(unknown)}, for which the model has no place ({len(unknown)} in all)"
        )
    for name, tensor in weights.items():
        if tensor.shape != needed[name].shape:
            shapes = f"expected {tuple(needed[name].shape)}, got {tuple(tensor.shape)}"
            raise InputError(f"{source}: {name} has another shape than the model: {shapes}")
        if tensor.is_floating_point() != needed[name].is_floating_point() or tensor.is_complex():
            raise InputError(f"{source}: expected {name} as {needed[name].dtype}, got {tensor.dtype}")
        if tensor.dtype == torch.float64 and not tensor.to(needed[name].dtype).isfinite().all():
            raise InputError(f"{source}: {name} holds a value too large for {needed[name].dtype}")


@torch.no_grad()
def copy_weights(weights: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    """Copies weights into tensors of the same names, in place."""
    for name, tensor in weights.items():
        state[name].copy_(tensor)


def read_detector_config(folder: Path, weights: dict[str, Tensor]) -> Any:
    """The detector's config from a folder's config.json, as an object of transformers.

    Raises InputError, naming file and field, for one that is damaged, of another kind of model, or larger than the weights
    that stand beside it: building such a model could take all memory.
    """
    path = folder / DETECTOR_CONFIG
    values = read_json(path)
    model_type = values.get("model_type")
    family_named(model_type if isinstance(model_type, str) else repr(model_type), str(path))
    check_sizes(values, weights, path)
    with reading(path):
        base = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if not base.two_stage:
        raise InputError(f"{path}: two_stage: expected true, got false")
    return base


def _check_needed(path: Path) -> None:
    """Raises InputError where a config that we wrote has lost a field that only it knows."""
    values = read_json(path)
    for part, names in NEEDED.items():
        held = values.get(part) if part else values
        if not isinstance(held, dict):
            raise InputError(f"{path}: {part}: expected a JSON object")
        for name in names:
            if name not in held:
                raise InputError(f"{path}: {f'{part}.{name}'.lstrip('.')}: the field is missing")


def read_tokenizer(folder: Path, vocabulary: int) -> Any:
    """The tokenizer of a folder. vocabulary: how many words the model knows.

    Raises InputError for one that is damaged, or whose ids the model does not know.
    """
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            read_json(folder / name)
    source = next((folder / name for name in TOKENIZER_FILES if (folder / name).is_file()), folder)
    with reading(source):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        ids = tokenizer.get_vocab().values()
        largest = max(ids)
        dot = list(tokenizer(".", add_special_tokens=False)["input_ids"])
        tokenizer("\u2603")  # a word that no vocabulary has needs its unknown token
    if largest >= vocabulary:
        raise InputError(
            f"{source}: expected token ids below {vocabulary}, the model's vocabulary, got {largest}"
        )
    if largest >= len(set(ids)):
        raise InputError(
            f"{source}: model.vocab: expected a token for each id up to {largest}, got {len(set(ids))}"
        )
    if dot != [DOT]:
        raise InputError(f"{source}: expected a BERT tokenizer, whose '.' is token {DOT}, got {dot[:5]}")
    return tokenizer


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file from outside. Raises InputError for anything else, and for one that names code to run."""
    with reading(path):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path}: expected at most {MAX_JSON_BYTES // 10**6} MB of JSON")
        values = parse_json(path.read_bytes(), str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(values).__name__}")
    _refuse_settings(values, path)
    return values


def _refuse_settings(values: dict[str, Any], path: Path) -> None:
    for key, value in values.items():
        if key in CODE_SETTINGS and value is not None:
            raise InputError(f"{path}: {key}: a model that chooses code to run is not loaded")
        if key in ANSWER_SHAPES and value is not ANSWER_SHAPES[key]:
            raise InputError(f"{path}: {key}: expected {str(ANSWER_SHAPES[key]).lower()}")
        if isinstance(value, dict) and path.name == DETECTOR_CONFIG:
            _refuse_settings(value, path)


def check_sizes(values: Any, weights: dict[str, Tensor], path: Path) -> None:
    """Raises InputError for a whole number larger than any size of a weight beside it, a wrong probability, or deep nesting.

    values: the content of a config, or PizaConfig.
    """
    largest = max(len(weights), *(size for tensor in weights.values() for size in (*tensor.shape, 1)))
    if isinstance(values, PizaConfig):
        values = {
            "method_options": values.method_options,
            "num_attributes": values.num_attributes,
        }
    for name, value in _numbers(values, path):
        key = name.split(".")[-1]
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{path}: {name}: expected a finite number, got {value}")
        if "drop" in key:
            if not 0 <= value <= 1:
                raise InputError(f"{path}: {name}: expected a probability from 0 to 1, got {_shown(value)}")
        elif key.endswith(EPSILON) and not 0 < value <= LARGEST_EPSILON:
            raise InputError(
                f"{path}: {name}: expected above 0 and at most {LARGEST_EPSILON}, got {_shown(value)}"
            )
        elif key.endswith(("heads", "temperature")) and value <= 0:
            raise InputError(f"{path}: {name}: expected above 0, got {_shown(value)}")
        elif (
            isinstance(value, int)
            and value != -1
            and not key.endswith(NO_SIZES)
            and not 0 <= value <= largest
        ):
            raise InputError(
                f"{path}: {name}: expected at most {largest}, a size of the weights, got {_shown(value)}"
            )


def _shown(value: float) -> str:
    return f"{value:.5g}" if abs(value) < 10**18 else "a number of many digits"


def _numbers(value: Any, path: Path, name: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """All numbers in nested lists and objects, each with the names on the way to it."""
    if depth > MAX_DEPTH:
        raise InputError(f"{path}: {name[:60]}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("id2label", "label2id", "task_specific_params"):
                yield from _numbers(inner, path, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _numbers(inner, path, name, depth + 1)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns whatever is raised about a damaged file into an InputError that names it."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except InputError as error:
        if str(path.parent) in str(error):
            raise
        raise InputError(f"{path}: {error}") from None
    except BaseException as error:  # a panic of the tokenizers' Rust is no Exception
        if lacks_memory(error):  # the file is not to blame
            raise InputError(f"there is not enough memory for this ({reason(error)})") from None
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
