"""The published PIZA checkpoint -> our names and shapes.

The grounder's names follow transformers' conversion of MM-GroundingDINO (of whose Swin the channel order of
the downsampling weights differs too); those of the adapters, the zoom embedding and the box-history encoder
are PIZA's own.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

from piza.config import PizaConfig, SearchConfig
from piza.errors import InputError, reason
from piza.methods import AdapterPlusConfig, FullConfig
from piza.model.piza import Piza, load_weights

# How the published model looks and searches. Our lengths are square roots of an area: a 16:9 to 4:3 frame
# whose shorter side is brought to 800 (the longer to 1333 at most) has 1000 to 924, a square window 800.
PUBLISHED: dict[str, Any] = {
    "first_pixels": 960,
    "later_pixels": 800,
    "pooling": "max",
    "zoom_scale": 1.0,
    "search": SearchConfig(top_k=1),
}

# Where the box-history encoder is: in the trained model, in the demo, in a file of its own.
HISTORY = ("bbox_encoder.", "bbox2eos_zoom_model.", "")
NEVER_USED = "a second copy of the transformer layer that the published code never runs"
RECOMPUTED = "an index the library computes itself"
TRAINING_ONLY = "denoising queries, used in training only"
NO_POOLER = "the summary of BERT, which a grounder does not read"
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
    detector_config: MMGroundingDinoConfig
    method: str  # a key of METHODS
    options: AdapterPlusConfig | FullConfig


def convert_reference(
    checkpoint: str | Path, base_config: MMGroundingDinoConfig, history_checkpoint: str | Path | None = None
) -> tuple[ReferenceParts, ConversionReport]:
    """Read a published checkpoint (.pth or .safetensors) and give its weights our names.

    `base_config` says the sizes of the grounder underneath; sizes of the adapters are read off the weights.
    `history_checkpoint` is a file with the box-history encoder alone, for checkpoints that do not hold it.
    Raises InputError for a file that is no checkpoint, or whose weights do not fit `base_config`.
    """
    backbone = getattr(getattr(base_config, "backbone_config", None), "model_type", "none")
    if not isinstance(base_config, MMGroundingDinoConfig) or backbone != "swin":
        given = f"{type(base_config).__name__} on {backbone}"
        raise InputError(f"the base is a {given}; the published model is an MM-GroundingDINO on swin")
    report = ConversionReport()
    state = _read(Path(checkpoint), report)
    if history_checkpoint is not None:
        state.update(_read(Path(history_checkpoint), report))
    return convert_state(state, base_config, report), report


def convert_state(
    state: Mapping[str, Tensor], base_config: MMGroundingDinoConfig, report: ConversionReport
) -> ReferenceParts:
    """Give the weights of a published state dict our names; every name of it ends up in `report`.

    Raises InputError for weights of a layer that `base_config` does not have.
    """
    method, options = _method(state)
    config = copy.deepcopy(base_config)
    # The checkpoint holds the heads of every decoder layer, so none is shared even if they happen to agree.
    config.decoder_bbox_embed_share = config.decoder_cls_embed_share = False
    names, unused = _names(config, adapted=method == "adapter_plus")
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
    from transformers import AutoConfig, AutoTokenizer

    try:
        config, tokenizer = AutoConfig.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as error:
        raise InputError(f"the base {str(base)!r} cannot be read: {reason(error)}") from None
    parts, report = convert_reference(checkpoint, config, history_checkpoint)
    if not any(name.startswith("history.") for name in parts.weights):
        raise InputError(
            f"{checkpoint} holds no box-history encoder, and no file with one was given beside it"
        )
    return build_reference(parts, tokenizer, str(checkpoint)), report


def build_reference(parts: ReferenceParts, tokenizer: Any, source: str) -> Piza:
    """The model of converted weights, searching as published. `source` names the checkpoint in errors."""
    detector = MMGroundingDinoForObjectDetection(parts.detector_config)
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


def _names(config: MMGroundingDinoConfig, adapted: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Published name -> ours, and published name -> why unused; of whole modules where what is inside has one
    name.

    "{a,b,c}" in one of our names: the weight holds the weights of a, b and c, stacked along the first axis.
    """
    model = "detector.model."
    names = {
        "level_embed": model + "level_embed",
        "language_model.language_backbone.body.model": model + "text_backbone",
        "text_feat_map": model + "text_projection",
        "query_embedding": model + "query_position_embeddings",
        "memory_trans_fc": model + "enc_output",
        "memory_trans_norm": model + "enc_output_norm",
        "decoder.norm": model + "decoder.layer_norm",
        "decoder.ref_point_head": model + "decoder.reference_points_head",
        "zoom_embedding.temb.dense.0": "zoom.mlp.0",
        "zoom_embedding.temb.dense.1": "zoom.mlp.2",
    }
    unused = {
        "dn_query_generator": TRAINING_ONLY,
        "language_model.language_backbone.body.model.embeddings.position_ids": RECOMPUTED,
        "language_model.language_backbone.body.model.pooler": NO_POOLER,
    }

    swin: Any = config.backbone_config
    ours = model + "backbone.conv_encoder.model."
    names["backbone.patch_embed.projection"] = ours + "swin.embeddings.patch_embeddings.projection"
    names["backbone.patch_embed.norm"] = ours + "swin.embeddings.norm"
    for stage, depth in enumerate(swin.depths):
        layer = f"{ours}swin.encoder.layers.{stage}."
        names[f"backbone.stages.{stage}.downsample"] = layer + "downsample"
        names[f"backbone.norm{stage}"] = f"{ours}hidden_states_norms.stage{stage + 1}"
        for block in range(depth):
            theirs, mine = f"backbone.stages.{stage}.blocks.{block}.", f"{layer}blocks.{block}."
            names[theirs + "norm1"] = mine + "layernorm_before"
            names[theirs + "norm2"] = mine + "layernorm_after"
            names[theirs + "ffn.layers.0.0"] = mine + "mlp.fc1"
            names[theirs + "ffn.layers.1"] = mine + "mlp.fc2"
            names[theirs + "attn.w_msa.proj"] = mine + "attention.o_proj"
            names[theirs + "attn.w_msa.qkv"] = mine + "attention.{q_proj,k_proj,v_proj}"
            table = "relative_position_bias_table"
            names[theirs + "attn.w_msa." + table] = f"{mine}attention.relative_position_bias.{table}"
            unused[theirs + "attn.w_msa.relative_position_index"] = RECOMPUTED

    stages = len(swin.out_features)
    for level in range(config.num_feature_levels):
        theirs = f"neck.convs.{level}." if level < stages else f"neck.extra_convs.{level - stages}."
        names[theirs + "conv"] = f"{model}input_proj_vision.{level}.0"
        names[theirs + "gn"] = f"{model}input_proj_vision.{level}.1"

    for i in range(config.encoder_layers):
        layer = f"{model}encoder.layers.{i}."
        image_norms = [layer + "deformable_layer." + n for n in ("self_attn_layer_norm", "final_layer_norm")]
        text_norms = [layer + "text_enhancer_layer." + n for n in ("layer_norm_before", "layer_norm_after")]
        for theirs, norms in (
            (f"encoder.layers.{i}.", image_norms),
            (f"encoder.text_layers.{i}.", text_norms),
        ):
            for k, norm in enumerate(norms):
                names[f"{theirs}norms.{k}"] = norm + ".norm" if adapted else norm
                names[f"{theirs}adapter{k + 1}.scaling"] = norm + ".adapter.scale"
                names[f"{theirs}adapter{k + 1}.linear_down"] = norm + ".adapter.down"
                names[f"{theirs}adapter{k + 1}.linear_up"] = norm + ".adapter.up"
                names[f"{theirs}adapter{k + 1}.emb_proj"] = norm + ".adapter.project"
        names[f"encoder.layers.{i}.self_attn"] = layer + "deformable_layer.self_attn"
        names |= _ffn(f"encoder.layers.{i}.", layer + "deformable_layer.")
        names |= _attention(
            f"encoder.text_layers.{i}.self_attn.attn.", layer + "text_enhancer_layer.self_attn."
        )
        names |= _ffn(f"encoder.text_layers.{i}.", layer + "text_enhancer_layer.")
        for v, vision in (("v", "vision"), ("l", "text")):
            theirs, mine = f"encoder.fusion_layers.{i}.", layer + "fusion_layer."
            names[f"{theirs}gamma_{v}"] = f"{mine}{vision}_param"
            names[f"{theirs}layer_norm_{v}"] = f"{mine}layer_norm_{vision}"
            for kind in ("", "values_", "out_"):
                names[f"{theirs}attn.{kind}{v}_proj"] = f"{mine}attn.{kind}{vision}_proj"

    decoder_norms = [n + "_layer_norm" for n in ("self_attn", "encoder_attn_text", "encoder_attn", "final")]
    for i in range(config.decoder_layers):
        theirs, mine = f"decoder.layers.{i}.", f"{model}decoder.layers.{i}."
        names |= {f"{theirs}norms.{k}": mine + norm for k, norm in enumerate(decoder_norms)}
        names |= _attention(theirs + "self_attn.attn.", mine + "self_attn.")
        names |= _attention(theirs + "cross_attn_text.attn.", mine + "encoder_attn_text.")
        names[theirs + "cross_attn"] = mine + "encoder_attn"
        names |= _ffn(theirs, mine)

    # One head a decoder layer, then that of the encoder's proposals.
    for i in range(config.decoder_layers + 1):
        last = i == config.decoder_layers
        names[f"bbox_head.cls_branches.{i}"] = (
            model + "encoder_output_class_embed" if last else f"detector.class_embed.{i}"
        )
        box = model + "encoder_output_bbox_embed" if last else f"detector.bbox_embed.{i}"
        names |= {f"bbox_head.reg_branches.{i}.{2 * k}": f"{box}.layers.{k}" for k in range(3)}

    for prefix in HISTORY:
        for i, kind in ((1, "area"), (2, "shape")):
            names[f"{prefix}box_encoder.lff{i}.Wr"] = f"history.{kind}.frequencies"
            names[f"{prefix}box_encoder.lff{i}.mlp"] = f"history.{kind}.mlp"
        names[prefix + "box_encoder.transformer.layers.0"] = "history.layer"
        names[prefix + "box_encoder.fc3"] = "history.project"
        names[prefix + "binary_classifier"] = "history.stop_head"
        names[prefix + "continuous_regressor"] = "history.progress_head"
        unused[prefix + "box_encoder.transformer_layer"] = NEVER_USED
    return names, unused


def _attention(theirs: str, ours: str) -> dict[str, str]:
    packed = ours + "{query,key,value}"
    return {
        theirs + "in_proj_weight": packed + ".weight",
        theirs + "in_proj_bias": packed + ".bias",
        theirs + "out_proj": ours + "out_proj",
    }


def _ffn(theirs: str, ours: str) -> dict[str, str]:
    return {theirs + "ffn.layers.0.0": ours + "fc1", theirs + "ffn.layers.1": ours + "fc2"}


def _split(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """ "a.{b,c}.d" and a stacked weight -> {"a.b.d": its first part, "a.c.d": its second}."""
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
    return tensor.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3).contiguous()
