"""Zero-shot detectors of transformers as grounders: the GroundingDINO family and OWL-ViT, OWLv2.

Their processors need no torchvision: without it transformers takes the ones written for Pillow. Those of OWL-ViT's second
version resize with scipy.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piza.boxes import clip_xyxy
from piza.devices import check_device
from piza.errors import InputError, reason
from piza.hub import find_model

DINO = ("grounding-dino", "mm-grounding-dino")  # LLMDet's checkpoints are of the second type
OWL = ("owlvit", "owlv2")
LOCAL = {"trust_remote_code": False, "local_files_only": True}  # no code of a model runs, and nobody is asked
MIN_BOX = 1.0  # pixels; what is narrower in the image that was looked at is no box


def transformers_grounder(
    name_or_folder: str | Path, device: str = "auto", threshold: float = 0.05
) -> Callable[[NDArray[np.uint8], str], tuple[NDArray[Any], NDArray[Any]]]:
    """A zero-shot detector with its processor, in Hugging Face's format, as a `piza.grounders.base.Grounder`.

    name_or_folder: a folder, or a hub name such as "IDEA-Research/grounding-dino-tiny"; only safetensors weights are
    read. threshold: boxes with a lower score are not answered. GroundingDINO, MM-GroundingDINO and LLMDet are given the
    sentence in lower case with one final ".", as they were trained; their score is that of the best token. OWL-ViT and
    OWLv2 are given it as it is.

    The grounder answers with boxes (n, 4) xyxy in pixels of its image, clipped to it, and scores (n,) in [0, 1].

    Raises InputError for a name that leads to no such detector, a package that its processor needs, a device that is not
    there and, when called, for a sentence of more tokens than the model reads (OWLv2: 16).
    """
    import torch
    from transformers import AutoConfig, AutoProcessor

    from piza.model.plain import read_detector

    folder = find_model(name_or_folder)
    device = check_device(device)
    try:
        kind = AutoConfig.from_pretrained(folder, **LOCAL).model_type
        if kind not in DINO + OWL:
            raise InputError(
                f"{folder} holds a {kind!r} model; expected a zero-shot detector: {', '.join(DINO + OWL)}"
            )
        processor = AutoProcessor.from_pretrained(folder, **LOCAL)
        if not hasattr(processor, "post_process_grounded_object_detection"):
            raise InputError(f"{folder} lacks the processor of its model (processor_config.json)")
        model = read_detector(folder)
    except InputError:
        raise
    except Exception as error:  # damaged files, a package that is missing: each raises its own kind
        raise InputError(f"{folder} is no detector that can be read: {reason(error)}") from None
    model = model.to(device).eval()
    limit = model.config.max_text_len if kind in DINO else model.config.text_config.max_position_embeddings

    @torch.inference_mode()
    def ground(image: NDArray[np.uint8], expression: str) -> tuple[NDArray[Any], NDArray[Any]]:
        text = prompt(expression, kind)
        tokens = len(processor.tokenizer(text)["input_ids"])
        if tokens > limit:
            raise InputError(
                f"the sentence has {tokens} tokens and the model reads at most {limit}; shorten it"
            )
        asked = text if kind in DINO else [[text]]
        inputs = processor(images=Image.fromarray(image), text=asked, return_tensors="pt").to(device)
        outputs = model(**inputs)
        size = (image.shape[0], image.shape[1])
        options: dict[str, Any] = {"threshold": threshold, "target_sizes": [size]}
        if kind in DINO:
            options["input_ids"] = inputs["input_ids"]
        answer = processor.post_process_grounded_object_detection(outputs, **options)[0]
        return inside(answer["boxes"].double().cpu().numpy(), answer["scores"].double().cpu().numpy(), size)

    return ground


def prompt(expression: str, kind: str) -> str:
    """The sentence as a detector of this type was trained to read it."""
    if kind not in DINO:
        return " ".join(expression.split())
    from piza.model.text import normalize

    return normalize(expression).lower()


def inside(
    boxes: NDArray[Any], scores: NDArray[Any], size_hw: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Boxes (n, 4) xyxy in pixels, clipped to a image of (height, width), and scores; those of no size, or not finite
    as after an overflow, left out."""
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    boxes = clip_xyxy(boxes[finite], (0.0, 0.0, size_hw[1], size_hw[0]))
    real = (boxes[:, 2:] - boxes[:, :2] >= MIN_BOX).all(axis=1)
    return boxes[real], np.clip(scores[finite][real], 0.0, 1.0)
