"""Weights in eight bits: smaller files, faster matrix products, slightly other answers."""

import logging
from pathlib import Path


def to_int8(path: Path) -> None:
    """Rewrites a graph in place, with its matrix products with weights computed in whole numbers of eight bits.

    The weight is scaled by output channel, the other side measured anew at every run. Convolutions stay as they are, and so
    does a graph that becomes no smaller.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    part = path.with_suffix(".int8.onnx")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises steps that these graphs do not need
    try:
        quantize_dynamic(
            path, part, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
        )
    finally:
        logging.disable(before)
    if part.stat().st_size < path.stat().st_size:
        part.replace(path)
    else:  # nothing but convolutions
        part.unlink()
