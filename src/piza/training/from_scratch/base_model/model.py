"""The grounder of `mini`: a small MM-GroundingDINO with fresh weights that learn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoTokenizer, BertConfig, RTDetrResNetConfig

from piza.config import PathConfig, PizaConfig
from piza.model.families import MM_GROUNDING_DINO
from piza.model.io import load_weights
from piza.model.piza import Piza
from piza.training.checkpoint import averaged_weights
from piza.training.from_scratch.base_model.batch_norm import freeze_batch_norm, thaw_batch_norm

WIDTH = 96
LATER_PIXELS = 224
PATH = PathConfig(answers="object")
AUXILIARY = ("relations.", "relevance.")  # weights that older checkpoints lack, or that only training needs


def new_detector(vocabulary: int) -> Any:
    """A detector for a vocabulary of this size, with initial weights that learn."""
    backbone = RTDetrResNetConfig(  # type: ignore[call-arg]
        embedding_size=32,
        hidden_sizes=[32, 64, 128, 192],
        depths=[1, 2, 2, 1],
        layer_type="basic",
        out_indices=[2, 3, 4],
    )
    text = BertConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config = MM_GROUNDING_DINO.config(
        backbone_config=backbone,
        text_config=text,
        d_model=WIDTH,
        num_queries=60,
        num_feature_levels=3,
        encoder_layers=1,
        decoder_layers=4,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        encoder_n_points=2,
        decoder_n_points=2,
        dropout=0.0,
        fusion_droppath=0.0,
        decoder_bbox_embed_share=False,
        decoder_cls_embed_share=False,
    )
    detector = MM_GROUNDING_DINO.detector(config)
    initialize(detector)
    return detector


@torch.no_grad()
def initialize(detector: Any) -> None:
    """Set initial weights that learn.

    The library's suit a pretrained model: matrices of standard deviation 0.02 (a fifth of what this width needs), queries that
    do not depend on their place, and a fusion that is all but switched off.
    """
    zeroed = {
        id(head.layers[-1]) for head in [*detector.bbox_embed, detector.model.encoder_output_bbox_embed]
    }
    for name, module in detector.named_modules():
        if "sampling_offsets" in name or "attention_weights" in name or id(module) in zeroed:
            continue  # these start at zero on purpose
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and "input_proj" in name):
            nn.init.xavier_uniform_(module.weight)
    nn.init.normal_(detector.model.query_position_embeddings.weight)
    embeddings = detector.model.text_backbone.embeddings
    nn.init.normal_(embeddings.word_embeddings.weight, std=0.1)
    nn.init.zeros_(embeddings.token_type_embeddings.weight)
    for layer in detector.model.encoder.layers:
        layer.fusion_layer.vision_param.fill_(1.0)
        layer.fusion_layer.text_param.fill_(1.0)


def base_config(first_pixels: int) -> PizaConfig:
    """The settings of a model without adapters."""
    return PizaConfig(
        method="full",
        method_options={"condition": False},
        path=PATH,
        first_pixels=first_pixels,
        later_pixels=LATER_PIXELS,
        local_maxima=True,
        relations=True,
        object_queries=40,
    )


def zoom_config(method: str) -> PizaConfig:
    """The settings of a model that zooms, with the adapters of "full" or "adapter_plus"."""
    options: dict[str, dict[str, Any]] = {
        "full": {"bottleneck": 48, "embedding_dim": WIDTH},
        "adapter_plus": {"image_bottleneck": 48, "text_bottleneck": 48, "embedding_dim": WIDTH},
    }
    return replace(base_config(576), method=method, method_options=options[method])


def new_base(work: Path) -> Piza:
    """A fresh model for the vocabulary in `work`/tokenizer, its batch norm thawed."""
    tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    torch.manual_seed(0)
    model = Piza(new_detector(len(tokenizer)), tokenizer, base_config(480))
    thaw_batch_norm(model)
    return model


def trained(work: Path, stage: str, model: Piza) -> Piza:
    """The model with the averaged weights of a finished or running stage."""
    return filled(model, averaged_weights(work / stage))


def filled(model: Piza, weights: dict[str, Tensor]) -> Piza:
    """The model with weights that may be older than its relations, which then stay fresh and change nothing; a head for
    relevance is left out."""
    fresh = {k: v for k, v in model.state_dict().items() if k.startswith(AUXILIARY[0])}
    model.load_state_dict({**fresh, **{k: v for k, v in weights.items() if not k.startswith(AUXILIARY[1])}})
    return model


def with_fresh_adapters(work: Path, method: str) -> Piza:
    """The base that the stage `ground` trained, with fresh adapters. Its batch norm is frozen: batches of one kind would give
    it wrong means."""
    base = trained(work, "ground", new_base(work))
    freeze_batch_norm(base)
    torch.manual_seed(1)
    return Piza(base.detector, base.tokenizer, zoom_config(method))


def loaded_for_zoom(folder: Path, method: str) -> Piza:
    """The model of a folder, built as it would be today."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(2)
    model = Piza(new_detector(len(tokenizer)), tokenizer, zoom_config(method))
    freeze_batch_norm(model)
    fresh = {k: v for k, v in model.state_dict().items() if k.startswith(AUXILIARY[0])}
    load_weights(model, {**fresh, **load_file(folder / "model.safetensors")}, str(folder))
    return model
