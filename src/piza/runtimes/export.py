"""Writing a model as ONNX graphs, which `piza.runtimes.exported` searches with. Needs torch, onnx and onnxruntime.

The graphs are traced, with widths, heights and numbers of tokens left open, and then compared with the model at other
sizes than the traced one: an export that does not give the model's answers is not written.
"""

import copy
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from piza.errors import InputError, reason
from piza.files import atomic_write
from piza.model import grounder
from piza.model.grounder import ImageFeatures, TextFeatures
from piza.model.matcher import log_odds
from piza.model.piza import Piza
from piza.runtimes.exported import (
    FORMAT,
    GRAPHS,
    LISTING,
    NOTE,
    Exported,
    block_masks,
    level_names,
    load_exported,
)
from piza.search.zoom_path import input_size

OPSET = 17
MARKS = [101, 102, 1012, 1029]  # [CLS] [SEP] . ? end a block in the library
# Width and height; the first one is traced. In cells of 32 pixels its sides are prime, so that a Swin pads every stage
# that it ever pads: the trace then holds for sizes at which it does not. All have cells for the 900 queries of the base models.
PROBES = ((608, 416), (448, 640), (128, 384), (224, 224))
SENTENCES = ("the red car on the left of the round sign", "sign", "a man, and a dog that is left of him")
SAME_BOX, SAME_LOGIT = 1e-4, 1e-2  # of the window, of a logit: far below what moves an answer
SHARE = 0.9  # of the boxes of a look; cells that score alike may change places, and with them their queries


class _Open(TorchFunctionMode):
    """Written so that a trace leaves the sizes open, and with operators that ONNX has."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.linspace:  # always in steps of 1 here
            start, _, steps = args
            return torch.arange(steps, **kwargs) + start
        if func is torch.as_tensor and isinstance(args[0], list):  # the sizes of the levels
            return torch.stack([torch.stack([torch.as_tensor(side) for side in row]) for row in args[0]])
        if func is torch.special.logit:
            clamped = args[0].clamp(kwargs["eps"], 1 - kwargs["eps"])
            return torch.log(clamped / (1 - clamped))
        return func(*args, **kwargs)


class _Text(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        self.backbone = model.detector.model.text_backbone
        self.project = model.detector.model.text_projection

    def forward(self, input_ids: Tensor, self_mask: Tensor, position_ids: Tensor) -> Tensor:
        encoded = self.backbone(
            input_ids, self_mask[:, None], torch.zeros_like(input_ids), position_ids, return_dict=True
        )
        return self.project(encoded.last_hidden_state)


class _Picture(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        self.detector = model.detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        with _Open():
            features = grounder.encode_image(self.detector, pixels)
            cells = [height * width for height, width in features.shapes]
            return tuple(
                level.unflatten(1, shape)
                for maps in (features.features, features.positions)
                for level, shape in zip(maps.split(cells, 1), features.shapes, strict=True)
            )


class _Ground(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        self.model = model
        self.mean = model.config.pooling == "mean"

    def forward(
        self,
        text: Tensor,
        self_mask: Tensor,
        position_ids: Tensor,
        words: Tensor,
        progress: Tensor,
        *maps: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """words: the pooling, or the mask of words where a box's score is its best token's."""
        levels = len(maps) // 2
        features, positions = (
            torch.cat([level.flatten(1, 2) for level in half], 1) for half in (maps[:levels], maps[levels:])
        )
        everywhere = torch.ones_like(features[..., 0], dtype=torch.bool)
        tokens = torch.ones_like(text[..., 0], dtype=torch.bool)
        picture = ImageFeatures(
            features,
            positions,
            everywhere,
            torch.ones(1, levels, 2),
            [(level.shape[1], level.shape[2]) for level in maps[:levels]],
        )
        prompt = TextFeatures(text, tokens, self_mask, position_ids, tokens if self.mean else words)
        with _Open():
            look = self.model.ground(prompt, words, picture, progress)
        return look.logits[-1], look.boxes[-1]


class _Find(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        assert model.proposals is not None
        self.proposals = model.proposals

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        with _Open():
            found = self.proposals(pixels)
        return found.features, found.boxes[-1]


class _Read(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        assert model.matcher is not None
        self.matcher = model.matcher

    def forward(self, input_ids: Tensor, features: Tensor, boxes: Tensor, aspect: Tensor) -> Tensor:
        """aspect: (), height over width of the window."""
        ids = input_ids[None]
        answers, _ = self.matcher.read(ids, torch.ones_like(ids, dtype=torch.bool), features, boxes, aspect)
        return log_odds(answers[-1, 0])


class _OpenLayer(nn.Module):
    """The history's transformer layer, written out: torch's own attention keeps the sizes that it was traced with."""

    def __init__(self, layer: nn.TransformerEncoderLayer):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, src_key_padding_mask: Tensor) -> Tensor:
        layer, attention = self.layer, self.layer.self_attn
        width = attention.head_dim
        query, key, value = (
            part.unflatten(-1, (attention.num_heads, width)).transpose(1, 2)
            for part in F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1)
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(width)
        scores = scores.masked_fill(src_key_padding_mask[:, None, None], -torch.inf)
        x = layer.norm1(x + attention.out_proj((scores.softmax(-1) @ value).transpose(1, 2).flatten(2)))
        return layer.norm2(x + layer.linear2(layer.linear1(x).relu()))


class _History(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        self.history = copy.deepcopy(model.history)
        self.history.layer = _OpenLayer(self.history.layer)  # type: ignore[assignment]

    def forward(self, boxes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        found = self.history(boxes, mask)
        return found.progress, found.stop


def export_model(model: Piza, folder: str | Path, int8: bool = False) -> None:
    """Writes an export into a new or empty folder; of a model on the CPU, which is not changed.

    int8: weights of matrix products as whole numbers of eight bits (`piza.runtimes.int8`); its answers are not
    compared with the model's, as they differ; measure them on rows. Raises InputError for a folder that holds something
    or cannot be written, for packages that are missing, and for a model whose graphs do not give its answers.
    """
    folder = Path(folder)
    check_folder(folder)
    _check_packages()
    with TemporaryDirectory(prefix="piza-export-") as room:
        work = Path(room)
        try:
            _write_graphs(model, work)
        except RuntimeError as error:  # those of the exporter are such
            raise InputError(f"this model cannot be written as ONNX: {reason(error)}") from None
        _write_notes(model, work)
        _compare(model, work)
        if int8:
            from piza.runtimes.int8 import to_int8

            for name in GRAPHS[:3] + (LISTING if model.config.num_proposals else ()):
                to_int8(work / f"{name}.onnx")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {str(folder)!r}: {error.strerror}") from None
        files = sorted(
            work.iterdir(), key=lambda file: file.name == NOTE
        )  # the note last: without it, no export
        for file in files:
            with atomic_write(folder / file.name) as part:
                part.write_bytes(file.read_bytes())


def check_folder(folder: Path) -> None:
    """Raises InputError unless it is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"cannot write to {str(folder)!r}: a new or empty folder is wanted")


def _check_packages() -> None:
    for package in ("onnx", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            raise InputError(
                f"an export needs the package {package}: install it with pip install 'piza[onnx]'"
            ) from None


def _write_graphs(model: Piza, folder: Path) -> None:
    levels = level_names(model.detector.config.num_feature_levels)
    open_level = {name: {1: f"rows_{name[-1]}", 2: f"columns_{name[-1]}"} for name in levels}
    ids, _, pooling = model.prompter([[SENTENCES[0]]])
    see, places = (torch.from_numpy(array)[None] for array in block_masks(ids[0].numpy(), _marks(model)))
    pixels = model.pixels([_noise(PROBES[0])])
    text, picture = _Text(model), _Picture(model)
    with _tracing():
        features, maps = text(ids, see, places), picture(pixels)
        mean = model.config.pooling == "mean"
        words = pooling if mean else torch.ones_like(ids, dtype=torch.bool)
        tokens = {1: "tokens"}
        pairs = {1: "tokens", 2: "tokens"}
        _write(
            text,
            (ids, see, places),
            folder / "text.onnx",
            ["input_ids", "self_mask", "position_ids"],
            ["text"],
            {"input_ids": tokens, "self_mask": pairs, "position_ids": tokens, "text": tokens},
        )
        _write(
            picture,
            (pixels,),
            folder / "image.onnx",
            ["pixels"],
            levels,
            {"pixels": {2: "height", 3: "width"}, **open_level},
        )
        words_name = "pooling" if mean else "word_mask"
        _write(
            _Ground(model),
            (features, see, places, words, torch.tensor([0.5]), *maps),
            folder / "ground.onnx",
            ["text", "self_mask", "position_ids", words_name, "progress", *levels],
            ["logits", "boxes"],
            {"text": tokens, "self_mask": pairs, "position_ids": tokens, words_name: tokens, **open_level},
        )
        if model.config.num_proposals:
            found, read = _Find(model), _Read(model)
            features, boxes = found(pixels)
            words, _, _ = model.plain_prompter([[SENTENCES[0]]])
            _write(
                found, (pixels,), folder / "proposals.onnx", ["pixels"], ["features", "boxes"],
                {"pixels": {2: "height", 3: "width"}},
            )  # fmt: skip
            _write(
                read, (words, features, boxes, torch.tensor(0.7)), folder / "matcher.onnx",
                ["input_ids", "features", "boxes", "aspect"], ["logits"], {"input_ids": tokens},
            )  # fmt: skip
        boxes = torch.tensor([[[0.0, 0.0, 640.0, 480.0], [100.0, 100.0, 200.0, 200.0]]] * 2)
        _write(
            _History(model),
            (boxes, torch.tensor([[True, False], [True, True]])),
            folder / "history.onnx",
            ["boxes", "mask"],
            ["progress", "stop"],
            {
                "boxes": {0: "histories", 1: "length"},
                "mask": {0: "histories", 1: "length"},
                "progress": {0: "histories"},
                "stop": {0: "histories"},
            },
        )


def _write(
    module: nn.Module,
    given: tuple[Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    open_sizes: dict[str, dict[int, str]],
) -> None:
    # The older exporter: the newer one takes minutes to reason about sizes that are open.
    torch.onnx.export(
        module.eval(),
        given,
        str(path),
        input_names=inputs,
        output_names=outputs,
        dynamic_axes=open_sizes,
        opset_version=OPSET,
        dynamo=False,
    )


@contextmanager
def _tracing() -> Iterator[None]:
    """Without gradients, and without the tracer's warnings of sizes that it believes to be fixed."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def _write_notes(model: Piza, folder: Path) -> None:
    detector = model.detector
    note = {
        "format": FORMAT,
        "max_tokens": detector.config.max_text_len,
        "prefix": list(model.prompter.prefix),
        "vocabulary": detector.model.text_backbone.config.vocab_size,
        "special_tokens": _marks(model).tolist(),
        "levels": detector.config.num_feature_levels,
    }
    (folder / NOTE).write_text(json.dumps(note, indent=2) + "\n")
    (folder / "piza.json").write_text(json.dumps(asdict(model.config), indent=2) + "\n")
    with TemporaryDirectory(dir=folder) as room:
        model.tokenizer.save_pretrained(room)
        file = Path(room) / "tokenizer.json"
        if not file.is_file():
            raise InputError("the tokenizer of this model has no tokenizer.json, which an export needs")
        file.replace(folder / "tokenizer.json")


def _compare(model: Piza, folder: Path) -> None:
    """Raises InputError unless the graphs give the model's answers, at sizes that were not traced."""
    exported = load_exported(folder, "onnx")
    _compare_histories(model, exported)
    sizes = sorted({*PROBES, *_own_sizes(model)})
    looks = [_later_look] * len(sizes) + ([_first_look] * len(sizes) if model.config.num_proposals else [])
    for number, (look, size) in enumerate(zip(looks, sizes * 2, strict=False)):
        window, sentence = _noise(size), SENTENCES[number % len(SENTENCES)]
        progress = [0.5 * (number % 3)]
        with torch.no_grad():
            want = look(model, window, sentence, progress)
        try:
            got = look(exported, window, sentence, progress)
            boxes = np.abs(got.boxes[0, 0] - want.boxes[-1, 0].numpy()).max(-1) < SAME_BOX
            logits = got.logits[0, 0].max(-1) - want.logits[-1, 0].max(-1)[0].numpy()
            same = float((boxes & (np.abs(logits) < SAME_LOGIT)).mean()) >= SHARE
        except Exception:  # the engine's own kinds, for sizes that do not fit each other
            same = False
        if not same:
            kind = model.detector.config.backbone_config.model_type
            raise InputError(
                f"the graphs of this model do not give its answers at {size[0]} x {size[1]} pixels, so it was not "
                f"exported; backbones that are known to work are convolutional ones and Swin, and this is a {kind!r}"
            )


def _later_look(model: Any, window: np.ndarray, sentence: str, progress: list[float]) -> Any:
    text, pooling = model.encode_prompts([[sentence]])
    return model.ground(text, pooling, model.encode_images([window]), progress)


def _first_look(model: Any, window: np.ndarray, sentence: str, progress: list[float]) -> Any:
    return model.match([sentence], model.encode_frame(window))


def _compare_histories(model: Piza, exported: Exported) -> None:
    frame = [0.0, 0.0, 800.0, 600.0]
    inner = [[300.0, 200.0, 150.0, 150.0], [350.0, 250.0, 20.0, 30.0], [355.0, 255.0, 4.0, 4.0]]
    histories = [np.array([frame, *inner[:length]]) for length in (0, 1, 2, 3)]
    got, want = exported.history.read(histories, None), model.history.read(histories, None)
    if any(np.abs(a - b.numpy()).max() > 1e-3 for a, b in zip(got, want, strict=True)):
        raise InputError(
            "the graph of this model's box history does not give its answers; it was not exported"
        )


def _own_sizes(model: Piza) -> list[tuple[int, int]]:
    """The inputs that the model will be asked about: frames of usual shapes, a square window."""
    pixels = model.config.first_pixels, model.config.later_pixels
    frame = np.array([0.0, 0.0, 1600.0, 1200.0])
    return [input_size(frame, True, *pixels), input_size(frame[[0, 1, 3, 3]], False, *pixels)]


def _marks(model: Piza) -> np.ndarray:
    marks: Sequence[int] = getattr(model.detector.model, "special_tokens", torch.tensor(MARKS)).tolist()
    return np.array(marks)


def _noise(size: tuple[int, int]) -> np.ndarray:
    """A picture of (width, height) with edges in it: colored blocks and noise, the same every time."""
    rng = np.random.default_rng(0)
    width, height = size
    blocks = rng.integers(0, 200, (height // 32 + 1, width // 32 + 1, 3))
    blocks = blocks.repeat(32, 0).repeat(32, 1)[:height, :width]
    return (blocks + rng.integers(0, 56, (height, width, 3))).astype(np.uint8)
