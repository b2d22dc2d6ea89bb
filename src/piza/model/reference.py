"""The published PIZA checkpoint -> our names and shapes.

The detector's names follow transformers' conversion of MM-GroundingDINO (in whose Swin the channel order of the downsampling
weights differs, too); those of the adapters, the zoom embedding and the box-history encoder are PIZA's own. The tables of
names are in reference_names.py.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from piza.config import PizaConfig, SearchConfig
from piza.errors import InputError, reason
from piza.hub import find_model
from piza.methods import AdapterPlusConfig, FullConfig
from piza.model.families import MM_GROUNDING_DINO
from piza.model.io import check_finite, load_weights, read_tokenizer, reading
from piza.model.piza import Piza
from piza.model.reference_names import names_of

# What the published model is given, and how it searches. Our lengths are square roots of an area: a 16:9 to 4:3 frame
# whose shorter side is brought to 800 (the longer to 1333 at most) has 1000 to 924, a square window 800.
PUBLISHED: dict[str, Any] = {
    "first_pixels": 960,
    "later_pixels": 800,
    "token_pooling": "max",
    "zoom_scale": 1.0,
    "search": SearchConfig(top_k=1),
}

UNKNOWN = "not a name of the published model"


@dataclass
class ConversionReport:
    """What became of every name of a checkpoint."""

    # published name -> ours; three of ours for packed projections
    used: dict[str, list[str]] = field(default_factory=dict)
    # published name -> why it is left out
    unused: dict[str, str] = field(default_factory=dict)
    # types in the file that are no tensors; they were read as placeholders
    skipped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{len(self.used)} published weights used, {len(self.unused)} not used"]
        for why in dict.fromkeys(self.unused.values()):
            names = [name for name, because in self.unused.items() if because == why]
            lines.append(f"not used, {why} ({len(names)}): {', '.join(names)}")
        if self.skipped:
            lines.append(f"not read, no tensors: {', '.join(self.skipped)}")
        return "\n".join(lines)


@dataclass
class ReferenceParts:
    """A published checkpoint in our names: what `Piza` is built from."""

    weights: dict[str, Tensor]  # names as in Piza.state_dict(): detector.*, zoom.*, history.*
    detector_config: Any  # of MM-GroundingDINO
    method: str  # a key of METHODS
    options: AdapterPlusConfig | FullConfig


def convert_reference(
    checkpoint: str | Path, base_config: Any, history_checkpoint: str | Path | None = None
) -> tuple[ReferenceParts, ConversionReport]:
    """Read a published checkpoint (.pth or .safetensors) and give its weights our names.

    `base_config` (an MM-GroundingDINO's) says the sizes of the detector underneath; sizes of the adapters are read off the
    weights.
    `history_checkpoint` is a file with the box-history encoder alone, for checkpoints that do not hold it.
    Raises InputError for a file that is no checkpoint, or whose weights do not fit `base_config`.
    """
    backbone = getattr(getattr(base_config, "backbone_config", None), "model_type", "none")
    if not isinstance(base_config, MM_GROUNDING_DINO.config) or backbone != "swin":
        given = f"{type(base_config).__name__} on {backbone}"
        raise InputError(f"the base is a {given}; the published model is an MM-GroundingDINO on swin")
    report = ConversionReport()
    state = _read(Path(checkpoint), report)
    if history_checkpoint is not None:
        state.update(_read(Path(history_checkpoint), report))
    return convert_state(state, base_config, report), report


def convert_state(state: Mapping[str, Tensor], base_config: Any, report: ConversionReport) -> ReferenceParts:
    """Give the weights of a published state dict our names; every name of it ends up in `report`.

    Raises InputError for weights of a layer that `base_config` does not have.
    """
    method, options = _method(state)
    config = copy.deepcopy(base_config)
    # The checkpoint holds the heads of every decoder layer, so none is shared even if they happen to agree.
    config.decoder_bbox_embed_share = config.decoder_cls_embed_share = False
    names, unused = names_of(config, adapted=method == "adapter_plus")
    families = {name.partition(".")[0] for name in names}
    weights: dict[str, Tensor] = {}
    for key, tensor in state.items():
        module, rest = key, ""
        while module not in names and module not in unused and "." in module:
            module, _, last = module.rpartition(".")
            rest = f".{last}{rest}"
        if module not in names:
            if module not in unused and module in families:
                raise InputError(f"the checkpoint's {key} has no place in the base, which has other sizes")
            report.unused[key] = unused.get(module, UNKNOWN)
            continue
        ours = names[module] + rest
        if ".downsample." in ours:
            tensor = _reorder(tensor)
        elif "class_embed" in ours:
            tensor = tensor.reshape(())
        parts = _split(ours, tensor) if "{" in ours else {ours: tensor}
        report.used[key] = list(parts)
        weights.update(parts)
    return ReferenceParts(weights, config, method, options)


def reference_model(
    checkpoint: str | Path, base: str | Path, history_checkpoint: str | Path | None = None
) -> tuple[Piza, ConversionReport]:
    """A published checkpoint as a model, ready to search or to be saved.

    `base` is a folder or hub name of an MM-GroundingDINO in transformers' format: its config and tokenizer
    are used. Raises InputError if either cannot be read, if they do not fit, or if no box-history encoder is
    given.
    """
    from transformers import AutoConfig

    folder = find_model(base)
    with reading(folder / "config.json"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    tokenizer = read_tokenizer(folder, config.text_config.vocab_size)
    parts, report = convert_reference(checkpoint, config, history_checkpoint)
    if not any(name.startswith("history.") for name in parts.weights):
        raise InputError(
            f"{checkpoint} holds no box-history encoder, and no file with one was given beside it"
        )
    return build_reference(parts, tokenizer, str(checkpoint)), report


def build_reference(parts: ReferenceParts, tokenizer: Any, source: str) -> Piza:
    """The model of converted weights, searching as published. `source` names the checkpoint in errors."""
    detector = MM_GROUNDING_DINO.detector(parts.detector_config)
    config = PizaConfig(method=parts.method, method_options=asdict(parts.options), **PUBLISHED)
    model = Piza(detector, tokenizer, config)
    weights = dict(parts.weights)
    for name, tensor in model.state_dict().items():
        # Nothing reads these: the last norm of the Swin, and the zoom embedding of unconditioned adapters.
        if ".swin.layernorm." in name or (name.startswith("zoom.") and not _conditioned(parts.options)):
            weights.setdefault(name, tensor)
    load_weights(model, weights, source)
    return model.eval()


def _conditioned(options: AdapterPlusConfig | FullConfig) -> bool:
    return isinstance(options, AdapterPlusConfig) and (options.condition_image or options.condition_text)


class _Placeholder:
    """Stands for any object in a checkpoint that is no tensor; swallows what the file would build it from."""

    def __init__(self, *args: Any) -> None: ...

    def __new__(cls, *args: Any) -> "_Placeholder":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None: ...


def _read(path: Path, report: ConversionReport) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth: there, of its "state_dict" if it has one."""
    if not path.is_file():
        raise InputError(f"there is no checkpoint {str(path)!r}")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _read_pickle(path, report)
    except Exception as error:  # what a reader raises on garbage is anything from KeyError to struct.error
        raise InputError(f"{path} is no readable checkpoint: {reason(error)}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(t, Tensor) for t in state.values()):
        raise InputError(f"{path} is no checkpoint: it holds no named weights")
    check_finite(dict(state), str(path))
    return dict(state)


def _read_pickle(path: Path, report: ConversionReport) -> Any:
    """torch.load of weights only. Checkpoints of the published code's trainer also hold its logs, as objects
    of its own classes; they are read as placeholders, so that nothing of the file is ever run or imported.
    """
    try:
        others = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:  # the format before torch 1.6
        others = []
    report.skipped += others
    with torch.serialization.safe_globals([(_Placeholder, name) for name in others]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _method(state: Mapping[str, Tensor]) -> tuple[str, AdapterPlusConfig | FullConfig]:
    """The method whose weights these are, its sizes read off the first layer's first adapters."""
    image, text = "encoder.layers.0.adapter1.", "encoder.text_layers.0.adapter1."
    if image + "scaling" not in state or text + "scaling" not in state:
        return "full", FullConfig(condition=False)
    embedding = state.get("zoom_embedding.temb.dense.1.bias")
    return "adapter_plus", AdapterPlusConfig(
        image_bottleneck=len(state[image + "linear_down.bias"]),
        text_bottleneck=len(state[text + "linear_down.bias"]),
        condition_image=image + "emb_proj.weight" in state,
        condition_text=text + "emb_proj.weight" in state,
        embedding_dim=256 if embedding is None else len(embedding),
    )


def _split(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """The parts of a stacked weight by name: of "a.{b,c}.d", "a.b.d" is the first and "a.c.d" the second."""
    before, _, rest = name.partition("{")
    inside, _, after = rest.partition("}")
    parts = inside.split(",")
    return {
        f"{before}{part}{after}": piece for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True)
    }


def _reorder(tensor: Tensor) -> Tensor:
    """Merging 2 x 2 patches of C channels, the last axis of 4 C runs channel, row, column in the published
    Swin and column, row, channel in the library's.
    """
    reordered: Tensor = tensor.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3).contiguous()
    return reordered
