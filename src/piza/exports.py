"""A result in the formats of other programs: COCO, Label Studio, supervision."""

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from piza.boxes import clip_xyxy, xyxy_to_xywh
from piza.errors import InputError

if TYPE_CHECKING:
    from piza.result import Result


def to_coco(
    result: "Result",
    image_id: int,
    category_id: int = 1,
    annotation_id: int | None = None,
    caption: bool = True,
) -> dict[str, Any]:
    """One entry of COCO's list of results, and of its annotations if `annotation_id` is given.

    {"image_id", "category_id", "bbox": [x, y, width, height], "area", "iscrowd": 0, "score", "caption"}, and "id" with
    `annotation_id`. The box is in pixels of the frame, not rounded, cut to the frame; `area` in square pixels; `score` 0
    to 1; `caption` the sentence. Where nothing was found (`result.found`) the entry is empty, {}: COCO says so by having no
    entry, so leave it out of the list. pycocotools takes results with a caption for captions, so leave it out (`caption=False`)
    for `COCO.loadRes`.
    """
    if not result.found:
        return {}
    x, y, width, height = _xywh(result)
    entry: dict[str, Any] = {} if annotation_id is None else {"id": annotation_id}
    entry |= {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "score": float(result.score),
    }
    return entry | ({"caption": result.expression} if caption else {})


def to_label_studio(
    result: "Result",
    image: str,
    label: str = "target",
    from_name: str = "label",
    to_name: str = "image",
    model_version: str = "piza",
) -> dict[str, Any]:
    """One task of Label Studio's JSON, with the answer as its prediction and the sentence as its text.

    image: the address under which Label Studio finds the image. label: one of the labels in its labeling config;
    from_name, to_name: the names of the config's RectangleLabels and Image. The box is in percent of the frame, 0 to 100:
    {"data": {"image", "text"}, "predictions": [{"model_version", "score", "result": [{"id", "type": "rectanglelabels",
    "from_name", "to_name", "original_width", "original_height", "image_rotation": 0, "score", "value": {"x", "y", "width",
    "height", "rotation": 0, "rectanglelabels": [label]}, "meta": {"text": [sentence]}}]}]}. Where nothing was found
    (`result.found`) the prediction's "result" is an empty list: the task is there, with the score of the best guess and no
    region.
    """
    x, y, width, height = _xywh(result)
    frame_w, frame_h = (int(v) for v in result.frame_size)
    score = float(result.score)
    # The same answer gets the same id, so that an export made twice is the same file.
    key = f"{image}\n{result.expression}\n{x}\n{y}\n{width}\n{height}"
    region = {
        "id": hashlib.sha256(key.encode(errors="backslashreplace")).hexdigest()[:10],
        "type": "rectanglelabels",
        "from_name": from_name,
        "to_name": to_name,
        "original_width": frame_w,
        "original_height": frame_h,
        "image_rotation": 0,
        "score": score,
        "value": {
            "x": 100 * x / frame_w,
            "y": 100 * y / frame_h,
            "width": 100 * width / frame_w,
            "height": 100 * height / frame_h,
            "rotation": 0,
            "rectanglelabels": [label],
        },
        "meta": {"text": [result.expression]},
    }
    return {
        "data": {"image": image, "text": result.expression},
        "predictions": [
            {"model_version": model_version, "score": score, "result": [region] if result.found else []}
        ],
    }


def to_supervision(result: "Result") -> Any:
    """`supervision.Detections` of one box: xyxy (1, 4) in pixels of the frame, confidence (1,), class_id (1,) 0, and the
    sentence as data["class_name"] (1,), which its annotators write beside the box. Where nothing was found (`result.found`)
    all of them have no rows.

    Raises InputError when the package `supervision` is not installed.
    """
    try:
        import supervision
    except ImportError:
        raise InputError(
            "to_supervision needs the package 'supervision', which is not installed: pip install supervision"
        ) from None
    rows = slice(0, 1 if result.found else 0)
    return supervision.Detections(
        xyxy=np.array([result.box_xyxy], dtype=np.float32)[rows],
        confidence=np.array([result.score], dtype=np.float32)[rows],
        class_id=np.array([0])[rows],
        data={"class_name": np.array([result.expression])[rows]},
    )


def _xywh(result: "Result") -> tuple[float, float, float, float]:
    box = clip_xyxy(result.box_xyxy, (0, 0, *result.frame_size))
    x, y, width, height = (float(v) for v in xyxy_to_xywh(box))
    return x, y, width, height
