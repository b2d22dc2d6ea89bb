"""All that makes a loaded model cheaper to run and leaves its answers as they are, but for rounding."""

from torch import nn

from piza.model.accelerate.conv import use_fused_convolutions
from piza.model.accelerate.deformable import use_fast_sampling
from piza.model.accelerate.encoder_layer import use_encoder_layers
from piza.model.accelerate.fusion import use_fusion
from piza.model.accelerate.linear import use_onednn_linear
from piza.model.accelerate.memory import keep_memory


def use_fast_forward(model: nn.Module, device: str = "cpu") -> None:
    """As `piza.load` leaves a model, a `Piza` or a detector of the library's, that is on `device`; in place, twice is once.
    Weights and names stay, and training computes as before."""
    use_fusion(model)
    use_encoder_layers(model)
    if device == "cpu":
        keep_memory()
        use_fast_sampling(model)  # where no compiler is, the library's sampling stays
        use_onednn_linear(model)
        use_fused_convolutions(model)
