from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from piza.errors import InputError
from piza.model.box_history import (
    BoxHistoryConfig,
    BoxHistoryEncoder,
    FourierFeatures,
    box_features,
    pad_histories,
    round_progress,
)

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the published modules' outputs are not beside the project"
)

# published name -> ours, for the two small modules; convert.py has its own tests
FOURIER = {"Wr": "frequencies"}
ENCODER = {
    "box_encoder.lff1.Wr": "area.frequencies",
    "box_encoder.lff2.Wr": "shape.frequencies",
    "box_encoder.lff1.": "area.",
    "box_encoder.lff2.": "shape.",
    "box_encoder.transformer.layers.0.": "layer.",
    "box_encoder.fc3.": "project.",
    "binary_classifier.": "stop_head.",
    "continuous_regressor.": "progress_head.",
}


def renamed(golden: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    state = {}
    for key, value in golden.items():
        if key.startswith("state.") and "transformer_layer" not in key:
            key = key.removeprefix("state.")
            for theirs, ours in names.items():
                if key.startswith(theirs):
                    key = ours + key.removeprefix(theirs)
                    break
            state[key] = value
    return state


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "bbox_sequence_model.safetensors")


@pytest.fixture(scope="module")
def published(golden: dict[str, Tensor]) -> BoxHistoryEncoder:
    model = BoxHistoryEncoder().eval()
    model.load_state_dict(renamed(golden, ENCODER))
    return model


@needs_golden
@pytest.mark.parametrize(
    ("name", "sizes"), [("pos1", (1, 16, 32, 8)), ("pos2", (2, 8, 32, 8)), ("example", (2, 128, 256, 64))]
)
def test_fourier_features_equal_the_published(name: str, sizes: tuple[int, int, int, int]) -> None:
    golden = load_file(GOLDEN / f"learnable_fourier_features_lff_{name}.safetensors")
    module = FourierFeatures(*sizes)
    module.load_state_dict(renamed(golden, FOURIER))
    with torch.no_grad():
        close(module(golden["in.pos"]), golden["out.y"])


@needs_golden
def test_box_features_equal_the_published(golden: dict[str, Tensor]) -> None:
    mask = ~golden["in.padding_mask"]
    close(box_features(golden["in.padded"], mask)[mask], golden["out.box_features"][mask])


@needs_golden
def test_padding_equals_the_published(golden: dict[str, Tensor]) -> None:
    boxes, mask = pad_histories([golden[f"in.seq{i}"] for i in range(4)])
    assert torch.equal(boxes, golden["in.padded"])
    assert torch.equal(mask, ~golden["in.padding_mask"])


@needs_golden
@pytest.mark.parametrize(
    "grad", [False, True]
)  # torch takes another path through the layer when gradients are on
def test_encoder_equals_the_published(
    golden: dict[str, Tensor], published: BoxHistoryEncoder, grad: bool
) -> None:
    with torch.set_grad_enabled(grad):
        output = published(golden["in.padded"], ~golden["in.padding_mask"])
    close(output.features, golden["out.features"])
    close(output.stop, golden["out.eos_prob"])
    close(output.progress, golden["out.zoom"])
    for i in range(4):
        one = published(*pad_histories([golden[f"in.seq{i}"]]))
        close(one.features[0], golden["out.single_features"][i])
        close(one.stop[0], golden["out.single_eos_prob"][i])
        close(one.progress[0], golden["out.single_zoom"][i])
    close(round_progress(output.progress), golden["out.inference_zoom"])
    assert torch.equal((output.stop >= 0.95).byte(), golden["out.inference_eos"])


@needs_golden
def test_read_rounds_only_when_asked(golden: dict[str, Tensor], published: BoxHistoryEncoder) -> None:
    histories = [golden[f"in.seq{i}"].numpy() for i in range(4)]
    rounded, stop = published.read(histories)
    raw, _ = published.read(histories, step=None)
    close(rounded, golden["out.inference_zoom"].clamp(0, 1))
    close(stop, golden["out.eos_prob"])
    close(raw, golden["out.zoom"])
    assert not torch.allclose(raw, golden["out.inference_zoom"])


def test_features_of_a_history_by_hand() -> None:
    boxes = torch.tensor(
        [[[0, 0, 200, 100], [20, 10, 100, 50], [40, 20, 10, 20], [0, 0, 0, 0]]], dtype=torch.float32
    )
    mask = torch.tensor([[True, True, True, False]])
    expected = torch.tensor(
        [
            [1, 1, 1, 1, 0.5, 0.5],
            [0.25, 0.25, 0.5, 0.5, 0.35, 0.35],
            [0.01, 0.04, 0.05, 0.2, 0.225, 0.3],
            [0, 0, 0, 0, 0, 0],
        ]
    )
    close(box_features(boxes, mask)[0], expected)


def test_parameters_in_use() -> None:
    model = BoxHistoryEncoder()
    assert sum(p.numel() for p in model.parameters()) == 139_986
    output = model(*pad_histories([[[0, 0, 64, 48], [4, 4, 8, 8]]]))
    (output.features.sum() + output.stop_logit.sum() + output.progress.sum()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_batch_equals_each_alone_whatever_stands_in_the_padding() -> None:
    torch.manual_seed(0)
    model = BoxHistoryEncoder().eval()
    histories = [torch.rand(n, 4) * 500 + 1 for n in (1, 4, 2, 7)]
    boxes, mask = pad_histories(histories)
    boxes[~mask] = 1e6
    together = model(boxes, mask)
    for i, history in enumerate(histories):
        alone = model(*pad_histories([history]))
        close(together.features[i], alone.features[0])
        close(together.stop[i], alone.stop[0])
        close(together.progress[i], alone.progress[0])


@pytest.mark.parametrize(
    "history",
    [
        [[0, 0, 0, 0]],
        [[0, 0, 640, 480], [5, 5, 0, 10], [5, 5, 3, 3]],
        [[0, 0, 640, 480], [5, 5, 10, 0], [5, 5, 0, 0], [0, 0, 6000, 3000]],
    ],
)
@pytest.mark.parametrize("grad", [False, True])
def test_boxes_without_area_stay_finite(history: list[list[float]], grad: bool) -> None:
    torch.manual_seed(0)
    model = BoxHistoryEncoder().eval()
    with torch.set_grad_enabled(grad):
        output = model(*pad_histories([history, [[0, 0, 10, 10]]]))
    assert all(part.isfinite().all() for part in (output.features, output.stop, output.progress))
    if grad:
        output.progress.sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_rounding_is_half_to_even() -> None:
    halves = torch.tensor([0.5, 1.5, 2.5])
    assert round_progress(halves, step=1.0).tolist() == [0.0, 2.0, 2.0]


def test_other_sizes_are_possible() -> None:
    config = BoxHistoryConfig(
        hidden=16, fourier_area=8, fourier_shape=4, fourier_hidden=12, heads=2, ffn=24, out=6, head_hidden=5
    )
    output = BoxHistoryEncoder(config)(*pad_histories([np.ones((3, 4)), np.ones((1, 4))]))
    assert output.features.shape == (2, 6)
    close(output.features.norm(dim=-1), torch.ones(2))


@pytest.mark.parametrize("histories", [[], [np.zeros((0, 4))], [np.zeros((2, 3))], [np.zeros(4)]])
def test_bad_histories_are_refused(histories: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="histor"):
        pad_histories(histories)


def test_the_transformer_layer_is_built_once() -> None:
    layers = [m for m in BoxHistoryEncoder().modules() if isinstance(m, nn.TransformerEncoderLayer)]
    assert len(layers) == 1
