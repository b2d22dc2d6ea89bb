"""The pretrained start of the proposal network: NanoDet-g's weights, from its ONNX file to a safetensors file.

    python -m piza.training.from_scratch.proposals.nanodet_weights nanodet_g.onnx nanodet_g.safetensors

Writes "backbone.*" (NanoDet: backbone, neck and head) and "answers.*" (NanoDetAnswers: the classes of COCO and the boxes).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from piza.errors import InputError
from piza.files import atomic_write
from piza.model.nanodet import NanoDet, NanoDetAnswers


def read_convolutions(path: Path) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weights and biases of the file's convolutions, in its order: backbone, neck, then the head level by level. The bias of
    a convolution is the constant of the first addition after it."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    users = {name: node for node in graph.node for name in node.input}
    found = []
    for node in graph.node:
        if node.op_type == "Conv":
            after = users[node.output[0]]
            while after.op_type == "Transpose":
                after = users[after.output[0]]
            if after.op_type != "Add" or after.input[1] not in constants:
                raise InputError(
                    f"{path}: expected an added bias after {node.output[0]}, got {after.op_type}."
                )
            found.append((constants[node.input[1]], constants[after.input[1]].reshape(-1)))
    return found


def load_nanodet(path: Path) -> tuple[NanoDet, NanoDetAnswers]:
    """Both parts with the file's weights. Raises InputError for a file of another network."""
    backbone, answers = NanoDet(), NanoDetAnswers()
    order = in_file_order(backbone, answers)
    given = read_convolutions(path)
    if len(given) != len(order):
        raise InputError(f"{path}: expected {len(order)} convolutions of NanoDet-g, got {len(given)}.")
    with torch.no_grad():
        for layer, (weight, bias) in zip(order, given, strict=True):
            if layer.weight.shape != weight.shape:
                raise InputError(f"{path}: expected weights {tuple(layer.weight.shape)}, got {weight.shape}.")
            layer.weight.copy_(torch.from_numpy(weight.copy()))
            assert layer.bias is not None
            layer.bias.copy_(torch.from_numpy(bias.copy()))
        # The file takes BGR, the project RGB.
        backbone.stem.weight.copy_(backbone.stem.weight.flip(1))
    return backbone.eval(), answers.eval()


def in_file_order(backbone: NanoDet, answers: NanoDetAnswers) -> list[nn.Conv2d]:
    """The convolutions in the order of the file."""
    order: list[nn.Conv2d] = [backbone.stem]
    for number, stage in enumerate(backbone.stages):
        order += [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d)]
        if number:
            order.append(backbone.lateral[number - 1])  # type: ignore[arg-type]
    for head, answer in zip(backbone.head, answers.levels, strict=True):
        order += [head, answer]  # type: ignore[list-item]
    return order


def named_weights(backbone: NanoDet, answers: NanoDetAnswers) -> dict[str, Tensor]:
    """The weights of both parts by name."""
    parts = {"backbone": backbone, "answers": answers}
    return {
        f"{name}.{k}": v.contiguous() for name, part in parts.items() for k, v in part.state_dict().items()
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("onnx", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    weights = named_weights(*load_nanodet(args.onnx))
    with atomic_write(args.out) as part:
        save_file(weights, part)
    print(f"{sum(w.numel() for w in weights.values()):,} weights written to {args.out}")


if __name__ == "__main__":
    main()
