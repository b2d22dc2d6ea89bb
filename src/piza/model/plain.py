"""Detectors in folders that transformers wrote."""

import logging
import threading
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForZeroShotObjectDetection

from piza.errors import InputError

_here = threading.local()


def read_detector(folder: Path) -> Any:
    """The zero-shot detector of a folder, in float32; what nothing reads may be missing, and there may be more.

    No code of the folder runs, and only safetensors weights are read. Raises InputError, naming the first of them, for
    weights that are missing or of another shape; the library would make random ones.
    """
    logging.getLogger("transformers.modeling_utils").addFilter(_not_here)
    _here.reading = True
    try:
        detector, info = AutoModelForZeroShotObjectDetection.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # for a sentence of ours
        )
    finally:
        _here.reading = False
    missing = sorted(name for name in info["missing_keys"] if ".swin.layernorm." not in name)
    if missing:
        raise InputError(f"{folder} lacks the weight {missing[0]} ({len(missing)} in all)")
    for name, found, needed in sorted(info["mismatched_keys"]):
        shapes = f"expected {tuple(needed)}, got {tuple(found)}"
        raise InputError(f"{folder}: {name} has another shape than the model: {shapes}")
    return detector


def _not_here(record: logging.LogRecord) -> bool:
    """Whether a message is no table of missing and unknown weights about what `read_detector` reads."""
    return not getattr(_here, "reading", False)
