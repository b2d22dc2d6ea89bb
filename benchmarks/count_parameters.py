"""How many parameters each fine-tuning method trains on the full-size model, beside the paper's counts.

    python benchmarks/count_parameters.py

Full size is MM-GroundingDINO with a Swin-T and a BERT-base, built without weights: seconds, little memory, no
download. Prints the table of docs/methods.md.
"""

from typing import Any

import torch
from transformers import BertConfig, MMGroundingDinoConfig, MMGroundingDinoForObjectDetection, SwinConfig

from piza.config import PizaConfig
from piza.methods import METHODS
from piza.model.piza import Piza

ROWS = [  # method, conditioned, millions in the paper's table
    ("coop", False, 0.1),
    ("coop", True, 0.9),
    ("lora", False, 1.3),
    ("lora", True, 1.5),
    ("adapter_plus", False, 3.3),
    ("adapter_plus", True, 3.5),
    ("full", False, 173.0),
    ("full", True, None),
]


def full_size() -> MMGroundingDinoForObjectDetection:
    """The architecture of the published checkpoints: their decoder layers have heads of their own."""
    swin = SwinConfig(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, out_indices=[2, 3, 4]
    )
    return MMGroundingDinoForObjectDetection(
        MMGroundingDinoConfig(
            backbone_config=swin,
            text_config=BertConfig(),
            decoder_bbox_embed_share=False,
            decoder_cls_embed_share=False,
        )
    )


def counts(method: str, condition: bool) -> dict[str, int]:
    """Trained parameters by what they belong to."""
    with torch.device("meta"):
        options = {"condition": condition}
        model = Piza(full_size(), None, PizaConfig(method=method, method_options=options))
    parts: Any = model if condition else model.detector  # nothing reads a plain model's zoom embedding
    names = METHODS[method].trained_names(parts)
    norms = {id(p) for m in parts.modules() if isinstance(m, torch.nn.LayerNorm) for p in m.parameters()}
    zoom = {id(p) for p in model.zoom.parameters()}
    found = dict.fromkeys(("zoom embedding", "projections", "layer norms", "the method's own"), 0)
    for name, parameter in parts.named_parameters():
        if name in names:
            kind = "the method's own"
            if id(parameter) in zoom:
                kind = "zoom embedding"
            elif id(parameter) in norms:
                kind = "layer norms"
            elif "project" in name.split("."):
                kind = "projections"
            found[kind] += parameter.numel()
    return found


def main() -> None:
    print("| method | form | its own | layer norms | projections | zoom embedding | trained | paper |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for method, condition, paper in ROWS:
        found = counts(method, condition)
        cells = [found[k] for k in ("the method's own", "layer norms", "projections", "zoom embedding")]
        form = "conditioned" if condition else "plain"
        print(
            f"| `{method}` | {form} | "
            + " | ".join(f"{n:,}" for n in cells)
            + f" | {sum(cells) / 1e6:.2f} M | {f'{paper} M' if paper else ''} |"
        )


if __name__ == "__main__":
    main()
