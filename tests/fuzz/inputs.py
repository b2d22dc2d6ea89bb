"""What readers are given: sound content, and strategies that make it unsound.

Used by the tests, by the harnesses (harness.py) and by benchmarks/reliability/hostile.py.
"""

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from piza.runtimes.exported import FORMAT

NUMBERS = st.sampled_from([0, 1, -1, 0.5, 640, 1e308, -0.0, 10**400, -(10**400), float("nan"), float("inf")])
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["", " ", ".", "a.jpg", "../a.jpg", "/etc/passwd", "a\0b", "\ud800", "the red car", "\x1b[2J", "9" * 400]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)

ROW = {"image": "a.jpg", "bbox": [1, 2, 3.5, 4], "ref": "the red car", "id": 1}
PROPOSAL = {
    "step": "propose", "id": "a", "image": "a.jpg", "width": 64, "height": 48, "bbox": [1, 2, 3.5, 4], "category": "car",
    "score": 0.5, "source": "mini", "attributes": ["color=red"], "kept_because": "",
}  # fmt: skip
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48, "caption": "the red car"}],
    "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "caption": "the red car"}],
    "categories": [],
}
ODVG = {
    "filename": "a.jpg",
    "width": 64,
    "height": 48,
    "grounding": {"caption": "the car", "regions": [{"bbox": [1, 2, 3.5, 4], "phrase": "the car"}]},
    "row": {"id": 1},
}
PREDICTION = {
    "index": 0, "image": "a.jpg", "bbox": [1, 2, 3, 4], "ref": "the red car", "id": 1, "box_xyxy": [1, 2, 3, 4],
    "score": 0.5, "iou": 0.5, "windows": [[0, 0, 9, 9]], "boxes": [[1, 2, 3, 4]], "frame_size": [9, 9], "steps": 1,
    "stopped": "stop", "milliseconds": 1.0, "found": True,
}  # fmt: skip
TRAIN = {"rows": "rows.json", "images": "images", "base": "mini", "out": "out", "method": "full", "lr": 1e-4}
NOTE = {"format": FORMAT, "max_tokens": 9, "vocabulary": 9, "levels": 3, "prefix": [1], "special_tokens": [2]}
LOG = b"step,loss,lr\n1,0.5,1e-4\n2,0.25,1e-4\n"


@st.composite
def bent(draw: st.DrawFn, good: Any) -> Any:
    """A good JSON value with one to three of its parts replaced, removed or doubled, wherever they stand."""
    value = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = value
        while True:
            inner = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not inner:
                break
            key = draw(st.sampled_from(inner))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.integers(0, 3)):
                place = place[key]
                continue
            match draw(st.integers(0, 4)):
                case 0:
                    del place[key]
                case 1 if isinstance(place, list):
                    place.append(place[key])
                case 2 if isinstance(place[key], (int, float)):
                    place[key] = draw(NUMBERS)
                case _:
                    place[key] = draw(JSON)
            break
    return value


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes with some changed, cut off, put in or repeated."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = draw(st.binary(max_size=8))
            case 2:
                data[at:at] = data[at : at + 64]
            case _:
                data[at : at + 4] = draw(
                    st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f"]) | st.binary(max_size=4)
                )
    return bytes(data)


def text_of(value: Any) -> bytes:
    return json.dumps(value).encode(errors="surrogatepass")


def documents(good: Any) -> st.SearchStrategy[bytes]:
    """JSON files: nearly good, of any content, and not quite JSON."""
    return bent(good).map(text_of) | JSON.map(text_of) | damaged(text_of(good))


def lines_of(good: Any) -> st.SearchStrategy[bytes]:
    return st.lists(documents(good), min_size=1, max_size=3).map(b"\n".join)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def some_images() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    rgb = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encoded(rgb, "PNG"),
        encoded(rgb.convert("P"), "PNG", transparency=3),
        encoded(Image.fromarray(pixels[..., 0].astype(np.uint16) * 200), "PNG"),
        encoded(rgb, "JPEG", exif=exif),
        encoded(rgb, "JPEG", progressive=True),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(rgb, "WEBP"),
        encoded(rgb, "TIFF", compression="tiff_lzw"),
        encoded(rgb.convert("P"), "GIF"),
        encoded(rgb, "BMP"),
        encoded(rgb, "PPM"),
    ]


IMAGES = some_images()


def png_of(width: int, height: int, depth: int = 8, color: int = 2, data: bytes = b"\0" * 64) -> bytes:
    """A PNG file that says it has this size, and holds few pixels of it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


SIDES = st.integers(0, 2000) | st.sampled_from(
    [0, 1, 12_247, 65_535, 65_536, 149_000_000, 2**31 - 1, 2**32 - 1]
)
SHORT_SIDES = st.integers(0, 2000) | st.sampled_from([0, 1, 12_247, 65_535])


def lying_images() -> st.SearchStrategy[bytes]:
    """Images whose heads claim other sizes, depths or kinds of pixels than they hold."""
    png = st.builds(
        png_of,
        SIDES,
        SIDES,
        st.sampled_from([1, 2, 4, 8, 16, 7]),
        st.sampled_from([0, 2, 3, 4, 6, 5]),
        st.binary(max_size=200),
    )
    gif = st.tuples(SHORT_SIDES, SHORT_SIDES).map(
        lambda size: IMAGES[8][:6] + struct.pack("<HH", *size) + IMAGES[8][10:]
    )
    bmp = st.tuples(SIDES, SIDES).map(
        lambda size: IMAGES[9][:18] + struct.pack("<II", *size) + IMAGES[9][26:]
    )
    ppm = st.tuples(SIDES, SIDES).map(lambda size: b"P6\n%d %d\n255\n" % size + b"\x7f" * 600)
    jpeg = st.tuples(SHORT_SIDES, SHORT_SIDES).map(_jpeg_of)
    return png | gif | bmp | ppm | jpeg


def _jpeg_of(size: tuple[int, int]) -> bytes:
    at = IMAGES[4].index(b"\xff\xc2") + 5
    return IMAGES[4][:at] + struct.pack(">HH", *size) + IMAGES[4][at + 4 :]
