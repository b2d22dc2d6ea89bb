"""What a detector of COCO's classes sees in street photos: boxes that fill in what their labels leave out.

    python -m piza.training.from_scratch.streets.teacher_boxes --nanodet nanodet_g.onnx --streets DIR --signs DIR --out teacher.jsonl

One JSON line a photo: {"key": "source/name", "width", "height", "boxes": [[x1, y1, x2, y2, score, class], ...]} in pixels of
the photo, every box of a score of at least 0.05 after non-maximum suppression. Goes on where it was when called again.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from piza.image import open_image
from piza.model.nanodet import BINS, COCO_CLASSES, MEAN, STD, STRIDES

WIDTH = 1280  # of the detector's input; small photos are enlarged, at most twice
MIN_SCORE, SAME_BOX = 0.05, 0.6
SOURCES = ("camvid", "dawn", "highway", "tl_china", "unsplash")
CLASSES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,bench,"
    "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,"
    "sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,"
    "bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,"
    "toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,"
    "teddy bear,hair drier,toothbrush"
).split(",")


def detect(session: Any, image: NDArray[np.uint8]) -> list[list[Any]]:
    """The boxes of one photo, uint8 (height, width, 3) RGB: [x1, y1, x2, y2, score, class] each, in its pixels."""
    height, width = image.shape[:2]
    scale = min(2.0, WIDTH / width)
    size = round(width * scale), round(height * scale)
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    padded = cv2.copyMakeBorder(
        resized, 0, -size[1] % 32, 0, -size[0] % 32, cv2.BORDER_CONSTANT, value=[round(v) for v in MEAN]
    )
    pixels = (padded.astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    outputs = session.run(None, {session.get_inputs()[0].name: pixels[..., ::-1].transpose(2, 0, 1)[None]})
    levels = [_boxes(out[0], stride) for out, stride in zip(outputs, STRIDES, strict=True)]
    boxes, scores, classes = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    boxes = np.clip(boxes / scale, 0, [width, height, width, height])
    real = ((boxes[:, 2:] - boxes[:, :2]) > 1).all(1)
    boxes, scores, classes = boxes[real], scores[real], classes[real]
    if not len(boxes):
        return []
    xywh = np.c_[boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]
    kept = np.array(cv2.dnn.NMSBoxes(xywh.tolist(), scores.tolist(), MIN_SCORE, SAME_BOX), int).flatten()
    return [
        [*(round(float(v), 1) for v in boxes[i]), round(float(scores[i]), 3), CLASSES[classes[i]]]
        for i in kept
    ]


def _boxes(
    output: NDArray[np.float32], stride: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """One level (h, w, 80 + 44) -> boxes (n, 4) xyxy in pixels of the input, scores (n,) and classes (n,)."""
    logits = output[..., :COCO_CLASSES]
    score = 1 / (1 + np.exp(-logits.max(-1).astype(np.float64)))
    y, x = np.nonzero(score >= MIN_SCORE)
    bins = output[y, x, COCO_CLASSES:].reshape(-1, 4, BINS).astype(np.float64)
    share = np.exp(bins - bins.max(-1, keepdims=True))
    sides = (share / share.sum(-1, keepdims=True) * np.arange(BINS)).sum(-1) * stride
    center = np.stack([(x + 0.5) * stride, (y + 0.5) * stride], 1)
    boxes = np.concatenate([center - sides[:, :2], center + sides[:, 2:]], 1)
    return boxes, score[y, x], logits.argmax(-1)[y, x]


def photo_keys(streets: Path, signs: Path) -> Iterator[tuple[str, Path]]:
    """All photos: ("source/name", path), in order."""
    for source in SOURCES:
        for path in sorted((streets / source / "images").iterdir()):
            yield f"{source}/{path.name}", path
    for path in sorted((signs / "images").iterdir()):
        yield f"signs/{path.name}", path


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("nanodet", "streets", "signs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(args.nanodet), options)
    done = {json.loads(line)["key"] for line in args.out.open()} if args.out.exists() else set()
    with args.out.open("a") as out:
        for key, path in photo_keys(args.streets, args.signs):
            if key in done:
                continue
            image = open_image(path)
            height, width = image.shape[:2]
            line = {"key": key, "width": width, "height": height, "boxes": detect(session, image)}
            out.write(json.dumps(line) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
