"""The graphs of a model, as torch modules that can be traced, and their tracing into ONNX files.

Widths, heights and numbers of tokens are left open; a batch is one window (histories: any number).
"""

import copy
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from piza.model import grounder
from piza.model.grounder import ImageFeatures, TextFeatures
from piza.model.matcher import log_odds_of_things
from piza.model.nanodet_proposals import NanoDetProposals
from piza.model.piza import Piza
from piza.model.region_encoder import RegionEncoder, moved
from piza.runtimes.exported import block_masks, level_names
from piza.search.region_crops import SIDE

OPSET = 17
# Width and height of the traced window. In cells of 32 pixels its sides are prime, so that a Swin pads every stage that it ever
# pads: the trace then holds for sizes at which it does not.
TRACED_SIZE = (608, 416)
TRACED_SENTENCE = "the red car on the left of the round sign"


class _OpenSizes(TorchFunctionMode):
    """Calls of torch replaced so that a trace leaves the sizes open, and uses operators that ONNX has."""

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


class _TextGraph(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        self.backbone = model.detector.model.text_backbone
        self.project = model.detector.model.text_projection

    def forward(self, input_ids: Tensor, self_mask: Tensor, position_ids: Tensor) -> Tensor:
        encoded = self.backbone(
            input_ids, self_mask[:, None], torch.zeros_like(input_ids), position_ids, return_dict=True
        )
        features: Tensor = self.project(encoded.last_hidden_state)
        return features


class _ImageGraph(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        self.detector = model.detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        with _OpenSizes():
            features = grounder.encode_image(self.detector, pixels)
            cells = [height * width for height, width in features.shapes]
            return tuple(
                level.unflatten(1, shape)
                for maps in (features.features, features.positions)
                for level, shape in zip(maps.split(cells, 1), features.shapes, strict=True)
            )


class _GroundGraph(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        self.model = model
        self.mean = model.config.token_pooling == "mean"

    def forward(
        self,
        text: Tensor,
        self_mask: Tensor,
        position_ids: Tensor,
        words: Tensor,
        progress: Tensor,
        *maps: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Logits and boxes of one look. words: the pooling, or the mask of words where a box's score is its best token's."""
        levels = len(maps) // 2
        features, positions = (
            torch.cat([level.flatten(1, 2) for level in half], 1) for half in (maps[:levels], maps[levels:])
        )
        everywhere = torch.ones_like(features[..., 0], dtype=torch.bool)
        tokens = torch.ones_like(text[..., 0], dtype=torch.bool)
        image = ImageFeatures(
            features,
            positions,
            everywhere,
            torch.ones(1, levels, 2),
            [(level.shape[1], level.shape[2]) for level in maps[:levels]],
        )
        prompt = TextFeatures(text, tokens, self_mask, position_ids, tokens if self.mean else words)
        with _OpenSizes():
            look = self.model.ground(prompt, words, image, progress)
        return look.logits[-1], look.boxes[-1]


class _ProposalsGraph(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        assert model.proposals is not None
        self.proposals = model.proposals

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        with _OpenSizes():
            proposals = self.proposals(pixels)
        return proposals.features, proposals.boxes[-1]


class _RegionsGraph(nn.Module):
    def __init__(self, encoder: RegionEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, crops: Tensor, sizes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        states, moves = self.encoder(crops, sizes)
        return states, moved(boxes, moves)


class _MatcherGraph(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        assert model.matcher is not None
        self.matcher = model.matcher

    def forward(self, input_ids: Tensor, features: Tensor, boxes: Tensor, aspect: Tensor) -> Tensor:
        """Log-odds (1, k) of each object. aspect: (), height over width of the window."""
        ids = input_ids[None]
        answers, _ = self.matcher.read(ids, torch.ones_like(ids, dtype=torch.bool), features, boxes, aspect)
        return log_odds_of_things(answers[-1, 0], boxes[0])


class _OpenTransformerLayer(nn.Module):
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
        output: Tensor = layer.norm2(x + layer.linear2(layer.linear1(x).relu()))
        return output


class _HistoryGraph(nn.Module):
    def __init__(self, model: Piza):
        super().__init__()
        self.history = copy.deepcopy(model.history)
        self.history.layer = _OpenTransformerLayer(self.history.layer)  # type: ignore[assignment]

    def forward(self, boxes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        output = self.history(boxes, mask)
        return output.progress, output.stop


def write_graphs(model: Piza, folder: Path) -> None:
    """Traces all graphs of a model, on the CPU, into a folder. Raises RuntimeError for what ONNX does not have."""
    with _tracing():
        _write_looks(model, folder)
        if model.config.num_proposals:
            _write_list(model, folder)
        _write_history(model, folder)


def _write_looks(model: Piza, folder: Path) -> None:
    """The graphs of text, image and ground."""
    levels = level_names(model.detector.config.num_feature_levels)
    open_level = {name: {1: f"rows_{name[-1]}", 2: f"columns_{name[-1]}"} for name in levels}
    tokens, pairs = {1: "tokens"}, {1: "tokens", 2: "tokens"}
    ids, _, pooling = model.prompter([[TRACED_SENTENCE]])
    self_mask, positions = (
        torch.from_numpy(a)[None] for a in block_masks(ids[0].numpy(), special_tokens(model))
    )
    pixels = model.pixels([noise(TRACED_SIZE)])
    text, image = _TextGraph(model), _ImageGraph(model)
    features, maps = text(ids, self_mask, positions), image(pixels)
    mean = model.config.token_pooling == "mean"
    words = pooling if mean else torch.ones_like(ids, dtype=torch.bool)
    words_name = "pooling" if mean else "word_mask"
    _write(
        text,
        (ids, self_mask, positions),
        folder / "text.onnx",
        ["input_ids", "self_mask", "position_ids"],
        ["text"],
        {"input_ids": tokens, "self_mask": pairs, "position_ids": tokens, "text": tokens},
    )
    _write(
        image,
        (pixels,),
        folder / "image.onnx",
        ["pixels"],
        levels,
        {"pixels": {2: "height", 3: "width"}, **open_level},
    )
    _write(
        _GroundGraph(model),
        (features, self_mask, positions, words, torch.tensor([0.5]), *maps),
        folder / "ground.onnx",
        ["text", "self_mask", "position_ids", words_name, "progress", *levels],
        ["logits", "boxes"],
        {"text": tokens, "self_mask": pairs, "position_ids": tokens, words_name: tokens, **open_level},
    )


def _write_list(model: Piza, folder: Path) -> None:
    """The graphs of proposals, regions and matcher."""
    pixels = model.pixels([noise(TRACED_SIZE)])
    proposals = _ProposalsGraph(model)
    features, boxes = proposals(pixels)
    ids, _, _ = model.plain_prompter([[TRACED_SENTENCE]])
    _write(
        proposals,
        (pixels,),
        folder / "proposals.onnx",
        ["pixels"],
        ["features", "boxes"],
        {"pixels": {2: "height", 3: "width"}},
    )
    if isinstance(model.proposals, NanoDetProposals) and model.proposals.regions is not None:
        crops = model.pixels([noise((SIDE, SIDE))] * 2)
        each = {0: "objects"}
        _write(
            _RegionsGraph(model.proposals.regions),
            (crops, torch.zeros(2, 2), torch.rand(2, 4)),
            folder / "regions.onnx",
            ["crops", "sizes", "boxes"],
            ["regions", "moved"],
            dict.fromkeys(("crops", "sizes", "boxes", "regions", "moved"), each),
        )
    _write(
        _MatcherGraph(model),
        (ids, features, boxes, torch.tensor(0.7)),
        folder / "matcher.onnx",
        ["input_ids", "features", "boxes", "aspect"],
        ["logits"],
        {"input_ids": {1: "tokens"}},
    )


def _write_history(model: Piza, folder: Path) -> None:
    boxes = torch.tensor([[[0.0, 0.0, 640.0, 480.0], [100.0, 100.0, 200.0, 200.0]]] * 2)
    each, both = {0: "histories"}, {0: "histories", 1: "length"}
    _write(
        _HistoryGraph(model),
        (boxes, torch.tensor([[True, False], [True, True]])),
        folder / "history.onnx",
        ["boxes", "mask"],
        ["progress", "stop"],
        {"boxes": both, "mask": both, "progress": each, "stop": each},
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


def special_tokens(model: Piza) -> NDArray[np.int64]:
    """The token ids that end a block of a prompt."""
    return np.array(model.detector.model.special_tokens.tolist())


def noise(size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image of (width, height) with edges in it: colored blocks and noise, the same every time."""
    rng = np.random.default_rng(0)
    width, height = size
    blocks = rng.integers(0, 200, (height // 32 + 1, width // 32 + 1, 3))
    blocks = blocks.repeat(32, 0).repeat(32, 1)[:height, :width]
    return (blocks + rng.integers(0, 56, (height, width, 3))).astype(np.uint8)
