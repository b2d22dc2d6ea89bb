"""Small random models that tests share, and where the data beside the project is."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def make_tokenizer():
    """One of a BERT of a few words."""
    from transformers import BertTokenizer

    words = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    plain = iter(
        ["the", "red", "blue", "car", "sign", "left", "of", "a", "round", "number", "with", "##s", ","]
    )
    vocabulary = [words.get(i) or next(plain, f"[unused{i}]") for i in range(1040)]
    return BertTokenizer(vocab={word: i for i, word in enumerate(vocabulary)}, do_lower_case=True)


@pytest.fixture(scope="session")
def tiny_tokenizer():
    return make_tokenizer()


def tiny_detector(family: str = "mm", **changes):
    """A random detector of the real architecture (Swin and BERT) with small numbers."""
    import torch
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        MMGroundingDinoConfig,
        MMGroundingDinoForObjectDetection,
        SwinConfig,
    )

    torch.manual_seed(0)
    kinds = {
        "mm": (MMGroundingDinoConfig, MMGroundingDinoForObjectDetection),
        "gd": (GroundingDinoConfig, GroundingDinoForObjectDetection),
    }
    config_class, model_class = kinds[family]
    options = dict(
        backbone_config=SwinConfig(
            image_size=64, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(
            vocab_size=1040, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=256,
        ),
        d_model=32, num_queries=12, num_feature_levels=4, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64,
        encoder_n_points=2, decoder_n_points=2,
    )  # fmt: skip
    model = model_class(config_class(**{**options, **changes}))
    with torch.no_grad():  # so that no part is silent: fresh fusion scales and last layers are near zero
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="session")
def tiny_piza(tiny_tokenizer):
    """A random model that zooms, small enough to search in milliseconds."""
    from piza.config import PizaConfig
    from piza.model.piza import Piza

    options = {"bottleneck": 8, "embedding_dim": 32}
    config = PizaConfig(method="full", method_options=options, first_pixels=128, later_pixels=96)
    return Piza(tiny_detector(), tiny_tokenizer, config).eval()


@pytest.fixture
def tiny_object_queries_piza(tiny_tokenizer):
    """The same with relations, three of its queries being for things."""
    from piza.config import PizaConfig
    from piza.model.piza import Piza

    options = {"bottleneck": 8, "embedding_dim": 32}
    config = PizaConfig(
        method="full", method_options=options, local_maxima=True, relations=True, object_queries=3
    )
    return Piza(tiny_detector(), tiny_tokenizer, config).eval()


@pytest.fixture
def tiny_listing_piza(tiny_tokenizer):
    """One whose first look lists nine things and reads sentences against them."""
    import torch

    from piza.config import PizaConfig
    from piza.model.piza import Piza

    options = {"bottleneck": 8, "embedding_dim": 32}
    config = PizaConfig(
        method="full",
        method_options=options,
        first_pixels=128,
        later_pixels=96,
        num_proposals=9,
        num_attributes=4,
    )
    model = Piza(tiny_detector(), tiny_tokenizer, config)
    with torch.no_grad():
        for parameter in (*model.proposals.refinement.parameters(), *model.matcher.parameters()):
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()
