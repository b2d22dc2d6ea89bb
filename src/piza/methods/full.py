"""Full fine-tuning: every weight of the grounder is trained, with or without zoom conditioning.

The paper's full fine-tuning answers from the whole frame in one look and is not conditioned
(`condition=False`). To zoom, the grounder must know the step; it gets it in the same place as with Adapter+,
through the same adapters.
"""

from pydantic import Field
from torch import nn

from piza.config import settings
from piza.methods import adapter_plus
from piza.methods.adapter_plus import AdapterPlus, AdapterPlusConfig
from piza.methods.context import idle_modules
from piza.model.zoom_embedding import ZoomEmbedding


@settings()
class FullConfig:
    """Options of the method."""

    condition: bool = True  # False: no adapters, no zoom embedding
    bottleneck: int = Field(
        default=64, ge=1
    )  # of the adapters that carry the condition; all other weights move too
    condition_text: bool = False
    embedding_dim: int = Field(default=256, ge=4, le=65_536)  # of the zoom embedding


def apply(base: nn.Module, config: FullConfig) -> None:
    """Puts conditioned adapters into `base` if asked to: see adapter_plus.apply."""
    if not config.condition:
        return
    adapters = AdapterPlusConfig(
        image_bottleneck=config.bottleneck,
        text_bottleneck=config.bottleneck,
        condition_text=config.condition_text,
        embedding_dim=config.embedding_dim,
    )
    adapter_plus.apply(base, adapters)


def trained_names(root: nn.Module) -> set[str]:
    """Names of every parameter in `root` but those that nothing reads or that are trained elsewhere: the box-history
    encoder, a Swin's unused last norm, and the zoom embedding where no layer is conditioned.
    """
    idle = idle_modules(root)
    modules = set(root.modules())
    if not any(isinstance(module, AdapterPlus) and module.project is not None for module in modules):
        idle |= {module for module in modules if isinstance(module, ZoomEmbedding) and module is not root}
    untouched = {id(parameter) for module in idle for parameter in module.parameters()}
    return {name for name, parameter in root.named_parameters() if id(parameter) not in untouched}
