"""All that makes a loaded model cheaper to run and leaves its answers as they are, but for rounding."""

from torch import nn

from piza.memory import keep_memory
from piza.model.convolutions import use_fast_convolutions
from piza.model.deformable import use_fast_sampling
from piza.model.encoder_layer import use_light_layers
from piza.model.fusion import use_light_fusion
from piza.model.products import use_fast_products


def use_fast_forward(model: nn.Module, device: str = "cpu") -> None:
    """As `piza.load` leaves a model, a `Piza` or a detector of the library's, that is on `device`; in place, twice is once.
    Weights and names stay, and training computes as before."""
    use_light_fusion(model)
    use_light_layers(model)
    if device == "cpu":
        keep_memory()
        use_fast_sampling(model)  # where no compiler is, the library's sampling stays
        use_fast_products(model)
        use_fast_convolutions(model)
