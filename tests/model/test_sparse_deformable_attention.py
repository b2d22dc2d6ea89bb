"""Reading cells before they are projected gives what the library's attention gives."""

import pytest
import torch
from tests.conftest import tiny_detector

from piza.model.accelerate.deformable import DEFORMABLE_SAMPLING, can_sample
from piza.model.sparse_deformable_attention import read, readable, suits


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("family", ["mm", "gd"])
def test_it_reads_what_the_library_reads(family, fast):
    torch.manual_seed(0)
    detector = tiny_detector(family)
    if fast and not can_sample():
        pytest.skip("no C compiler here")
    if fast:
        DEFORMABLE_SAMPLING.apply(detector)
    attention = detector.model.decoder.layers[0].encoder_attn
    levels, width = attention.n_levels, attention.d_model
    shapes = [(8 // 2**level + 1, 12 // 2**level + 1) for level in range(levels)]
    shape_tensor = torch.tensor(shapes)
    level_start = torch.cat((shape_tensor.new_zeros(1), shape_tensor.prod(1).cumsum(0)[:-1]))
    cells = int(shape_tensor.prod(1).sum())
    memory, mask = torch.randn(2, cells, width), torch.rand(2, cells) < 0.8
    states, position = torch.randn(2, 5, width), torch.randn(2, 5, width)
    places = torch.rand(2, 5, levels, 4) * 1.2  # some beyond the rim
    with torch.no_grad():
        want = attention(
            hidden_states=states,
            attention_mask=mask,
            encoder_hidden_states=memory,
            encoder_attention_mask=mask,
            position_embeddings=position,
            reference_points=places,
            spatial_shapes=shape_tensor,
            spatial_shapes_list=shapes,
            level_start_index=level_start,
        )[0]
        asked = states + position
        found = read(attention, asked, readable(memory, mask), places, shapes, shape_tensor, level_start)
    torch.testing.assert_close(found, want, atol=1e-5, rtol=1e-4)


def test_it_suits_few_queries_in_large_windows():
    attention = tiny_detector().model.decoder.layers[0].encoder_attn
    assert suits(attention, 5, 1000) and not suits(attention, 500, 1000) and not suits(attention, 5, 10)
