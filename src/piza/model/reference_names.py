"""The published names of weights -> ours: a table for each part of the model.

"{a,b,c}" in one of our names: the weight holds the weights of a, b and c, stacked along the first axis.
"""

from typing import Any

# Where the box-history encoder is: in the trained model, in the demo, in a file of its own.
HISTORY = ("bbox_encoder.", "bbox2eos_zoom_model.", "")
NEVER_USED = "a second copy of the transformer layer that the published code never runs"
RECOMPUTED = "an index the library computes itself"
TRAINING_ONLY = "denoising queries, used in training only"
NO_POOLER = "the summary of BERT, which a detector does not read"
MODEL = "detector.model."

Names = dict[str, str]


def names_of(config: Any, adapted: bool) -> tuple[Names, Names]:
    """Published name -> ours, and published name -> why unused; of whole modules where what is inside has one name.

    config: the detector's. adapted: whether adapters stand around the encoder's norms.
    """
    names = {
        "level_embed": MODEL + "level_embed",
        "language_model.language_backbone.body.model": MODEL + "text_backbone",
        "text_feat_map": MODEL + "text_projection",
        "query_embedding": MODEL + "query_position_embeddings",
        "memory_trans_fc": MODEL + "enc_output",
        "memory_trans_norm": MODEL + "enc_output_norm",
        "decoder.norm": MODEL + "decoder.layer_norm",
        "decoder.ref_point_head": MODEL + "decoder.reference_points_head",
        "zoom_embedding.temb.dense.0": "zoom.mlp.0",
        "zoom_embedding.temb.dense.1": "zoom.mlp.2",
    }
    unused = {
        "dn_query_generator": TRAINING_ONLY,
        "language_model.language_backbone.body.model.embeddings.position_ids": RECOMPUTED,
        "language_model.language_backbone.body.model.pooler": NO_POOLER,
    }
    swin, swin_unused = _swin(config.backbone_config)
    history, history_unused = _history()
    names |= swin | _neck(config) | _encoder(config, adapted) | _decoder(config) | _heads(config) | history
    return names, unused | swin_unused | history_unused


def _swin(swin: Any) -> tuple[Names, Names]:
    names: Names = {}
    unused: Names = {}
    ours = MODEL + "backbone.conv_encoder.model."
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
    return names, unused


def _neck(config: Any) -> Names:
    names: Names = {}
    stages = len(config.backbone_config.out_features)
    for level in range(config.num_feature_levels):
        theirs = f"neck.convs.{level}." if level < stages else f"neck.extra_convs.{level - stages}."
        names[theirs + "conv"] = f"{MODEL}input_proj_vision.{level}.0"
        names[theirs + "gn"] = f"{MODEL}input_proj_vision.{level}.1"
    return names


def _encoder(config: Any, adapted: bool) -> Names:
    names: Names = {}
    for i in range(config.encoder_layers):
        layer = f"{MODEL}encoder.layers.{i}."
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
    return names


def _decoder(config: Any) -> Names:
    names: Names = {}
    decoder_norms = [n + "_layer_norm" for n in ("self_attn", "encoder_attn_text", "encoder_attn", "final")]
    for i in range(config.decoder_layers):
        theirs, mine = f"decoder.layers.{i}.", f"{MODEL}decoder.layers.{i}."
        names |= {f"{theirs}norms.{k}": mine + norm for k, norm in enumerate(decoder_norms)}
        names |= _attention(theirs + "self_attn.attn.", mine + "self_attn.")
        names |= _attention(theirs + "cross_attn_text.attn.", mine + "encoder_attn_text.")
        names[theirs + "cross_attn"] = mine + "encoder_attn"
        names |= _ffn(theirs, mine)
    return names


def _heads(config: Any) -> Names:
    """One head a decoder layer, then that of the encoder's proposals."""
    names: Names = {}
    for i in range(config.decoder_layers + 1):
        last = i == config.decoder_layers
        names[f"bbox_head.cls_branches.{i}"] = (
            MODEL + "encoder_output_class_embed" if last else f"detector.class_embed.{i}"
        )
        box = MODEL + "encoder_output_bbox_embed" if last else f"detector.bbox_embed.{i}"
        names |= {f"bbox_head.reg_branches.{i}.{2 * k}": f"{box}.layers.{k}" for k in range(3)}
    return names


def _history() -> tuple[Names, Names]:
    names: Names = {}
    unused: Names = {}
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
