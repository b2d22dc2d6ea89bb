from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from piza.model.zoom_embedding import ZoomEmbedding

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the published modules' outputs are not beside the project")
def test_scale_one_equals_the_published() -> None:
    golden = load_file(GOLDEN / "time_embedding.safetensors")
    module = ZoomEmbedding(256, scale=1)
    names = {"0": "state.temb.dense.0", "2": "state.temb.dense.1"}
    module.mlp.load_state_dict(
        {f"{n}.{p}": golden[f"{g}.{p}"] for n, g in names.items() for p in ("weight", "bias")}
    )
    with torch.no_grad():
        torch.testing.assert_close(
            module.sinusoid(golden["in.t"]), golden["out.sincos"], rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(module(golden["in.t"]), golden["out.temb"], rtol=1e-5, atol=1e-5)


def test_published_size() -> None:
    assert sum(p.numel() for p in ZoomEmbedding(256).parameters()) == 131_584


def spread(module: ZoomEmbedding) -> torch.Tensor:
    """How far each channel moves as progress goes from 0 to 1, (dim,)."""
    waves = module.sinusoid(torch.linspace(0, 1, 21))
    return waves.amax(dim=0) - waves.amin(dim=0)


def test_every_channel_varies_by_default_and_hardly_any_as_published() -> None:
    assert (spread(ZoomEmbedding(256)) > 0.4).all()
    assert (spread(ZoomEmbedding(256, scale=1)) > 0.4).float().mean() < 0.1


def test_neighboring_steps_are_told_apart() -> None:
    steps = torch.linspace(0, 1, 21)
    per_sentence_queries = ZoomEmbedding(64).sinusoid(steps).diff(dim=0).norm(dim=-1)
    published = ZoomEmbedding(64, scale=1).sinusoid(steps).diff(dim=0).norm(dim=-1)
    assert per_sentence_queries.min() > 10 * published.max()


def test_shape_and_gradient() -> None:
    module = ZoomEmbedding(32)
    vector = module(torch.tensor([0.0, 0.5, 1.0]))
    assert vector.shape == (3, 32)
    vector.sum().backward()
    assert all(p.grad is not None for p in module.parameters())
